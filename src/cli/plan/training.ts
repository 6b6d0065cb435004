/** Plans a training: sample counts from the packed file's header, time and memory from steps on random tokens. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { readPackedManifest } from '../../files/manifest.js'
import { openPackedFile } from '../../files/packed-file.js'
import type { CheckedStep } from '../../pipelines/check.js'
import { samplesIn } from '../../sampling/sample-range.js'
import { type FeedTrainerSettings, heldOutSets } from '../../stages/feed-trainer/options.js'
import type { MixSamplesSettings } from '../../stages/samples/mix-options.js'
import type { ShuffleSamplesSettings } from '../../stages/samples/shuffle-samples.js'
import { listCheckpoints } from '../../training/checkpoint.js'
import { requireEndTokenFits } from '../../training/compatibility.js'
import { heldOutProblem } from '../../training/held-out.js'
import type { SampleStage } from '../../training/held-out-overlap.js'
import { type ModelOptions, resolveModel, type TrainingOptions, type VocabularySize } from '../../training/options.js'
import { stepsOf } from '../../training/run-length.js'
import { parameterCount } from '../../training/weights.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import { count } from '../output/terminal.js'
import { planCluster } from './cluster.js'
import { mixtureLengthOf, partsOfMixture } from './mixture.js'
import type { Estimate, PlanContext, PlannedSource } from './model.js'
import { probeTraining } from './probe.js'
import { checkSampleData, packIn, pathsOf, rangesOf, type SampledFiles, sampledFilesOf } from './sample-data.js'

/** Weights and the two moments of AdamW, as float32. */
const CHECKPOINT_BYTES_PER_PARAMETER = 12

type TrainerOptions = FeedTrainerSettings

/** @throws DATA_TOO_SMALL, and the errors of invalid model options */
export async function planTraining(
  steps: readonly CheckedStep[],
  trainer: CheckedStep,
  context: PlanContext,
): Promise<Estimate> {
  const training = trainer.options as unknown as TrainerOptions
  const vocabulary =
    training.tokenizer !== undefined && existsSync(training.tokenizer)
      ? await askTokenizer(training.tokenizer, ({ vocabSize, totalSize }) => ({ vocabSize, totalSize }))
      : plannedVocabulary(training.tokenizer, context)
  await checkFolder(training, context)
  await checkHeldOut(training, context)
  const source = sampleSourceIn(steps)
  const { stage = 'shuffle-samples', parts = [] } = source ?? {}
  await checkSampleData(parts, { stage, tokenizer: training.tokenizer, heldOut: heldOutOf(training) }, context)
  const length = source && (await source.length(training, context))
  if (vocabulary === undefined && training.model.vocab_size === undefined) {
    context.problem('warning', 'time and memory are unknown until the tokenizer exists')
    return { ...length, exact: length !== undefined }
  }
  const model = resolveModel(training.model, vocabulary)
  const parameters = parameterCount(model)
  addCheckpoints(training, parameters, context)
  await checkEndToken(parts.flatMap(pathsOf), model, context)
  return { ...length, parameters, ...(await costOf(training, model, length, context)), exact: length !== undefined }
}

/** The stage that reads the samples to train on. */
interface SampleSource {
  readonly stage: SampleStage
  readonly parts: readonly SampledFiles[]
  /** Undefined if a packed file does not exist and no earlier pipeline writes it. */
  length(training: TrainingOptions, context: PlanContext): Promise<Length | undefined>
}

function sampleSourceIn(steps: readonly CheckedStep[]): SampleSource | undefined {
  for (const { name, options } of steps) {
    if (name === 'shuffle-samples') {
      const shuffled = options as unknown as ShuffleSamplesSettings
      return { stage: name, parts: [shuffled], length: (training, context) => lengthOf(shuffled, training, context) }
    }
    if (name === 'mix-samples') {
      const mixed = options as unknown as MixSamplesSettings
      const length: SampleSource['length'] = async (training, context) => {
        checkShape(mixed, 'mix-samples', training, context)
        return mixtureLengthOf(mixed, training, context)
      }
      return { stage: name, parts: partsOfMixture(mixed), length }
    }
  }
  return undefined
}

/** The held-out sets of a training that evaluates. */
function heldOutOf({ evaluation, model, ...options }: TrainerOptions) {
  if (evaluation === undefined) return []
  return heldOutSets(options).map(set => ({ ...set, sequence_length: set.sequence_length ?? model.sequence_length }))
}

/** The vocabulary of a tokenizer that an earlier pipeline trains. */
function plannedVocabulary(path: string | undefined, { madeVocabularies }: PlanContext): VocabularySize | undefined {
  const size = path === undefined ? undefined : madeVocabularies.get(resolve(path))
  return size === undefined ? undefined : { vocabSize: size, totalSize: size }
}

/** Time and memory, on this machine or on a cluster; empty, with the reason added to the problems, if the training fails to start. */
async function costOf(
  training: TrainingOptions,
  model: ModelOptions,
  length: Length | undefined,
  context: PlanContext,
): Promise<Pick<Estimate, 'seconds' | 'memoryBytes' | 'cluster'>> {
  if (context.cluster !== undefined) {
    const cluster = planCluster(training, model, context.cluster, context)
    if (cluster === undefined) return {}
    const { stepSeconds } = cluster
    return { cluster, ...(length && stepSeconds !== undefined && { seconds: length.steps * stepSeconds }) }
  }
  try {
    const { startupMs, stepMs, memoryBytes } = await probeTraining(training, model, context.trainingProbeMs)
    return { memoryBytes, ...(length && { seconds: (startupMs + length.steps * stepMs) / 1000 }) }
  } catch (error) {
    if (!(error instanceof PenstockError)) throw error
    context.problem('error', `the training fails to start, so time and memory are unknown: ${error.toLine()}`)
    return {}
  }
}

interface Length {
  readonly tokens: number
  readonly samples: number
  readonly steps: number
  /** Undefined for a mixture, whose sources have separate epochs. */
  readonly epochs?: number
  readonly sources?: readonly PlannedSource[]
  readonly rows?: NonNullable<Estimate['rows']>
}

async function lengthOf(
  source: ShuffleSamplesSettings,
  training: TrainingOptions,
  context: PlanContext,
): Promise<Length | undefined> {
  const files = await sampledFilesOf(source, context)
  const ranges = await rangesOf(source, context)
  if (files === undefined || ranges === undefined) return undefined
  const tokens = files.reduce((sum, { tokenCount }) => sum + tokenCount, 0)
  const samples = samplesIn(ranges)
  const batches = Math.floor(Math.floor(samples / source.world_size) / source.batch_size)
  const steps = stepsOf(training, source.sequence_length, { samples, batches })
  checkShape(source, 'shuffle-samples', training, context)
  checkLength(source, training, { samples, steps }, context)
  const epochs = (steps * training.batch_size * training.accumulation_steps) / Math.max(1, samples)
  return { tokens, samples, steps, epochs, ...(source.pack !== undefined && { rows: await sharesOf(source.pack) }) }
}

/** Padding among the tokens of rows, and dropped ones among the tokens of the documents. */
async function sharesOf(path: string): Promise<NonNullable<Estimate['rows']>> {
  const { rows, rowTokens, tokens, droppedTokens } = (await packIn(path))!.header
  return { padding: 1 - tokens / (rows * rowTokens), dropped: droppedTokens / (tokens + droppedTokens) }
}

/** Reports a token that ends the documents of a packed file but is not in the model's vocabulary. */
async function checkEndToken(paths: readonly string[], { vocab_size }: ModelOptions, { problem }: PlanContext) {
  for (const path of paths.filter(existsSync)) {
    const file = await openPackedFile(path)
    await file.close()
    try {
      requireEndTokenFits((await readPackedManifest(path, file.header))?.tokenizer?.endOfDocumentId, vocab_size)
    } catch (error) {
      if (!(error instanceof PenstockError)) throw error
      problem('error', error.toLine())
    }
  }
}

async function checkHeldOut(training: TrainerOptions, context: PlanContext): Promise<void> {
  for (const set of heldOutOf(training)) {
    const ranges = await rangesOf(set, context)
    const problem = ranges && heldOutProblem(samplesIn(ranges), training.batch_size, set.name)
    if (problem !== undefined) context.problem('error', problem)
  }
}

function checkShape(
  source: Pick<ShuffleSamplesSettings, 'sequence_length' | 'batch_size'>,
  stage: string,
  { batch_size, model }: TrainingOptions,
  { problem }: PlanContext,
): void {
  if (source.sequence_length !== model.sequence_length) {
    problem(
      'error',
      `sequence_length differs: ${count(source.sequence_length)} in ${stage}, ${count(model.sequence_length)} in the model`,
    )
  }
  if (source.batch_size > batch_size) {
    problem(
      'error',
      `batch_size of ${stage} (${count(source.batch_size)}) exceeds that of the trainer (${count(batch_size)})`,
    )
  }
}

function checkLength(
  source: ShuffleSamplesSettings,
  { accumulation_steps }: TrainingOptions,
  { samples, steps }: { samples: number; steps: number },
  { problem }: PlanContext,
): void {
  const perBatch = source.batch_size * source.world_size
  const batches = Math.floor(samples / perBatch)
  if (batches === 0) {
    problem(
      'error',
      `${count(samples)} samples are fewer than one batch of ${count(perBatch)}: pack more data or reduce sequence_length`,
    )
    return
  }
  const left = samples % perBatch
  if (left > 0) {
    problem('warning', `${count(left)} of ${count(samples)} samples do not fill a batch and are dropped in every epoch`)
  }
  const available = source.epochs === 'endless' ? Number.POSITIVE_INFINITY : source.epochs * batches
  const possible = Math.floor(available / accumulation_steps)
  if (possible < steps) {
    problem(
      'error',
      `shuffle-samples runs out of samples after ${count(possible)} of ${count(steps)} steps: increase its epochs, or set endless`,
    )
  }
}

async function checkFolder({ checkpoint, resume }: TrainerOptions, { problem }: PlanContext): Promise<void> {
  if (checkpoint === undefined) {
    problem('warning', 'no checkpoint folder is set: the trained model is lost when the run ends')
    return
  }
  const found = existsSync(checkpoint.folder) ? await listCheckpoints(checkpoint.folder) : []
  if (found.length === 0) return
  if (resume) {
    problem('warning', `resumes from a checkpoint in ${checkpoint.folder}, so fewer steps are left than shown here`)
  } else {
    problem('error', `${checkpoint.folder} contains checkpoints of an earlier run: resume it, or choose another folder`)
  }
}

/** While a checkpoint is being written, the folder holds one more than `keep`. */
function addCheckpoints({ checkpoint }: TrainingOptions, parameters: number, { sizes }: PlanContext): void {
  if (checkpoint === undefined) return
  const kept = (checkpoint.keep ?? 10) + 1
  sizes.set(checkpoint.folder, parameters * CHECKPOINT_BYTES_PER_PARAMETER * kept)
}
