/** Schema of a training configuration's `settings`, and Modalities' consistency checks of steps, tokens and intervals. */
import * as z from 'zod'
import { type ConfigPath, configError } from '../yaml/config-error.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import type { MapNode } from '../yaml/yaml-tree.js'
import { placeAt } from './check-options.js'
import { flag, maybe, text, whole } from './option-types.js'

const group = z.strictObject
const enforced = flag.default(true)

export const trainingSettings = group({
  experiment_id: text,
  config_file_path: text,
  referencing_keys: z.record(text, text),
  cuda_env: group({ local_rank: whole(0), world_size: whole(1), global_rank: whole(0) }),
  paths: z.object({ experiments_root_path: text }).catchall(text),
  intervals: group({
    training_log_interval_in_steps: whole(1),
    checkpointing_interval_in_steps: whole(1),
    evaluation_interval_in_steps: whole(1),
  }),
  consistency_enforcement: group({
    enforce_tokens_per_step_consistency: enforced,
    enforce_last_step_logged: enforced,
    enforce_last_step_evaluated: enforced,
    enforce_last_step_checkpointed: enforced,
    enforce_enough_tokens_in_dataset: enforced,
  }),
  step_profile: group({
    gradient_accumulation_steps: whole(1),
    local_train_micro_batch_size: whole(1),
    sequence_length: whole(1),
    dp_degree: whole(1),
  }),
  training_target: group({ num_target_tokens: whole(1), num_target_steps: whole(1) }),
  training_progress: group({
    global_num_seen_tokens: whole(0),
    num_seen_steps: whole(0),
    num_seen_samples: whole(0),
    last_step: whole(-1),
  }),
  warmstart_checkpoint_paths: maybe(
    z.union([
      group({ checkpoint_folder_path: text }),
      group({ model_checkpoint_path: text, optimizer_checkpoint_path: maybe(text) }),
    ]),
  ),
  debugging: z.unknown().optional(),
})

export type TrainingSettings = z.output<typeof trainingSettings>

/** Result of one check: the problem, if any, and whether it is an error or only a notice. */
interface Finding {
  readonly message: string | undefined
  readonly enforce: boolean
  readonly path: readonly string[]
}

/**
 * Throws for violations that the configuration enforces and returns notices for the others.
 * @param trainTokens tokens in the dataset: number of samples times sequence_length
 * @throws CONFIG_INVALID
 */
export function checkSettings(settings: TrainingSettings, trainTokens: number, file: string, node: MapNode): Notice[] {
  const notices: Notice[] = []
  for (const { message, enforce, path } of findings(settings, trainTokens)) {
    if (message === undefined) continue
    const place = placeAt(node, path, false)
    const full: ConfigPath = ['settings', ...path]
    if (enforce) throw configError(message, file, full, place)
    notices.push({ message, path: full, place })
  }
  return notices
}

function findings(settings: TrainingSettings, trainTokens: number): Finding[] {
  const {
    consistency_enforcement: enforcement,
    intervals,
    training_target: target,
    training_progress: progress,
  } = settings
  const steps = target.num_target_steps - progress.num_seen_steps
  const tokens = target.num_target_tokens - progress.global_num_seen_tokens
  const perStep = tokensPerStep(settings)
  const interval = (what: string, key: keyof typeof intervals, enforce: boolean): Finding => ({
    message:
      steps % intervals[key] === 0
        ? undefined
        : `${steps} remaining steps are not a multiple of ${intervals[key]}: the last step is ${what} outside the interval`,
    enforce,
    path: ['intervals', key],
  })
  return [
    {
      message:
        steps > 0
          ? undefined
          : `no steps left to train: ${progress.num_seen_steps} of ${target.num_target_steps} are completed`,
      enforce: true,
      path: ['training_target', 'num_target_steps'],
    },
    {
      message:
        tokens === steps * perStep
          ? undefined
          : `${tokens} remaining tokens in ${steps} steps are ${tokens / steps} per step, but step_profile gives ${perStep}`,
      enforce: enforcement.enforce_tokens_per_step_consistency,
      path: ['training_target', 'num_target_tokens'],
    },
    interval('logged', 'training_log_interval_in_steps', enforcement.enforce_last_step_logged),
    interval('evaluated', 'evaluation_interval_in_steps', enforcement.enforce_last_step_evaluated),
    interval('checkpointed', 'checkpointing_interval_in_steps', enforcement.enforce_last_step_checkpointed),
    {
      message:
        trainTokens >= target.num_target_tokens
          ? undefined
          : `the dataset has ${trainTokens} tokens, fewer than the target of ${target.num_target_tokens}`,
      enforce: enforcement.enforce_enough_tokens_in_dataset,
      path: ['training_target', 'num_target_tokens'],
    },
  ]
}

/** Tokens per optimizer step, summed over all ranks. */
export function tokensPerStep({ step_profile: profile }: TrainingSettings): number {
  return (
    profile.local_train_micro_batch_size *
    profile.sequence_length *
    profile.gradient_accumulation_steps *
    profile.dp_degree
  )
}
