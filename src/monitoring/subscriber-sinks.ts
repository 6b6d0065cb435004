/** The reference system's `results_subscriber` -> the sinks that do the same here, as a definition would name them. */
import { join } from 'node:path'

/** `rich` and `dummy` need none: progress is shown anyway, or `--quiet` asks for silence. */
export function sinksOfSubscriber(
  variant: string,
  options: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  if (variant === 'to_disc') return { results: { path: String(options.output_file_path) } }
  if (variant !== 'wandb' || options.mode === 'DISABLED') return {}
  return {
    wandb: {
      project: options.project,
      ...(typeof options.entity === 'string' ? { entity: options.entity } : {}),
      name: options.experiment_id,
      mode: options.mode === 'ONLINE' ? 'online' : 'offline',
      // The package makes this folder inside the one that it is given.
      folder: join(String(options.directory), 'wandb'),
      names: 'modalities',
    },
  }
}
