/** Components for the training run: loss, optimizer, schedule, gradient clipping, checkpoints and subscribers. */
import * as z from 'zod'
import {
  flag,
  maybe,
  model,
  oneOf,
  part,
  real,
  realAbove,
  realFrom,
  realWithin,
  text,
  texts,
  type Variants,
  whole,
} from './option-types.js'

const options = z.strictObject
const optimizerPart = part('optimizer')
const lastEpoch = whole(-1).default(-1)

export const loss: Variants = {
  clm_cross_entropy_loss: { options: options({ target_key: text, prediction_key: text }) },
}

const adam = options({
  lr: real,
  wrapped_model: model,
  betas: z.tuple([real, real]),
  eps: real,
  weight_decay: real,
  weight_decay_groups_excluded: z.array(oneOf('linear', 'embedding', 'layernorm')),
  foreach: maybe(flag),
  fused: maybe(flag),
})

export const optimizer: Variants = {
  adam_w: { options: adam },
  adam: { options: adam, unsupported: 'Adam with L2 regularization instead of decoupled weight decay; use adam_w' },
  fsdp1_checkpointed: {
    options: options({
      checkpoint_loading: part('checkpoint_loading'),
      checkpoint_path: text,
      wrapped_model: model,
      optimizer: optimizerPart,
    }),
  },
}

const rate = z.union([realAbove(0), z.array(realAbove(0))])

export const scheduler: Variants = {
  onecycle_lr: {
    options: options({
      optimizer: optimizerPart,
      max_lr: rate,
      total_steps: maybe(whole(1)),
      epochs: maybe(whole(1)),
      steps_per_epoch: maybe(whole(1)),
      pct_start: realAbove(0).refine(share => share <= 1, 'expected at most 1'),
      anneal_strategy: oneOf('cos', 'linear'),
      cycle_momentum: flag.default(true),
      base_momentum: rate.default(0.85),
      max_momentum: rate.default(0.95),
      div_factor: realAbove(0),
      final_div_factor: realAbove(0),
      three_phase: flag.default(false),
      last_epoch: lastEpoch,
    }).refine(
      ({ total_steps, epochs, steps_per_epoch }) => total_steps != null || (epochs != null && steps_per_epoch != null),
      {
        error: 'expected total_steps, or epochs and steps_per_epoch',
        path: ['total_steps'],
      },
    ),
  },
  step_lr: {
    options: options({ optimizer: optimizerPart, step_size: whole(1), gamma: realFrom(0), last_epoch: lastEpoch }),
  },
  constant_lr: {
    options: options({
      optimizer: optimizerPart,
      factor: realWithin(0, 1),
      total_iters: whole(1),
      last_epoch: lastEpoch,
    }),
  },
  linear_lr: {
    options: options({
      optimizer: optimizerPart,
      start_factor: realWithin(0, 1),
      end_factor: realWithin(0, 1),
      total_iters: whole(1),
      last_epoch: lastEpoch,
    }),
  },
  cosine_annealing_lr: {
    options: options({ optimizer: optimizerPart, t_max: whole(1), eta_min: realFrom(0), last_epoch: lastEpoch }),
  },
  dummy_lr: { options: options({ optimizer: optimizerPart }) },
}

export const appState: Variants = {
  raw: { options: options({ model, optimizer: optimizerPart, lr_scheduler: maybe(part('scheduler')) }) },
  dcp: { options: options({ raw_app_state: part('app_state'), checkpoint_dir_path: text }) },
}

const normType = oneOf('P1_NORM', 'P2_NORM', 'MAX_NORM')
const wrapped = { norm_type: normType, wrapped_model: model }
const meshed = { ...wrapped, device_mesh: part('device_mesh') }
const today = { model_parts: 'wrapped_model' }

export const gradientClipper: Variants = {
  fsdp1: { options: options({ ...wrapped, max_norm: realAbove(0) }) },
  fsdp1_logging_only: { options: options(wrapped) },
  fsdp2: { options: options({ ...meshed, max_norm: realAbove(0) }), aliases: today },
  fsdp2_logging_only: { options: options(meshed), aliases: today },
}

export const checkpointSaving: Variants = {
  default: {
    options: options({
      checkpoint_saving_strategy: part('checkpoint_saving_strategy'),
      checkpoint_saving_execution: part('checkpoint_saving_execution'),
    }),
  },
}

export const checkpointSavingStrategy: Variants = {
  save_k_most_recent_checkpoints_strategy: { options: options({ k: whole(-1) }) },
  save_every_k_steps_checkpointing_strategy: { options: options({ k: whole(1) }) },
}

const savedUnder = options({ checkpoint_path: text, global_rank: whole(0), experiment_id: text })

export const checkpointSavingExecution: Variants = { fsdp1: { options: savedUnder }, dcp: { options: savedUnder } }

export const checkpointLoading: Variants = {
  dcp: { options: options({ global_rank: whole(0) }) },
  torch: {
    options: options({ device: z.union([text, whole(0)]), precision: maybe(oneOf('FP32', 'FP16', 'BF16')) }),
  },
  fsdp1: {
    options: options({
      global_rank: whole(0),
      block_names: texts,
      mixed_precision_settings: text,
      sharding_strategy: text,
    }),
  },
}

export const progressSubscriber: Variants = {
  dummy: { options: options({}) },
  rich: {
    options: options({
      eval_dataloaders: maybe(z.array(part('data_loader'))),
      train_dataloader_tag: text,
      num_seen_steps: whole(0),
      num_target_steps: whole(1),
      global_rank: whole(0),
    }),
  },
}

export const resultsSubscriber: Variants = {
  dummy: { options: options({}) },
  wandb: {
    options: options({
      global_rank: whole(0),
      entity: maybe(text),
      project: text,
      experiment_id: text,
      mode: oneOf('ONLINE', 'OFFLINE', 'DISABLED'),
      directory: text,
      config_file_path: text,
    }),
  },
  to_disc: { options: options({ output_file_path: text }) },
  rich: { options: options({ num_ranks: whole(1), global_rank: whole(0) }) },
}

export const mfuCalculator: Variants = {
  gpt2: {
    options: options({
      n_layer: whole(1),
      sequence_length: whole(1),
      n_embd: whole(1),
      world_size: whole(1),
      wrapped_model: model,
      device_mesh: maybe(part('device_mesh')),
    }),
    aliases: today,
  },
}

const profiledSteps = {
  num_wait_steps: whole(0),
  num_warmup_steps: whole(0),
  num_active_steps: whole(0),
  tracked_ranks: maybe(z.array(whole(0))),
}

export const steppableProfiler: Variants = {
  no_profiler: { options: options({}) },
  kernel_tracing: {
    options: options({
      ...profiledSteps,
      profiler_activities: z.array(oneOf('CPU', 'CUDA')),
      profile_memory: flag,
      record_shapes: flag,
      with_flops: flag,
      with_stack: flag,
      with_modules: flag,
      output_folder_path: text,
    }),
  },
  memory_tracing: { options: options({ ...profiledSteps, memory_snapshot_folder_path: text }) },
  combined: { options: options({ profilers: z.array(part('steppable_profiler')) }) },
}

export const steppableComponent: Variants = {
  forward_pass: {
    options: options({
      model,
      dataset_batch_generator: part('dataset_batch_generator'),
      loss_fn: maybe(part('loss')),
      optimizer: maybe(optimizerPart),
    }),
  },
}
