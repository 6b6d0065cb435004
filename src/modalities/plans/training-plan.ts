/**
 * A training configuration of Modalities as plain data: datasets, model, optimizer, schedule, checkpoints and duration.
 * Performs all checks that need no device. The plan does not depend on the text of the configuration.
 */
import type * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { blockGeometry } from '../../sampling/block.js'
import type { Unsupported } from '../components/build-components.js'
import { type gpt2Options, type MeshOptions, meshDegrees } from '../components/components-model.js'
import { Component, partOf } from '../components/option-types.js'
import { checkSettings, type TrainingSettings, tokensPerStep, trainingSettings } from '../components/settings.js'
import { configError, pathText } from '../yaml/config-error.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import { evaluationLoaders, type LoaderPlan, loaderPlan } from './loader-plan.js'
import {
  type ReadConfig,
  type ReadOptions,
  readConfig,
  readSettingsAs,
  settingsNode,
  topComponent,
  unusedNotices,
} from './read-config.js'

export type Gpt2Options = z.output<typeof gpt2Options>

export interface InitializationPlan {
  readonly type: 'plain' | 'scaled' | 'scaled_embed'
  readonly mean: number
  readonly std: number
  readonly layers: number | null
}

/** A wrapper of the model, such as `fsdp1_wrapped` or `compiled`; listed from the outside in. */
export interface WrapperPlan {
  readonly variant: string
  readonly options: Readonly<Record<string, unknown>>
}

export interface OptimizerPlan {
  readonly learningRate: number
  readonly betas: readonly [number, number]
  readonly eps: number
  readonly weightDecay: number
  readonly excludedGroups: readonly string[]
}

/** A scheduler variant with Modalities' options, excluding the optimizer. */
export interface SchedulePlan {
  readonly variant: string
  readonly options: Readonly<Record<string, unknown>>
}

export interface CheckpointPlan {
  readonly folder: string
  readonly format: 'fsdp1' | 'dcp'
  readonly everySteps: number
  /** Number of newest checkpoints to keep; null keeps all, 0 saves none. */
  readonly keep: number | null
}

export interface SubscriberPlan {
  readonly variant: string
  readonly options: Readonly<Record<string, unknown>>
}

export interface ModalitiesTrainingPlan {
  readonly settings: TrainingSettings
  readonly tokensPerStep: number
  readonly train: LoaderPlan
  readonly evaluation: readonly LoaderPlan[]
  readonly model: Gpt2Options
  readonly initialization: InitializationPlan | null
  readonly wrappers: readonly WrapperPlan[]
  readonly optimizer: OptimizerPlan
  readonly schedule: SchedulePlan | null
  /** A `maxNorm` of null reports the norm without clipping. */
  readonly gradientClip: { readonly norm: 'P1_NORM' | 'P2_NORM' | 'MAX_NORM'; readonly maxNorm: number | null }
  readonly checkpoint: CheckpointPlan
  readonly progressSubscriber: SubscriberPlan
  readonly resultsSubscriber: SubscriberPlan
  /** Ranks along each mesh dimension; null without a device mesh. */
  readonly mesh: ReturnType<typeof meshDegrees> | null
  /** Checkpoint of a warmstart; null for a new run. */
  readonly warmstartFrom: string | null
  readonly notices: readonly Notice[]
  readonly unsupported: readonly Unsupported[]
}

/**
 * Reads a training configuration.
 * @throws CONFIG_INVALID with file, line, column and path; DATA_TOO_SMALL and what `readTokenCount` throws
 */
export function readTrainingPlan(text: string, options: ReadOptions): ModalitiesTrainingPlan {
  const config = readConfig(text, options)
  const settings = readSettingsAs(config, trainingSettings)
  const optional = ['device_mesh', 'mfu_calculator', 'profiler', 'scheduled_pipeline'] as const
  for (const name of optional) config.builder.top(name)
  topComponent(config, 'train_dataset', 'dataset')
  topComponent(config, 'loss_fn', 'loss')
  const rawModel = topComponent(config, 'model_raw', 'model')
  const { global_rank: rank } = settings.cuda_env
  const train = loaderPlan(topComponent(config, 'train_dataloader', 'data_loader'), config, rank)
  const appState = topComponent(config, 'app_state', 'app_state')
  const state = unwrap(appState, 'app_state', 'raw_app_state').inner
  const plan = {
    settings,
    tokensPerStep: tokensPerStep(settings),
    train,
    evaluation: evaluationLoaders(config, rank),
    ...modelPlan(partOf(state, 'model'), rawModel, config),
    optimizer: optimizerPlan(partOf(state, 'optimizer')),
    schedule: schedulePlan(state.options.lr_scheduler),
    gradientClip: clipPlan(topComponent(config, 'gradient_clipper', 'gradient_clipper')),
    checkpoint: checkpointPlan(topComponent(config, 'checkpoint_saving', 'checkpoint_saving'), settings),
    progressSubscriber: subscriberPlan(topComponent(config, 'progress_subscriber', 'progress_subscriber')),
    resultsSubscriber: subscriberPlan(topComponent(config, 'evaluation_subscriber', 'results_subscriber')),
    mesh: meshPlan(config.builder.top('device_mesh')),
    warmstartFrom: warmstartPath(appState, settings),
  }
  checkLengths(plan.model, train, config, rawModel)
  const samples = train.dataPaths.reduce((sum, path) => {
    return sum + blockGeometry(options.readTokenCount(path), train.sequenceLength, train.reuseLastTarget).count
  }, 0)
  const offered = samples * settings.step_profile.sequence_length
  const findings = checkSettings(settings, offered, config.file, settingsNode(config))
  return {
    ...plan,
    notices: [
      ...config.notices,
      ...findings,
      ...profilerNotices(config),
      ...overlapNotices(plan, config),
      ...warmstartNotices(appState, plan.warmstartFrom, options.checkpointPaths),
      ...unusedNotices(config),
    ],
    unsupported: config.builder.unsupported,
  }
}

function profilerNotices({ builder }: ReadConfig): Notice[] {
  const profiler = builder.top('profiler')
  if (!(profiler instanceof Component) || profiler.variantKey === 'no_profiler') return []
  const message = `profiler.${profiler.variantKey} has no effect in training: use penstock profile distributed`
  return [{ message, path: profiler.path, place: profiler.place }]
}

/** Reports evaluation data that the run also trains on. */
function overlapNotices(
  { train, evaluation }: Pick<ModalitiesTrainingPlan, 'train' | 'evaluation'>,
  { tree }: ReadConfig,
) {
  const place = tree.keyPlaces.get('eval_dataloaders') ?? tree.place
  return evaluation.flatMap(({ dataPaths }, index): Notice[] => {
    const shared = dataPaths.find(path => train.dataPaths.includes(path))
    if (shared === undefined) return []
    const message = `evaluates on ${shared}, which the run also trains on`
    return [{ message, path: ['eval_dataloaders', index], place }]
  })
}

/** Reports a `last_checkpoint_info.json` that names a checkpoint other than the one that the run loads. */
function warmstartNotices(
  { path, place }: Component,
  from: string | null,
  named: ReadOptions['checkpointPaths'],
): Notice[] {
  if (named === undefined || (from !== null && Object.values(named).some(name => from.includes(name)))) return []
  const loaded = from === null ? 'no checkpoint' : from
  const message = `loads ${loaded} instead of the checkpoint in last_checkpoint_info.json, which is not used`
  return [{ message, path, place }]
}

/** Unwraps nested components of one kind; returns the innermost and its wrappers, outermost first. */
function unwrap(outer: Component, kind: string, along: string): { inner: Component; passed: Component[] } {
  const passed: Component[] = []
  let inner = outer
  for (;;) {
    const next = inner.options[along]
    if (!(next instanceof Component) || next.componentKey !== kind) return { inner, passed }
    passed.push(inner)
    inner = next
  }
}

function modelPlan(outer: Component, rawModel: Component, config: ReadConfig) {
  const { inner, passed } = unwrap(outer, 'model', 'model')
  if (inner.variantKey !== 'gpt2') {
    throw configError(
      `model.${inner.variantKey} is not supported for training: expected model.gpt2 as the innermost model`,
      config.file,
      inner.path,
      inner.place,
      'UNSUPPORTED',
    )
  }
  if (inner !== rawModel && rawModel.variantKey !== 'gpt2') {
    throw configError(
      'model_raw: expected the gpt2 model that app_state trains',
      config.file,
      rawModel.path,
      rawModel.place,
    )
  }
  const initialized = passed.find(({ variantKey }) => variantKey === 'model_initialized')
  return {
    model: inner.options as Gpt2Options,
    initialization: initialized === undefined ? null : initializationPlan(partOf(initialized, 'model_initializer')),
    wrappers: passed.filter(component => component !== initialized).map(wrapperPlan),
  }
}

function wrapperPlan({ variantKey, options }: Component): WrapperPlan {
  const own = Object.entries(options).filter(([, value]) => !(value instanceof Component))
  return { variant: variantKey, options: Object.fromEntries(own) }
}

function initializationPlan({ options }: Component): InitializationPlan {
  const std = options.std as number | 'auto'
  return {
    type: options.weight_init_type as InitializationPlan['type'],
    mean: options.mean as number,
    // "auto" follows Takase et al. 2023, like Modalities.
    std: std === 'auto' ? Math.sqrt(2 / (5 * (options.hidden_dim as number))) : std,
    layers: (options.num_layers as number | null | undefined) ?? null,
  }
}

function optimizerPlan(outer: Component): OptimizerPlan {
  const { options } = unwrap(outer, 'optimizer', 'optimizer').inner
  return {
    learningRate: options.lr as number,
    betas: options.betas as [number, number],
    eps: options.eps as number,
    weightDecay: options.weight_decay as number,
    excludedGroups: options.weight_decay_groups_excluded as string[],
  }
}

function schedulePlan(scheduler: unknown): SchedulePlan | null {
  if (!(scheduler instanceof Component) || scheduler.variantKey === 'dummy_lr') return null
  const { optimizer: _, ...options } = scheduler.options
  return { variant: scheduler.variantKey, options }
}

function clipPlan({ options }: Component): ModalitiesTrainingPlan['gradientClip'] {
  return {
    norm: options.norm_type as 'P1_NORM' | 'P2_NORM' | 'MAX_NORM',
    maxNorm: (options.max_norm as number | undefined) ?? null,
  }
}

function checkpointPlan(saving: Component, settings: TrainingSettings): CheckpointPlan {
  const strategy = partOf(saving, 'checkpoint_saving_strategy')
  const execution = partOf(saving, 'checkpoint_saving_execution')
  const k = strategy.options.k as number
  const every = settings.intervals.checkpointing_interval_in_steps
  const keepsNewest = strategy.variantKey === 'save_k_most_recent_checkpoints_strategy'
  return {
    folder: execution.options.checkpoint_path as string,
    format: execution.variantKey as 'fsdp1' | 'dcp',
    // Modalities consults the strategy at every interval, so a checkpoint needs a multiple of both numbers.
    everySteps: keepsNewest ? every : leastCommonMultiple(every, k),
    keep: keepsNewest && k >= 0 ? k : null,
  }
}

function leastCommonMultiple(first: number, second: number): number {
  let [a, b] = [first, second]
  while (b !== 0) [a, b] = [b, a % b]
  return (first / a) * second
}

function subscriberPlan({ variantKey, options }: Component): SubscriberPlan {
  const { eval_dataloaders: _, ...own } = options
  return { variant: variantKey, options: own }
}

function meshPlan(mesh: unknown): ModalitiesTrainingPlan['mesh'] {
  return mesh instanceof Component && mesh.componentKey === 'device_mesh'
    ? meshDegrees(mesh.options as MeshOptions)
    : null
}

function warmstartPath({ options }: Component, { warmstart_checkpoint_paths: paths }: TrainingSettings): string | null {
  if (typeof options.checkpoint_dir_path === 'string') return options.checkpoint_dir_path
  if (paths === null || paths === undefined) return null
  return 'checkpoint_folder_path' in paths ? paths.checkpoint_folder_path : paths.model_checkpoint_path
}

/** Checks that model and samples have the same length; a mismatch would fail in the middle of a run. */
function checkLengths(model: Gpt2Options, train: LoaderPlan, { file }: ReadConfig, { path, place }: Component): void {
  if (train.sequenceLength <= model.sequence_length) return
  const message = `the model has sequence_length ${model.sequence_length}, but the samples have ${train.sequenceLength} tokens`
  throw configError(message, file, [...path, 'config', 'sequence_length'], place)
}

/** @throws UNSUPPORTED if the plan contains unsupported components */
export function requireSupported(plan: ModalitiesTrainingPlan): void {
  const [first] = plan.unsupported
  if (first === undefined) return
  throw new PenstockError('UNSUPPORTED', `${first.what} is not supported (${first.why})`, {
    path: pathText(first.path),
  })
}
