import { readFileSync } from 'node:fs'

/** The training configuration of the tests, for one rank. */
export const template = readFileSync(new URL('../../modalities/training.yaml', import.meta.url), 'utf8')
  .replaceAll('dp_degree: 4', 'dp_degree: 1')
  .replace('num_replicas: 4', 'num_replicas: 1')
  .replace('evaluation_interval_in_steps: 8', 'evaluation_interval_in_steps: 4')

/** A new run instead of a warmstart. */
export const startConfig = (steps: number): string =>
  template
    .replace('num_target_steps: 12', `num_target_steps: ${steps}`)
    .replace(
      /training_progress:.*?\n\ntrain_dataset/s,
      'training_progress: { global_num_seen_tokens: 0, num_seen_steps: 0, num_seen_samples: 0, last_step: -1 }\n\ntrain_dataset',
    )
    .replace(
      /\napp_state:.*?\ngradient_clipper/s,
      `
app_state:
  component_key: app_state
  variant_key: raw
  config:
    model: { instance_key: model, pass_type: BY_REFERENCE }
    optimizer: { instance_key: optimizer, pass_type: BY_REFERENCE }

gradient_clipper`,
    )

/** A warmstart from the checkpoint in last_checkpoint_info.json, at 8 samples. */
export const warmstartConfig = template
  .replace(/checkpoint: \/old.*/, `checkpoint: \${settings.warmstart_checkpoint_paths.checkpoint_folder_path}`)
  .replace('num_seen_samples: 32', 'num_seen_samples: 8')
  .replace(/^settings:\n/m, `settings:\n  warmstart_checkpoint_paths: \${warmstart_env:checkpoint_paths}\n`)
