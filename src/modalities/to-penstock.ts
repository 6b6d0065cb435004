/**
 * A training plan of the reference -> the options of our own stages `shuffle-samples` and `feed-trainer`, and every point in which
 * our trainer would compute something else. Nothing is dropped in silence: what has no counterpart is a difference.
 */
import { join } from 'node:path'
import type { FeedTrainerOptions } from '../stages/feed-trainer.js'
import type { ShuffleSamplesOptions } from '../stages/shuffle-samples.js'
import type { LoaderPlan } from './plans/loader-plan.js'
import type { Gpt2Options, ModalitiesTrainingPlan, WrapperPlan } from './plans/training-plan.js'

export interface NativeTraining {
  readonly shuffleSamples: ShuffleSamplesOptions
  readonly feedTrainer: FeedTrainerOptions
  /** The evaluation data, one for each loader: the trainer takes the first as its held-out file. */
  readonly evaluation: readonly ShuffleSamplesOptions[]
  /** Ranks that share each step. */
  readonly ranks: number
  /** In which points the result is not that of the reference. */
  readonly differences: readonly string[]
}

export type Differ = (difference: string) => void

export function toNativeTraining(plan: ModalitiesTrainingPlan): NativeTraining {
  const differences: string[] = []
  const differ: Differ = difference => differences.push(difference)
  const { intervals, step_profile: profile, training_target: target } = plan.settings
  if (plan.wrappers.some(usesHalfPrecision)) differ(ONLY_32_BITS)
  const [heldOut] = plan.evaluation
  const layout = layoutOf(plan)
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
        weight_decay_groups_excluded: plan.optimizer.excludedGroups.map(group => NATIVE_GROUPS[group]!),
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

/** With the tokens themselves: their ids are the tokenizer's to tell. */
function maskOf({ mask, microBatchSize, worldSize }: LoaderPlan): Pick<FeedTrainerOptions, 'loss_mask'> {
  if (mask === null) return {}
  const { beginToken: begin, endToken: end } = mask
  return { loss_mask: { begin, end, micro_batch: microBatchSize, ranks: worldSize } }
}

/**
 * The same training on the torch engine, with as many ranks as the file counts on. A GPU mixes in 16-bit numbers as the
 * file asks for.
 */
export function onTorch(native: NativeTraining, device: 'auto' | 'cpu' | 'cuda' = 'auto'): NativeTraining {
  const { feedTrainer: trainer, ranks } = native
  return {
    ...native,
    differences: device === 'cuda' ? native.differences.filter(text => text !== ONLY_32_BITS) : native.differences,
    feedTrainer: {
      ...trainer,
      engine: 'torch',
      // What compiles the layers for a CPU is a C++ compiler, which not every machine has.
      torch: { ...trainer.torch, ...(device === 'cpu' ? { compile: false } : {}), nproc: ranks, device },
    },
  }
}

/** How the file spreads the model over ranks. */
function layoutOf({ mesh, wrappers, train }: ModalitiesTrainingPlan) {
  const wraps = (variant: string) => wrappers.some(wrapper => wrapper.variant.startsWith(variant))
  const feedsWholeMesh = mesh !== null && mesh.dp_replicate * mesh.dp_shard === train.worldSize
  return {
    replicate_degree: feedsWholeMesh ? mesh.dp_replicate : 1,
    tensor_parallel: mesh !== null && wraps('gpt2_tp') ? mesh.tp : 1,
    compile: wraps('compiled'),
    activation_checkpointing: wraps('activation_checkpointed'),
  }
}

const ONLY_32_BITS = 'numbers have 32 bits; the file mixes in 16-bit ones'

function usesHalfPrecision({ options }: WrapperPlan): boolean {
  const { mixed_precision_settings: settings } = options
  const precision = typeof settings === 'object' && settings !== null ? Object.values(settings) : [settings]
  return precision.some(name => name !== undefined && name !== 'FP_32' && name !== 'NO_MIXED_PRECISION')
}

/**
 * One process reads the samples of all ranks, in the global order, and the engine deals the rows of a step to them as the
 * reference's sampler does: rank r of n gets rows r, r + n, ...
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

/** Names of the parameter groups; the biases of linear maps decay with their group there. */
const NATIVE_GROUPS: Readonly<Record<string, 'embedding' | 'norm' | 'linear'>> = {
  embedding: 'embedding',
  layernorm: 'norm',
  linear: 'linear',
}

function modelOf({ model, initialization }: ModalitiesTrainingPlan, differ: Differ): FeedTrainerOptions['model'] {
  const architecture = architectureOf(model, differ)
  if (normsOf(model).some(({ bias }) => bias !== model.bias)) {
    differ(`norms have ${model.bias ? 'biases' : 'no biases'}, as the linear maps`)
  }
  if (model.dropout > 0) differ(`no dropout, where the file has ${model.dropout}`)
  if (initialization === null) differ('first weights are drawn as "scaled" does it, not by the defaults of torch')
  else if (initialization.type !== 'scaled')
    differ(`first weights are drawn as "scaled" does it, not "${initialization.type}"`)
  if (initialization !== null && initialization.mean !== 0) differ('first weights have the mean 0')
  return {
    ...architecture,
    bias: model.bias,
    ...(initialization === null ? {} : { init_std: initialization.std }),
    ...(model.seed == null ? {} : { seed: Math.abs(model.seed) }),
  }
}

/** What a model computes, biases apart; tells what it cannot compute as the file says. */
export function architectureOf(model: Gpt2Options, differ: Differ) {
  const rotary = model.attention_config.qkv_transforms.find(transform => transform.type_hint === 'RotaryTransform')
  if (rotary !== undefined && model.poe_type === 'ABSOLUTE') differ('learned positions are left out beside rotary ones')
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

/** SwiGLU takes two thirds of the width, rounded up to a multiple. */
function innerWidth(model: Gpt2Options): number {
  if (model.activation_type === 'gelu') return model.ffn_hidden
  const multiple = model.enforce_swiglu_hidden_dim_multiple_of
  return Math.ceil(Math.floor((2 * model.ffn_hidden) / 3) / multiple) * multiple
}

function normOf(model: Gpt2Options, differ: Differ): { norm: 'rms' | 'layer'; norm_eps: number } {
  const norms = normsOf(model)
  const { norm, norm_eps } = norms[0]!
  if (norms.some(other => other.norm !== norm || other.norm_eps !== norm_eps)) {
    differ('all norms are like attention_norm_config')
  }
  return { norm, norm_eps }
}

/** The norms before attention, before the feed-forward part and before the head. */
export function normsOf(model: Gpt2Options) {
  return [model.attention_norm_config, model.ffn_norm_config, model.lm_head_norm_config].map(norm => ({
    norm: norm.norm_type === 'layer_norm' ? ('layer' as const) : ('rms' as const),
    norm_eps: norm.norm_type === 'rms_norm' ? norm.config.epsilon : norm.config.eps,
    bias: norm.norm_type === 'pytorch_rms_norm' ? false : norm.config.bias,
    /** Only a layer norm may lack weights: they are 1 then. */
    hasWeight: norm.norm_type !== 'layer_norm' || norm.config.elementwise_affine,
  }))
}

/** A schedule with a peak of its own overrides the optimizer's rate. */
function peakRate({ optimizer, schedule }: ModalitiesTrainingPlan): number {
  const peak = schedule?.variant === 'onecycle_lr' ? schedule.options.max_lr : optimizer.learningRate
  return Array.isArray(peak) ? (peak[0] as number) : (peak as number)
}

function scheduleOf({ schedule }: ModalitiesTrainingPlan, differ: Differ): FeedTrainerOptions['schedule'] {
  if (schedule === null) return { decay: 'constant' }
  const options = schedule.options as { readonly [key: string]: number | string | boolean }
  if (schedule.variant === 'onecycle_lr') {
    if (options.cycle_momentum === true)
      differ('the first beta stays as it is; onecycle_lr with cycle_momentum moves it')
    if (options.anneal_strategy !== 'cos') differ('onecycle_lr anneals by cosine')
    if (options.three_phase === true) differ('onecycle_lr has two phases')
    return {
      decay: 'onecycle',
      pct_start: options.pct_start as number,
      div_factor: options.div_factor as number,
      final_div_factor: options.final_div_factor as number,
    }
  }
  differ(`the learning rate stays constant, where the file has ${schedule.variant}`)
  return { decay: 'constant' }
}

function clipOf({ gradientClip }: ModalitiesTrainingPlan, differ: Differ): number | null {
  if (gradientClip.norm !== 'P2_NORM' && gradientClip.maxNorm !== null) {
    differ(`gradients are clipped by the Euclidean norm, not ${gradientClip.norm}`)
  }
  return gradientClip.maxNorm
}

/** A definition's `monitoring` for the results subscriber of a plan; the log of the run is kept in any case. */
export function toNativeMonitoring({ resultsSubscriber }: ModalitiesTrainingPlan, folder: string) {
  return { folder, jsonl: {}, ...sinksOfSubscriber(resultsSubscriber.variant, resultsSubscriber.options) }
}

/** Modalities' `results_subscriber` -> the equivalent sinks, as a definition would name them. */
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
