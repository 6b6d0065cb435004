/** The plan of a training: samples from the packed file's header, time and memory from a few steps on random tokens. */
import { existsSync } from 'node:fs'
import { resolve } from 'node:path'
import { PenstockError } from '../../errors.js'
import { openPackedFile } from '../../files/packed-file.js'
import type { CheckedStep } from '../../pipelines/check.js'
import { blockGeometry } from '../../sampling/block.js'
import { listCheckpoints } from '../../training/checkpoint.js'
import { type HeldOutPart, heldOutProblem, samplesIn } from '../../training/held-out.js'
import { type ModelOptions, resolveModel, type TrainingOptions } from '../../training/options.js'
import { stepsOf } from '../../training/run-length.js'
import { parameterCount } from '../../training/weights.js'
import { askTokenizer } from '../../workers/tokenizer/tokenizer-thread.js'
import type { Estimate, PlanContext } from './model.js'
import { probeTraining } from './probe.js'

/** Weights and the optimizer's two moments, as float32. */
const CHECKPOINT_BYTES_PER_PARAMETER = 12

interface SampleOptions {
  readonly path: string
  readonly more_paths: readonly string[]
  readonly sequence_length: number
  readonly batch_size: number
  readonly epochs: number | 'endless'
  readonly world_size: number
  readonly reuse_last_target: boolean
  readonly from: number
  readonly to: number
}
type TrainerOptions = TrainingOptions & {
  readonly tokenizer?: string
  readonly held_out?: HeldOutPart
  readonly resume: boolean
}

/** @throws DATA_TOO_SMALL, and what is wrong with the options of the model */
export async function planTraining(
  steps: readonly CheckedStep[],
  trainer: CheckedStep,
  context: PlanContext,
): Promise<Estimate> {
  const training = trainer.options as unknown as TrainerOptions
  const tokenizerSize =
    training.tokenizer !== undefined && existsSync(training.tokenizer)
      ? await askTokenizer(training.tokenizer, ({ vocabSize }) => vocabSize)
      : context.madeVocabularies.get(resolve(training.tokenizer ?? ''))
  await checkFolder(training, context)
  await checkHeldOut(training, context)
  const source = steps.find(step => step.name === 'shuffle-samples')?.options as unknown as SampleOptions | undefined
  const length = source && (await lengthOf(source, training, context))
  if (tokenizerSize === undefined && training.model.vocab_size === undefined) {
    context.problem('warning', 'time and memory cannot be told before the tokenizer is there')
    return { ...length, exact: length !== undefined }
  }
  const model = resolveModel(training.model, tokenizerSize)
  const parameters = parameterCount(model)
  addCheckpoints(training, parameters, context)
  return { ...length, parameters, ...(await costOf(training, model, length, context)), exact: length !== undefined }
}

/** Time and memory; neither, and the reason as a problem, where the training cannot start. */
async function costOf(
  training: TrainingOptions,
  model: ModelOptions,
  length: Length | undefined,
  { problem }: PlanContext,
): Promise<Pick<Estimate, 'seconds' | 'memoryBytes'>> {
  try {
    const { startupMs, stepMs, memoryBytes } = await probeTraining(training, model)
    return { memoryBytes, ...(length && { seconds: (startupMs + length.steps * stepMs) / 1000 }) }
  } catch (error) {
    if (!(error instanceof PenstockError)) throw error
    problem('error', `time and memory are not known, because the training does not start: ${error.toLine()}`)
    return {}
  }
}

interface Length {
  readonly tokens: number
  readonly samples: number
  readonly steps: number
  readonly epochs: number
}

/** Undefined when the packed file is not there and its size cannot be told. */
async function lengthOf(
  source: SampleOptions,
  training: TrainingOptions,
  context: PlanContext,
): Promise<Length | undefined> {
  let [tokens, count] = [0, 0]
  for (const path of [source.path, ...source.more_paths]) {
    const found = await tokensIn(path, context)
    if (found === undefined) return undefined
    tokens += found
    count += blockGeometry(found, source.sequence_length, source.reuse_last_target).count
  }
  const samples = Math.round(source.to * count) - Math.round(source.from * count)
  const steps = stepsOf(training, source.sequence_length, samples)
  checkLength(source, training, { samples, steps }, context)
  const epochs = (steps * training.batch_size * training.accumulation_steps) / Math.max(1, samples)
  return { tokens, samples, steps, epochs }
}

async function tokensIn(path: string, { madeTokens }: PlanContext): Promise<number | undefined> {
  if (!existsSync(path)) return madeTokens.get(resolve(path))
  const file = await openPackedFile(path)
  await file.close()
  return file.tokenCount
}

async function checkHeldOut({ held_out, evaluation, batch_size, model }: TrainerOptions, context: PlanContext) {
  if (held_out === undefined || evaluation === undefined) return
  const tokens = await tokensIn(held_out.path, context)
  if (tokens === undefined) return
  const problem = heldOutProblem(samplesIn(held_out, tokens, model.sequence_length), batch_size)
  if (problem !== undefined) context.problem('error', problem)
}

function checkLength(
  source: SampleOptions,
  { batch_size, accumulation_steps, model }: TrainingOptions,
  { samples, steps }: { samples: number; steps: number },
  { problem }: PlanContext,
): void {
  if (source.sequence_length !== model.sequence_length) {
    const message = `the samples have sequence_length ${source.sequence_length}, the model ${model.sequence_length}`
    problem('error', message)
  }
  if (source.batch_size > batch_size) {
    problem('error', `shuffle-samples gives batches of ${source.batch_size}, the trainer takes ${batch_size}`)
  }
  const perBatch = source.batch_size * source.world_size
  const batches = Math.floor(samples / perBatch)
  if (batches === 0) {
    problem(
      'error',
      `${samples} samples are fewer than one batch of ${perBatch}: pack more data or shorten sequence_length`,
    )
    return
  }
  const left = samples % perBatch
  if (left > 0) problem('warning', `${left} of ${samples} samples fill no batch and are left out of each epoch`)
  const available = source.epochs === 'endless' ? Number.POSITIVE_INFINITY : source.epochs * batches
  const possible = Math.floor(available / accumulation_steps)
  if (possible < steps) {
    problem(
      'error',
      `the samples end after ${possible} of ${steps} steps: give shuffle-samples more epochs, or endless`,
    )
  }
}

async function checkFolder({ checkpoint, resume }: TrainerOptions, { problem }: PlanContext): Promise<void> {
  if (checkpoint === undefined) {
    problem('warning', 'no checkpoint folder: the trained model is lost when the run ends')
    return
  }
  const found = existsSync(checkpoint.folder) ? await listCheckpoints(checkpoint.folder) : []
  if (found.length === 0) return
  if (resume)
    problem('warning', `goes on from a checkpoint in ${checkpoint.folder}: fewer steps are left than said here`)
  else problem('error', `${checkpoint.folder} holds checkpoints of an earlier run: resume it, or choose another folder`)
}

/** One more than are kept stands there while a new one is written. */
function addCheckpoints({ checkpoint }: TrainingOptions, parameters: number, { sizes }: PlanContext): void {
  if (checkpoint === undefined) return
  const kept = (checkpoint.keep ?? 10) + 1
  sizes.set(checkpoint.folder, parameters * CHECKPOINT_BYTES_PER_PARAMETER * kept)
}
