/**
 * Translates a training plan of Modalities to options of the stages `shuffle-samples` and `feed-trainer`. Every setting
 * that Penstock's trainer computes differently or cannot represent is reported as a difference.
 */
import { join } from 'node:path'
import type { FeedTrainerOptions } from '../stages/feed-trainer.js'
import type { ShuffleSamplesOptions } from '../stages/samples/shuffle-samples.js'
import type { LoaderPlan } from './plans/loader-plan.js'
import type { Gpt2Options, ModalitiesTrainingPlan, WrapperPlan } from './plans/training-plan.js'

export interface PenstockTraining {
  readonly shuffleSamples: ShuffleSamplesOptions
  readonly feedTrainer: FeedTrainerOptions
  /** One per evaluation loader; the trainer uses the first as its held-out data. */
  readonly evaluation: readonly ShuffleSamplesOptions[]
  /** Number of ranks that share each step. */
  readonly ranks: number
  /** Settings whose results, or whose memory, differ from those of Modalities. */
  readonly differences: readonly string[]
}

export type Differ = (difference: string) => void

export function toPenstockTraining(plan: ModalitiesTrainingPlan): PenstockTraining {
  const differences: string[] = []
  const differ: Differ = difference => differences.push(difference)
  const { intervals, step_profile: profile, training_target: target } = plan.settings
  if (plan.wrappers.some(usesHalfPrecision)) differ(ONLY_32_BITS)
  const [heldOut] = plan.evaluation
  const layout = layoutOf(plan, differ)
  if (plan.evaluation.length > 1) differ('only the first evaluation data set is used')
  return {
    shuffleSamples: samplesOf(plan.train),
    evaluation: plan.evaluation.map(samplesOf),
    ranks: plan.train.worldSize * layout.tensor_parallel,
    differences,
    feedTrainer: {
      model: modelOf(plan, differ),
      optimizer: {
        learning_rate: peakRate(plan),
        betas: [...plan.optimizer.betas],
        eps: plan.optimizer.eps,
        weight_decay: plan.optimizer.weightDecay,
        weight_decay_groups_excluded: plan.optimizer.excludedGroups.map(group => PARAMETER_GROUPS[group]!),
      },
      schedule: scheduleOf(plan, differ),
      gradient_clip: clipOf(plan, differ),
      batch_size: profile.local_train_micro_batch_size,
      accumulation_steps: profile.gradient_accumulation_steps * plan.train.worldSize,
      steps: target.num_target_steps,
      ...maskOf(plan.train),
      log_every_steps: intervals.training_log_interval_in_steps,
      torch: layout,
      ...(plan.checkpoint.keep === 0
        ? {}
        : {
            checkpoint: {
              folder: plan.checkpoint.folder,
              every_steps: plan.checkpoint.everySteps,
              keep: plan.checkpoint.keep,
            },
          }),
      ...(heldOut === undefined
        ? {}
        : {
            held_out: {
              ...filesOf(heldOut),
              sequence_length: heldOut.sequenceLength,
              reuse_last_target: heldOut.reuseLastTarget,
              // Modalities' own examples evaluate on the training data; the plan has a notice.
              allow_overlap: true,
              ...maskOf(heldOut),
            },
            evaluation: { every_steps: intervals.evaluation_interval_in_steps, batches: Number.MAX_SAFE_INTEGER },
          }),
    },
  }
}

function filesOf({ dataPaths }: LoaderPlan): { path: string; more_paths?: string[] } {
  const [path, ...others] = dataPaths
  return { path: path!, ...(others.length === 0 ? {} : { more_paths: others }) }
}

/** The mask with tokens instead of ids; `withMaskIds` resolves them. */
function maskOf({ mask, microBatchSize, worldSize }: LoaderPlan): Pick<FeedTrainerOptions, 'loss_mask'> {
  if (mask === null) return {}
  const { beginToken: begin, endToken: end } = mask
  return { loss_mask: { begin, end, micro_batch: microBatchSize, ranks: worldSize } }
}

/**
 * Switches the training to the torch engine, with the number of ranks that the configuration expects. A GPU computes in
 * mixed precision as configured.
 */
export function onTorch(training: PenstockTraining, device: 'auto' | 'cpu' | 'cuda' = 'auto'): PenstockTraining {
  const { feedTrainer: trainer, ranks } = training
  return {
    ...training,
    differences: device === 'cuda' ? training.differences.filter(text => text !== ONLY_32_BITS) : training.differences,
    feedTrainer: {
      ...trainer,
      engine: 'torch',
      // Compiling layers for a CPU needs a C++ compiler, which not every machine has.
      torch: { ...trainer.torch, ...(device === 'cpu' ? { compile: false } : {}), nproc: ranks, device },
    },
  }
}

/** Parallelism, compilation and activation checkpointing from the device mesh and the model's wrappers. */
function layoutOf({ mesh, wrappers, train }: ModalitiesTrainingPlan, differ: Differ) {
  const wraps = (variant: string) => wrappers.some(wrapper => wrapper.variant.startsWith(variant))
  const feedsWholeMesh = mesh !== null && mesh.dp_replicate * mesh.dp_shard === train.worldSize
  return {
    replicate_degree: feedsWholeMesh ? mesh.dp_replicate : 1,
    tensor_parallel: mesh !== null && wraps('gpt2_tp') ? mesh.tp : 1,
    compile: wraps('compiled'),
    ...checkpointingOf(wrappers, differ),
  }
}

/** The three variants of Modalities; they differ in memory and time, never in results. */
function checkpointingOf(
  wrappers: readonly WrapperPlan[],
  differ: Differ,
): { activation_checkpointing: boolean | 'selective'; checkpointed_layers_every?: number } {
  const wrapper = wrappers.find(({ variant }) => variant.startsWith('activation_checkpointed'))
  if (wrapper === undefined) return { activation_checkpointing: false }
  const { ac_freq: every, save_ops_keys: stored } = (wrapper.options.ac_fun_params ?? {}) as {
    ac_freq?: number
    save_ops_keys?: readonly string[]
  }
  if (every !== undefined) {
    if (every > 1) {
      differ(
        `activations are recomputed in layers 1, ${every + 1}, ...; in Modalities in layers ${every}, ${2 * every}, ...`,
      )
    }
    return { activation_checkpointing: true, checkpointed_layers_every: every }
  }
  if (stored === undefined) return { activation_checkpointing: true }
  if (!stored.includes('ops.aten.mm.default')) {
    differ(
      'all activations of a layer are recomputed; the configuration stores results of operators other than products',
    )
    return { activation_checkpointing: true }
  }
  differ(
    'selective checkpointing stores the results of all products and of attention; in Modalities of every second product',
  )
  return { activation_checkpointing: 'selective' }
}

const ONLY_32_BITS = 'training uses 32-bit precision; the configuration uses 16-bit mixed precision'

function usesHalfPrecision({ options }: WrapperPlan): boolean {
  const { mixed_precision_settings: settings } = options
  const precision = typeof settings === 'object' && settings !== null ? Object.values(settings) : [settings]
  return precision.some(name => name !== undefined && name !== 'FP_32' && name !== 'NO_MIXED_PRECISION')
}

/**
 * One process reads the samples of all ranks in the global order, and the engine distributes the rows of a step like
 * Modalities' sampler: rank r of n gets rows r, r + n, ...
 */
function samplesOf(loader: LoaderPlan): ShuffleSamplesOptions {
  return {
    ...filesOf(loader),
    sequence_length: loader.sequenceLength,
    batch_size: loader.microBatchSize,
    shuffle: loader.shuffle ? 'torch' : 'none',
    seed: loader.seed + loader.epoch,
    skip_num_global_samples: loader.skipSamples,
    reuse_last_target: loader.reuseLastTarget,
  }
}

/** Parameter groups of Modalities -> Penstock's; in Modalities, biases of linear layers belong to the linear group. */
const PARAMETER_GROUPS: Readonly<Record<string, 'embedding' | 'norm' | 'linear'>> = {
  embedding: 'embedding',
  layernorm: 'norm',
  linear: 'linear',
}

function modelOf({ model, initialization }: ModalitiesTrainingPlan, differ: Differ): FeedTrainerOptions['model'] {
  const architecture = architectureOf(model, differ)
  if (normsOf(model).some(({ bias }) => bias !== model.bias)) {
    differ(`norms have ${model.bias ? 'biases' : 'no biases'}, like the linear layers`)
  }
  if (model.dropout > 0) differ(`dropout is not applied; the configuration has ${model.dropout}`)
  if (initialization === null) differ('weights are initialized as "scaled", not with the defaults of torch')
  else if (initialization.type !== 'scaled') differ(`weights are initialized as "scaled", not "${initialization.type}"`)
  if (initialization !== null && initialization.mean !== 0)
    differ(`weights are initialized with mean 0; the configuration has ${initialization.mean}`)
  return {
    ...architecture,
    bias: model.bias,
    ...(initialization === null ? {} : { init_std: initialization.std }),
    ...(model.seed == null ? {} : { seed: Math.abs(model.seed) }),
  }
}

/** Translates a model's architecture except its biases; calls `differ` for each setting that is not supported. */
export function architectureOf(model: Gpt2Options, differ: Differ) {
  const rotary = model.attention_config.qkv_transforms.find(transform => transform.type_hint === 'RotaryTransform')
  if (rotary !== undefined && model.poe_type === 'ABSOLUTE')
    differ('learned positions are not used together with rotary positions')
  if (model.attention_config.qk_norm_config != null) differ('queries and keys are not normalized')
  return {
    vocab_size: model.vocab_size,
    sequence_length: model.sequence_length,
    layers: model.n_layer,
    heads: model.n_head_q,
    kv_heads: model.n_head_kv,
    width: model.n_embd,
    ffn_width: innerWidth(model),
    position: rotary !== undefined ? 'rotary' : model.poe_type === 'ABSOLUTE' ? 'learned' : 'none',
    ...(rotary === undefined ? {} : { rotary_base: rotary.config.base_freq }),
    ...normOf(model, differ),
    activation: model.activation_type,
    tie_weights: model.use_weight_tying,
  } as const
}

/** SwiGLU uses two thirds of the width, rounded up to a multiple. */
function innerWidth(model: Gpt2Options): number {
  if (model.activation_type === 'gelu') return model.ffn_hidden
  const multiple = model.enforce_swiglu_hidden_dim_multiple_of
  return Math.ceil(Math.floor((2 * model.ffn_hidden) / 3) / multiple) * multiple
}

function normOf(model: Gpt2Options, differ: Differ): { norm: 'rms' | 'layer'; norm_eps: number } {
  const norms = normsOf(model)
  const { norm, norm_eps } = norms[0]!
  if (norms.some(other => other.norm !== norm || other.norm_eps !== norm_eps)) {
    differ('all norms use attention_norm_config')
  }
  return { norm, norm_eps }
}

/** The norms before attention, before the feed-forward layer and before the head. */
export function normsOf(model: Gpt2Options) {
  return [model.attention_norm_config, model.ffn_norm_config, model.lm_head_norm_config].map(norm => ({
    norm: norm.norm_type === 'layer_norm' ? ('layer' as const) : ('rms' as const),
    norm_eps: norm.norm_type === 'rms_norm' ? norm.config.epsilon : norm.config.eps,
    bias: norm.norm_type === 'pytorch_rms_norm' ? false : norm.config.bias,
    /** Only a layer norm may have no weights; they are then 1. */
    hasWeight: norm.norm_type !== 'layer_norm' || norm.config.elementwise_affine,
  }))
}

/** The peak of the schedule, if it has one, overrides the optimizer's rate. */
function peakRate({ optimizer, schedule }: ModalitiesTrainingPlan): number {
  const peak = schedule?.variant === 'onecycle_lr' ? schedule.options.max_lr : optimizer.learningRate
  return Array.isArray(peak) ? (peak[0] as number) : (peak as number)
}

function scheduleOf({ schedule }: ModalitiesTrainingPlan, differ: Differ): FeedTrainerOptions['schedule'] {
  if (schedule === null) return { decay: 'constant' }
  const options = schedule.options as { readonly [key: string]: number | string | boolean }
  if (schedule.variant === 'onecycle_lr') {
    if (options.cycle_momentum === true) differ('the first beta is constant; onecycle_lr with cycle_momentum varies it')
    if (options.anneal_strategy !== 'cos') differ('onecycle_lr uses cosine annealing')
    if (options.three_phase === true) differ('onecycle_lr uses two phases, not three')
    return {
      decay: 'onecycle',
      pct_start: options.pct_start as number,
      div_factor: options.div_factor as number,
      final_div_factor: options.final_div_factor as number,
    }
  }
  differ(`the learning rate is constant; the configuration has ${schedule.variant}`)
  return { decay: 'constant' }
}

function clipOf({ gradientClip }: ModalitiesTrainingPlan, differ: Differ): number | null {
  if (gradientClip.norm !== 'P2_NORM' && gradientClip.maxNorm !== null) {
    differ(`gradients are clipped by the Euclidean norm, not ${gradientClip.norm}`)
  }
  return gradientClip.maxNorm
}

/** `monitoring` of the definition, from the results subscriber of the plan; the run's log is always written. */
export function toPenstockMonitoring({ resultsSubscriber }: ModalitiesTrainingPlan, folder: string) {
  return { folder, jsonl: {}, ...sinksOfSubscriber(resultsSubscriber.variant, resultsSubscriber.options) }
}

/**
 * Sinks equivalent to Modalities' `results_subscriber`, as a definition names them. `rich` and `dummy` need none: the
 * terminal shows progress unless `--quiet` is given.
 */
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
      // The wandb package creates this folder inside the given one.
      folder: join(String(options.directory), 'wandb'),
      names: 'modalities',
    },
  }
}
