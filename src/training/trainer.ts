/**
 * The training loop. It is driven from outside: whoever has batches offers them one by one and stops at 'done'. Each
 * `accumulation_steps` batches make a step; between steps the trainer logs, evaluates, saves, and heeds a wish to stop.
 * A checkpoint holds the cursor of the last batch trained on, so a resumed run sees exactly the batches that are left.
 */
import { createHash } from 'node:crypto'
import { PenstockError } from '../errors.js'
import type { SampleBatch, SampleCursor } from '../formats/batches.js'
import {
  type Checkpoint,
  listCheckpoints,
  openCheckpoint,
  openLatestCheckpoint,
  saveCheckpoint,
  type TokenizerReference,
} from './checkpoint.js'
import {
  cutRows,
  type Engine,
  requireFit,
  rowsByWeight,
  type StepResult,
  type TrainingBatch,
  toTrainingBatch,
  type WeightedRows,
} from './engine.js'
import { type LossMask, maskStep } from './loss-mask.js'
import type { BackendName, ModelOptions, TrainingOptions } from './options.js'
import { learningRateAt } from './schedule.js'
import { flopsPerToken } from './weights.js'

export type TrainingEvent =
  | {
      readonly kind: 'step'
      /** Steps taken, this one included. */
      readonly step: number
      readonly totalSteps: number
      readonly loss: number
      /** Mean over the steps since the last event of this kind. */
      readonly averageLoss: number
      readonly learningRate: number
      readonly gradientNorm: number
      readonly tokensPerSecond: number
      /** Since the start of the run, those before a resume included. */
      readonly consumedTokens: number
      readonly stepMs: number
      /** Share of what the devices could compute that the model needed (MFU); where the devices are known. */
      readonly utilization?: number
      readonly peakMemoryBytes?: number
      /** How long the devices waited for the data of this step. */
      readonly dataWaitMs?: number
    }
  | {
      readonly kind: 'evaluation'
      readonly step: number
      readonly loss: number
      readonly tokens: number
      readonly durationMs: number
    }
  | { readonly kind: 'checkpoint'; readonly step: number; readonly path: string; readonly durationMs: number }
  | { readonly kind: 'resumed'; readonly step: number; readonly path: string }
  /** What `backend: auto` has taken. */
  | { readonly kind: 'backend'; readonly backend: BackendName; readonly reason: string }
  | { readonly kind: 'damaged-checkpoint'; readonly error: PenstockError }
  | ({ readonly kind: 'end' } & TrainingSummary)

/** Why a run ended: its last step was taken, it was asked to stop, or there were no more batches. */
export type EndReason = 'completed' | 'stopped' | 'data-ended'

export interface TrainingSummary {
  readonly reason: EndReason
  readonly step: number
  /** Undefined when no batch ever came and the length was given in epochs. */
  readonly totalSteps: number | undefined
  readonly consumedTokens: number
  /** Of the last step taken by this trainer. */
  readonly loss: number | undefined
  readonly heldOutLoss: number | undefined
  /** The last checkpoint written or resumed from. */
  readonly checkpoint: string | undefined
}

export interface TrainerSetup {
  readonly training: TrainingOptions
  readonly model: ModelOptions
  readonly engine: Engine
  readonly tokenizer?: TokenizerReference
  readonly onEvent?: (event: TrainingEvent) => void
  /** Opens the held-out batches; each evaluation starts from the first. */
  readonly heldOut?: () => AsyncIterable<SampleBatch>
  readonly lossMask?: LossMask
  /** Of the held-out samples. */
  readonly heldOutMask?: LossMask
  /** Aborting asks for a checkpoint after the step in progress, and the end. */
  readonly signal?: AbortSignal
  /** 'latest': go on from the newest whole checkpoint of the folder, or start when there is none; else a checkpoint's path. */
  readonly resume?: 'latest' | { readonly path: string }
}

/**
 * Opens a trainer, resumed when asked for.
 * @throws CHECKPOINT_INVALID, WORLD_MISMATCH for a checkpoint of another model, FILE_EXISTS when a new run would write
 *   among the checkpoints of an older one
 */
export async function openTrainer(setup: TrainerSetup): Promise<Trainer> {
  const checkpoint = await findCheckpoint(setup)
  if (checkpoint !== undefined) {
    requireSameModel(setup.model, checkpoint)
    await setup.engine.loadState(checkpoint.path)
    setup.onEvent?.({ kind: 'resumed', step: checkpoint.state.step, path: checkpoint.path })
  }
  return new Trainer(setup, checkpoint)
}

/** A step that the engine was asked for and that is not accounted for yet. */
interface StepInFlight {
  readonly result: Promise<StepResult>
  /** Where the batches stand after it. */
  readonly cursor: SampleCursor
  readonly learningRate: number
  readonly tokens: number
  readonly startedAt: number
}

export class Trainer {
  readonly #setup: TrainerSetup
  #step: number
  #totalSteps: number | undefined
  #consumedTokens: number
  #cursor: SampleCursor | undefined
  #pending: TrainingBatch[] = []
  #inFlight: StepInFlight[] = []
  #lastStepEndedAt = 0
  #failed = false
  /** By another process that trains with this one. */
  #toldToStop = false
  #summary: TrainingSummary | undefined
  #loss: number | undefined
  #heldOut: { step: number; loss: number } | undefined
  #saved: { step: number; path: string } | undefined
  #sinceLog = { losses: [] as number[], tokens: 0, startedAt: performance.now() }

  constructor(setup: TrainerSetup, checkpoint: Checkpoint | undefined) {
    this.#setup = setup
    this.#step = checkpoint?.state.step ?? 0
    this.#consumedTokens = checkpoint?.state.consumedTokens ?? 0
    this.#cursor = checkpoint?.state.cursor
    this.#saved = checkpoint && { step: checkpoint.state.step, path: checkpoint.path }
  }

  /** Steps taken. */
  get step(): number {
    return this.#step
  }

  /** Where the source of batches must go on; undefined: at its start. */
  get cursor(): SampleCursor | undefined {
    return this.#cursor
  }

  /** Whether a step went wrong: the engine's state may be anything. */
  get failed(): boolean {
    return this.#failed
  }

  /**
   * Trains on a batch. The caller may reuse its memory afterwards.
   * @returns 'done' after the last step: the batch after it is not wanted
   * @throws OPTION_INVALID, WORLD_MISMATCH, DATA_TOO_SMALL, ENGINE_FAILED
   */
  async offer(batch: SampleBatch): Promise<'more' | 'done'> {
    if (this.#summary !== undefined) {
      return 'done'
    }
    this.#requireSamplesFit(batch)
    const totalSteps = this.#totalSteps ?? (await this.#begin(batch.cursor))
    if (this.#step >= totalSteps) {
      return this.#finish('completed')
    }
    if (this.#stops) {
      return this.#finish('stopped')
    }
    const micro = toTrainingBatch(batch.tokens, batch.rows, batch.block)
    requireFit(micro, this.#setup.model)
    this.#pending.push(micro)
    if (this.#pending.length < this.#setup.training.accumulation_steps) {
      return 'more'
    }
    const step = this.#startStep(batch.cursor, totalSteps)
    const pauses = step === totalSteps || this.#stops || this.#isIntervalEnd(step)
    await this.#finishSteps(pauses ? 0 : this.#setup.engine.maxStepsInFlight - 1)
    if (this.#step === totalSteps) {
      return this.#finish('completed')
    }
    if (this.#stops && !this.#stopsTogether) {
      return this.#finish('stopped')
    }
    if (pauses) {
      await this.#betweenSteps()
    }
    return 'more'
  }

  /** Ends the run when the batches end, or when they cannot be waited for; batches short of a step are not trained on. */
  async end(): Promise<TrainingSummary> {
    if (this.#summary === undefined) {
      await this.#finish(this.#stops ? 'stopped' : 'data-ended')
    }
    return this.#summary!
  }

  get #stops(): boolean {
    return this.#toldToStop || this.#setup.signal?.aborted === true
  }

  /** Whether the others have yet to be told: until then this process must do all that they do. */
  get #stopsTogether(): boolean {
    return !this.#toldToStop && this.#setup.engine.stopTogether !== undefined
  }

  #requireSamplesFit(batch: SampleBatch): void {
    const { training, model } = this.#setup
    // Without the last target of the sample before, the model sees one position less.
    if (batch.block !== model.sequence_length + 1 && batch.block !== model.sequence_length) {
      const message = `the samples have ${batch.block} tokens; sequence_length ${model.sequence_length} needs one more than that`
      throw new PenstockError('OPTION_INVALID', message, { path: 'model.sequence_length' })
    }
    if (batch.rows > training.batch_size) {
      const message = `a batch has ${batch.rows} samples, batch_size is ${training.batch_size}`
      throw new PenstockError('OPTION_INVALID', message, { path: 'batch_size' })
    }
    const before = this.#inFlight.at(-1)?.cursor ?? this.#cursor
    if (before !== undefined) {
      requireSameData(before, batch.cursor)
    }
  }

  /** Settles the length of the run and that all who take part in it are told the same; evaluates the untrained model if asked. */
  async #begin(cursor: SampleCursor): Promise<number> {
    const totalSteps = stepsOf(this.#setup, cursor)
    const { training, engine, model } = this.#setup
    const { torch: _, checkpoint: __, ...learning } = training
    const digest = createHash('sha256').update(JSON.stringify({ learning, model })).digest('hex')
    await engine.agree({ ...cursor, totalSteps, step: this.#step, definition: digest })
    this.#totalSteps = totalSteps
    if (this.#step === 0 && training.evaluation?.at_start) {
      await this.#evaluate()
    }
    return totalSteps
  }

  /** Hands a step to the engine. @returns its number, from 1 */
  #startStep(cursor: SampleCursor, totalSteps: number): number {
    const { training, engine } = this.#setup
    const before = this.#step + this.#inFlight.length
    const learningRate = learningRateAt(training.schedule, before, totalSteps, training.optimizer.learning_rate)
    const tokens = this.#pending.reduce((sum, batch) => sum + batch.rows, 0) * cursor.sequenceLength
    const startedAt = performance.now()
    const { lossMask } = this.#setup
    const batches = lossMask === undefined ? this.#pending : maskStep(this.#pending, lossMask)
    const result = engine.step(batches, learningRate)
    // It is awaited later; until then a failure is no unhandled one.
    result.catch(() => {})
    this.#inFlight.push({ result, cursor, learningRate, tokens, startedAt })
    this.#pending = []
    return before + 1
  }

  /** Waits until no more than `left` steps are under way, and accounts for those that ended. */
  async #finishSteps(left: number): Promise<void> {
    while (this.#inFlight.length > left) {
      const step = this.#inFlight[0]!
      this.#failed = true
      const result = await step.result
      if (result.skipped) {
        this.#failed = false
        this.#toldToStop = true
        this.#inFlight.shift()
        continue
      }
      if (!Number.isFinite(result.loss)) {
        throw new PenstockError(
          'ENGINE_FAILED',
          `the loss of step ${this.#step + 1} is ${result.loss}: a lower learning_rate may help`,
        )
      }
      this.#failed = false
      this.#inFlight.shift()
      this.#account(step, result)
    }
  }

  #account({ cursor, learningRate, tokens, startedAt }: StepInFlight, result: StepResult): void {
    const now = performance.now()
    const stepMs = now - Math.max(startedAt, this.#lastStepEndedAt)
    this.#lastStepEndedAt = now
    this.#step++
    this.#consumedTokens += tokens
    this.#cursor = cursor
    this.#loss = result.loss
    this.#sinceLog.losses.push(result.loss)
    this.#sinceLog.tokens += tokens
    const totalSteps = this.#totalSteps!
    if (this.#step % this.#setup.training.log_every_steps === 0 || this.#step === totalSteps) {
      this.#log({ ...result, learningRate, stepMs, totalSteps })
    }
  }

  #log(
    figures: StepResult & {
      readonly learningRate: number
      readonly stepMs: number
      readonly totalSteps: number
    },
  ): void {
    const { losses, tokens, startedAt } = this.#sinceLog
    const { engine, model } = this.#setup
    const now = performance.now()
    const tokensPerSecond = (tokens / (now - startedAt)) * 1000
    this.#emit({
      kind: 'step',
      step: this.#step,
      ...figures,
      averageLoss: losses.reduce((sum, loss) => sum + loss, 0) / losses.length,
      tokensPerSecond,
      consumedTokens: this.#consumedTokens,
      ...(engine.peakFlops && { utilization: (tokensPerSecond * flopsPerToken(model)) / engine.peakFlops }),
    })
    this.#sinceLog = { losses: [], tokens: 0, startedAt: now }
  }

  #isIntervalEnd(step: number): boolean {
    const { evaluation, checkpoint } = this.#setup.training
    return [evaluation, checkpoint].some(interval => interval !== undefined && step % interval.every_steps === 0)
  }

  async #betweenSteps(): Promise<void> {
    const { evaluation, checkpoint } = this.#setup.training
    if (evaluation !== undefined && this.#step % evaluation.every_steps === 0) {
      await this.#evaluate()
    }
    if (checkpoint !== undefined && this.#step % checkpoint.every_steps === 0) {
      await this.#save()
    }
  }

  async #finish(reason: EndReason): Promise<'done'> {
    this.#pending = []
    await this.#finishSteps(0)
    if (this.#toldToStop) {
      reason = 'stopped'
    } else if (reason === 'stopped') {
      await this.#setup.engine.stopTogether?.()
    } else {
      await this.#evaluate()
    }
    await this.#save()
    this.#summary = {
      reason,
      step: this.#step,
      totalSteps: this.#totalSteps,
      consumedTokens: this.#consumedTokens,
      loss: this.#loss,
      heldOutLoss: this.#heldOut?.loss,
      checkpoint: this.#saved?.path,
    }
    this.#emit({ kind: 'end', ...this.#summary })
    return 'done'
  }

  /** Mean loss over the first held-out batches. */
  async #evaluate(): Promise<void> {
    const { heldOut, heldOutMask, training, engine } = this.#setup
    if (heldOut === undefined || training.evaluation === undefined || this.#heldOut?.step === this.#step) {
      return
    }
    const startedAt = performance.now()
    let [lossSum, weightSum, tokens, batches] = [0, 0, 0, 0]
    for await (const batch of heldOut()) {
      const whole = toTrainingBatch(batch.tokens, batch.rows, batch.block)
      for (const { weight, batches: rows } of evaluated(whole, heldOutMask)) {
        for (const piece of rows.flatMap(part => cutRows(part, training.batch_size))) {
          const result = await engine.evaluate(piece)
          lossSum += result.lossSum * weight
          weightSum += result.tokens * weight
          tokens += result.tokens
        }
      }
      batches++
      if (batches === training.evaluation.batches) {
        break
      }
    }
    if (tokens === 0) {
      throw new PenstockError('DATA_TOO_SMALL', 'there is no held-out target to evaluate on')
    }
    const loss = lossSum / weightSum
    this.#heldOut = { step: this.#step, loss }
    this.#emit({ kind: 'evaluation', step: this.#step, loss, tokens, durationMs: performance.now() - startedAt })
    this.#restartClock(startedAt)
  }

  async #save(): Promise<void> {
    const { training, model, engine, tokenizer } = this.#setup
    const cursor = this.#cursor
    if (training.checkpoint === undefined || cursor === undefined || this.#saved?.step === this.#step) {
      return
    }
    const startedAt = performance.now()
    const path = await saveCheckpoint(training.checkpoint.folder, training.checkpoint.keep, engine, {
      step: this.#step,
      totalSteps: this.#totalSteps ?? this.#step,
      consumedTokens: this.#consumedTokens,
      cursor,
      model,
      training,
      ...(tokenizer && { tokenizer }),
    })
    this.#saved = { step: this.#step, path }
    this.#emit({ kind: 'checkpoint', step: this.#step, path, durationMs: performance.now() - startedAt })
    this.#restartClock(startedAt)
  }

  /** Takes the time since `pausedAt` out of the rate of tokens. */
  #restartClock(pausedAt: number): void {
    this.#sinceLog.startedAt += performance.now() - pausedAt
  }

  #emit(event: TrainingEvent): void {
    this.#setup.onEvent?.(event)
  }
}

/** Every target counts alike; masked, every micro-batch does, as in a step. */
function evaluated(batch: TrainingBatch, mask: LossMask | undefined): readonly WeightedRows[] {
  return mask === undefined ? [{ weight: 1, batches: [batch] }] : rowsByWeight(maskStep([batch], mask))
}

async function findCheckpoint({ resume, training, onEvent }: TrainerSetup): Promise<Checkpoint | undefined> {
  if (typeof resume === 'object') {
    return openCheckpoint(resume.path)
  }
  const folder = training.checkpoint?.folder
  if (folder === undefined) {
    return undefined
  }
  if (resume === 'latest') {
    return openLatestCheckpoint(folder, error => onEvent?.({ kind: 'damaged-checkpoint', error }))
  }
  if ((await listCheckpoints(folder)).length > 0) {
    const message = 'the folder holds checkpoints of an earlier run: resume it, or choose another folder'
    throw new PenstockError('FILE_EXISTS', message, { file: folder, path: 'checkpoint.folder' })
  }
  return undefined
}

/** Everything but the seed of the first weights must agree. */
function requireSameModel(model: ModelOptions, { path, state }: Checkpoint): void {
  for (const key of Object.keys(model) as (keyof ModelOptions)[]) {
    if (key !== 'seed' && key !== 'init_std' && model[key] !== state.model[key]) {
      const message = `the checkpoint's model has ${key} ${state.model[key]}, this one ${model[key]}`
      throw new PenstockError('WORLD_MISMATCH', message, { file: path, path: `model.${key}` })
    }
  }
}

function requireSameData(before: SampleCursor, now: SampleCursor): void {
  for (const key of ['version', 'seed', 'sampleCount', 'sequenceLength', 'dataBytes', 'tokenBytes'] as const) {
    if (before[key] !== now[key]) {
      const message = `the batches come from other data: ${key} is ${now[key]}, it was ${before[key]}`
      throw new PenstockError('WORLD_MISMATCH', message)
    }
  }
  if (now.globalSamples <= before.globalSamples) {
    const message = `the batches do not go on where training stopped: they end at sample ${now.globalSamples}, training was at ${before.globalSamples}`
    throw new PenstockError('WORLD_MISMATCH', message)
  }
}

/** The length of a run in steps, however it was given. @throws DATA_TOO_SMALL */
export function stepsOf(
  { training, model }: Pick<TrainerSetup, 'training' | 'model'>,
  { sampleCount }: Pick<SampleCursor, 'sampleCount'>,
): number {
  if (training.steps !== undefined) {
    return training.steps
  }
  const samplesPerStep = training.batch_size * training.accumulation_steps
  const samples =
    training.tokens === undefined
      ? sampleCount * (training.epochs ?? 1)
      : Math.floor(training.tokens / model.sequence_length)
  const steps = Math.floor(samples / samplesPerStep)
  if (steps === 0) {
    const message = `${samples} samples do not make one step of ${samplesPerStep}`
    throw new PenstockError('DATA_TOO_SMALL', message)
  }
  return steps
}
