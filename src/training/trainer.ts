/**
 * The training loop, driven by its caller, which offers batches one by one until it gets 'done'. Each
 * `accumulation_steps` batches form a step; between steps the trainer logs, evaluates, saves and checks for a stop request.
 * A checkpoint holds the cursor of the last batch trained on, so a resumed run gets exactly the remaining batches.
 */
import { PenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import type { DocumentTreatment, SampleBatch, SampleCursor, TokenizerReference } from '../formats/batches.js'
import {
  type Checkpoint,
  type CheckpointState,
  findStart,
  type Resume,
  removeSurplus,
  saveCheckpoint,
} from './checkpoint.js'
import {
  digestOfDefinition,
  requireMixtureLasts,
  requireMixtureLength,
  requirePackedWith,
  requireSameData,
  requireSameDocuments,
  requireSameModel,
  requireSameTokenizer,
  requireSamplesFit,
} from './compatibility.js'
import { DivergenceDetector } from './divergence.js'
import { batchOfSamples } from './documents.js'
import { EarlyStop } from './early-stop.js'
import {
  type Engine,
  FINITE_LIMITS,
  isFiniteStep,
  isWithin,
  requireFit,
  type StepLimits,
  type StepResult,
  type TrainingBatch,
} from './engine.js'
import { bitsPerByte, heldOutLoss, lossesBySource } from './held-out-loss.js'
import { loadInitialWeights } from './initial-weights.js'
import { type LossMask, maskStep } from './loss-mask.js'
import type { ModelOptions, TrainingOptions } from './options.js'
import { stepsOf } from './run-length.js'
import { learningRateAt } from './schedule.js'
import { SpikeDetector } from './spikes.js'
import { fetchCheckpoints, localFolderOf, storeCheckpoint } from './stored-checkpoints.js'
import { Throughput } from './throughput.js'
import type { EndReason, StepEvent, TrainingEvent, TrainingSummary } from './training-events.js'
import { flopsPerToken } from './weights.js'

export interface HeldOutSet {
  /** Undefined for that of `held_out`. */
  readonly name?: string
  /** Opens its batches, with documents treated as in training; each evaluation starts from the first. */
  open(documents: DocumentTreatment): AsyncIterable<SampleBatch>
  readonly mask?: LossMask
  /** Mean bytes of text per token, if known. */
  readonly bytesPerToken?: number
}

export interface TrainerSetup {
  readonly training: TrainingOptions
  readonly model: ModelOptions
  readonly engine: Engine
  readonly tokenizer?: TokenizerReference
  readonly onEvent?: (event: TrainingEvent) => void
  /** The first is that of `held_out`. */
  readonly heldOut?: readonly HeldOutSet[]
  readonly lossMask?: LossMask
  /** Aborting ends the run after the step in progress, with a checkpoint. */
  readonly signal?: AbortSignal
  readonly resume?: Resume
  /** Lets a resumed run continue with other data, at the same number of samples. Default: false. */
  readonly acceptChangedData?: boolean
  /** Steps after which no step must be in flight, because the caller uses the engine. */
  readonly pausesAfter?: (step: number) => boolean
}

/**
 * Opens a trainer, resumed from a checkpoint if requested.
 * @throws CHECKPOINT_INVALID, WORLD_MISMATCH for a checkpoint of another model, FILE_EXISTS when a new run would write
 *   among the checkpoints of an older one
 */
export async function openTrainer(setup: TrainerSetup): Promise<Trainer> {
  const { resume, training, onEvent } = setup
  const from = typeof resume === 'object' ? { path: await fetchCheckpoints(resume.path) } : resume
  const folder = training.checkpoint && (await fetchCheckpoints(training.checkpoint.folder))
  const checkpoint = await findStart(from, folder, error => onEvent?.({ kind: 'damaged-checkpoint', error }))
  if (checkpoint !== undefined) {
    requireSameModel(setup.model, checkpoint)
    requireSameTokenizer(setup.tokenizer, checkpoint)
    requireSameDocuments(training, checkpoint)
    await setup.engine.loadState(checkpoint.path)
    if (resume === 'latest' && folder !== undefined && training.checkpoint !== undefined && setup.engine.isPrimary) {
      await removeSurplus(folder, training.checkpoint.keep, checkpoint)
    }
    onEvent?.({ kind: 'resumed', step: checkpoint.state.step, path: checkpoint.path })
  } else if (training.init_from !== undefined) {
    await loadInitialWeights(setup.engine, training.init_from, setup.model, setup.tokenizer)
  }
  return new Trainer(setup, checkpoint)
}

/** Relative change of the learning rate at a resume above which it is reported. */
const MAX_SCHEDULE_JUMP = 1e-6

/** A step that was handed to the engine and whose result has not been processed. */
interface StepInFlight {
  readonly result: Promise<StepResult>
  readonly limits: StepLimits | undefined
  /** Position in the batches after this step. */
  readonly cursor: SampleCursor
  readonly learningRate: number
  readonly tokens: number
  readonly startedAt: number
}

export class Trainer {
  readonly #setup: TrainerSetup
  readonly #divergence: DivergenceDetector
  readonly #pace = new Throughput()
  #step: number
  #totalSteps: number | undefined
  #consumedTokens: number
  #cursor: SampleCursor | undefined
  #endOfDocumentId: number | undefined
  #documents: DocumentTreatment = 'join'
  #pending: TrainingBatch[] = []
  #inFlight: StepInFlight[] = []
  #failed = false
  /** Whether another process of this run requested the stop. */
  #stoppedByPeer = false
  #summary: TrainingSummary | undefined
  #loss: number | undefined
  #heldOutLoss: number | undefined
  /** Step of the last complete evaluation. */
  #evaluatedStep: number | undefined
  readonly #earlyStop: EarlyStop | undefined
  #tokensPerStep = 1
  #saved: { step: number; path: string } | undefined
  /** The checkpoint that is written while the training continues. */
  #saving: Promise<void> | undefined
  #saveError: unknown
  readonly #spikes: SpikeDetector | undefined
  #skippedInARow: number
  /** Cursor after which the data may be other than before. */
  readonly #changeableCursor: SampleCursor | undefined
  /** Checkpoint that the run was resumed from, until the first batch. */
  #resumedFrom: CheckpointState | undefined

  constructor(setup: TrainerSetup, checkpoint: Checkpoint | undefined) {
    this.#setup = setup
    this.#divergence = new DivergenceDetector(setup.model.vocab_size)
    this.#step = checkpoint?.state.step ?? 0
    this.#consumedTokens = checkpoint?.state.consumedTokens ?? 0
    this.#cursor = checkpoint?.state.cursor
    this.#endOfDocumentId = checkpoint?.state.endOfDocumentId
    this.#saved = checkpoint && { step: checkpoint.state.step, path: checkpoint.path }
    this.#resumedFrom = checkpoint?.state
    this.#changeableCursor = setup.acceptChangedData ? this.#cursor : undefined
    const { early_stop: earlyStop, skip_spikes: spikes } = setup.training
    this.#spikes = spikes && new SpikeDetector(spikes, checkpoint?.state.spikes)
    this.#skippedInARow = checkpoint?.state.skippedInARow ?? 0
    this.#earlyStop = earlyStop && new EarlyStop(earlyStop, checkpoint?.state.earlyStop)
  }

  /** Steps taken. */
  get step(): number {
    return this.#step
  }

  /** Position from which the source must continue; undefined for its start. */
  get cursor(): SampleCursor | undefined {
    return this.#cursor
  }

  /** Whether a step failed: the engine's state is undefined then. */
  get failed(): boolean {
    return this.#failed
  }

  /**
   * Trains on a batch. The caller may reuse its memory afterwards.
   * @returns 'done' after the last step: no further batch is needed
   * @throws OPTION_INVALID, WORLD_MISMATCH, DATA_TOO_SMALL, ENGINE_FAILED
   */
  async offer(batch: SampleBatch): Promise<'more' | 'done'> {
    if (this.#summary !== undefined) {
      return 'done'
    }
    await yieldIfDue()
    if (this.#saveError !== undefined) throw this.#saveError
    this.#requireAgrees(batch)
    this.#endOfDocumentId = batch.tokenizer?.endOfDocumentId ?? this.#endOfDocumentId
    this.#documents = batch.cursor.documents ?? 'join'
    const totalSteps = this.#totalSteps ?? (await this.#begin(batch))
    if (this.#step >= totalSteps) {
      return this.#finish('completed')
    }
    if (this.#earlyStop?.isDue) return this.#finish('early-stop')
    if (this.#stops) {
      return this.#finish('stopped')
    }
    const micro = batchOfSamples(batch, this.#setup.training)
    requireFit(micro, this.#setup.model)
    this.#pending.push(micro)
    if (this.#pending.length < this.#setup.training.accumulation_steps) {
      return 'more'
    }
    await this.#logSources(micro, batch.mixture, totalSteps)
    const step = this.#startStep(batch.cursor, totalSteps)
    const pauses = step === totalSteps || this.#stops || this.#isIntervalEnd(step)
    // The limits of a step depend on the results of all steps before.
    const maxInFlight = this.#spikes === undefined ? this.#setup.engine.maxStepsInFlight : 1
    await this.#finishSteps(pauses ? 0 : maxInFlight - 1)
    if (this.#step === totalSteps) {
      return this.#finish('completed')
    }
    if (this.#stops && !this.#mustAnnounceStop) {
      return this.#finish('stopped')
    }
    if (pauses) {
      await this.#betweenSteps()
      if (this.#earlyStop?.isDue) return this.#finish('early-stop')
    }
    return 'more'
  }

  /** Ends the run early, when the batches end or the caller stops; the batches of an incomplete step are dropped. */
  async end(): Promise<TrainingSummary> {
    if (this.#summary === undefined) {
      await this.#finish(this.#stops ? 'stopped' : 'data-ended')
    }
    return this.#summary!
  }

  /** Waits for the checkpoint that is being written, if any; must precede the end of the engine. @throws FILE_UNWRITABLE, ENGINE_FAILED */
  async finishSaving(): Promise<void> {
    await this.#saving
  }

  get #stops(): boolean {
    return this.#stoppedByPeer || this.#setup.signal?.aborted === true
  }

  /** Whether a stop must still be announced to the other processes: until then this one must do all that they do. */
  get #mustAnnounceStop(): boolean {
    return !this.#stoppedByPeer && this.#setup.engine.stopTogether !== undefined
  }

  #requireAgrees(batch: SampleBatch): void {
    requireSamplesFit(batch, this.#setup.training, this.#setup.model)
    requirePackedWith(this.#setup.tokenizer, batch.tokenizer)
    const before = this.#inFlight.at(-1)?.cursor ?? this.#cursor
    if (before !== undefined) {
      requireSameData(before, batch.cursor, before === this.#changeableCursor)
    }
  }

  /** Computes the length of the run, compares the definitions of all processes and evaluates the untrained model if requested. */
  async #begin(batch: SampleBatch): Promise<number> {
    const { cursor, rows, batchesPerEpoch } = batch
    const { training, engine, model } = this.#setup
    const { mixture, ...facts } = cursor
    const { sampleCount: samples } = facts
    const batches = batchesPerEpoch ?? Math.floor(samples / rows)
    requireMixtureLength(batch, training)
    const totalSteps = stepsOf(training, model.sequence_length, { samples, batches })
    requireMixtureLasts(batch, totalSteps - this.#step, training)
    const definition = digestOfDefinition(training, model)
    const mixed = mixture && { mixture: JSON.stringify(mixture) }
    await engine.assertSameOnAllRanks({ ...facts, ...mixed, totalSteps, step: this.#step, definition })
    this.#totalSteps = totalSteps
    this.#tokensPerStep = rows * training.accumulation_steps * cursor.sequenceLength
    this.#reportScheduleJump(totalSteps)
    if (training.engine === 'torch' && training.torch.compile) this.#emit({ kind: 'compiling' })
    const message = await engine.attentionWarning?.(cursor.documents === 'mask')
    if (message !== undefined) this.#emit({ kind: 'slow-attention', message })
    if (this.#step === 0 && training.evaluation?.at_start) {
      await this.#evaluate()
    }
    return totalSteps
  }

  /** Reports a jump of the learning rate where a resumed run has another schedule, such as a longer one. */
  #reportScheduleJump(totalSteps: number): void {
    const before = this.#resumedFrom
    this.#resumedFrom = undefined
    if (before === undefined || this.#step >= totalSteps) return
    const { schedule, optimizer } = this.#setup.training
    const { training: old, cursor } = before
    const oldLength = {
      totalSteps: before.totalSteps,
      tokensPerStep: old.batch_size * old.accumulation_steps * cursor.sequenceLength,
    }
    const oldRate = learningRateAt(old.schedule, this.#step, oldLength, old.optimizer.learning_rate)
    const length = { totalSteps, tokensPerStep: this.#tokensPerStep }
    const newRate = learningRateAt(schedule, this.#step, length, optimizer.learning_rate)
    if (Math.abs(newRate - oldRate) <= MAX_SCHEDULE_JUMP * oldRate) return
    this.#emit({
      kind: 'schedule-changed',
      step: this.#step,
      previousLearningRate: oldRate,
      learningRate: newRate,
      previousTotalSteps: before.totalSteps,
      totalSteps,
    })
  }

  /** Evaluates the sources of a batch, if its step is logged. The steps in flight are taken before. */
  async #logSources(batch: TrainingBatch, mixture: SampleBatch['mixture'], totalSteps: number): Promise<void> {
    const { training, engine } = this.#setup
    const step = this.#step + this.#inFlight.length + 1
    if (mixture === undefined || !training.log_source_losses || !this.#isLogged(step, totalSteps)) return
    const startedAt = performance.now()
    const losses = await lossesBySource(engine, batch, mixture)
    this.#emit({ kind: 'source-losses', step, losses, durationMs: performance.now() - startedAt })
    this.#pace.exclude(startedAt)
  }

  #isLogged(step: number, totalSteps: number): boolean {
    return step % this.#setup.training.log_every_steps === 0 || step === totalSteps
  }

  /** Hands a step to the engine. @returns its number, from 1 */
  #startStep(cursor: SampleCursor, totalSteps: number): number {
    const { training, engine } = this.#setup
    const before = this.#step + this.#inFlight.length
    const length = { totalSteps, tokensPerStep: this.#tokensPerStep }
    const learningRate = learningRateAt(training.schedule, before, length, training.optimizer.learning_rate)
    const tokens = this.#pending.reduce((sum, batch) => sum + batch.rows, 0) * cursor.sequenceLength
    const startedAt = performance.now()
    const { lossMask } = this.#setup
    const batches = lossMask === undefined ? this.#pending : maskStep(this.#pending, lossMask)
    const limits = this.#spikes?.limits ?? (training.nonfinite === 'skip' ? FINITE_LIMITS : undefined)
    const result = engine.step(batches, learningRate, limits)
    // Awaited later: avoids an unhandled rejection until then.
    result.catch(() => {})
    this.#inFlight.push({ result, limits, cursor, learningRate, tokens, startedAt })
    this.#pending = []
    return before + 1
  }

  /** Waits until at most `left` steps are in flight, and processes the results of the others. */
  async #finishSteps(left: number): Promise<void> {
    while (this.#inFlight.length > left) {
      const step = this.#inFlight[0]!
      this.#failed = true
      const result = await step.result
      if (result.skipped) {
        this.#failed = false
        this.#stoppedByPeer = true
        this.#inFlight.shift()
        continue
      }
      this.#requireUsable(result, step.limits)
      this.#failed = false
      this.#inFlight.shift()
      this.#account(step, result)
    }
  }

  /** @throws ENGINE_FAILED for a step that must end the run, before anything of it can be saved */
  #requireUsable(result: StepResult, limits: StepLimits | undefined): void {
    if (isWithin(result, limits ?? FINITE_LIMITS)) {
      this.#skippedInARow = 0
      return
    }
    const { nonfinite, max_nonfinite_steps, skip_spikes } = this.#setup.training
    this.#skippedInARow++
    const { loss, gradientNorm } = result
    const what = `step ${this.#step + 1} has loss ${loss} and gradient norm ${gradientNorm}`
    const hasFigures = isFiniteStep(result)
    if (!hasFigures && nonfinite === 'stop') {
      throw new PenstockError('ENGINE_FAILED', `${what}: lower learning_rate, or set nonfinite to skip`)
    }
    const [max, option] = hasFigures
      ? [skip_spikes!.max_steps, 'skip_spikes.max_steps']
      : [max_nonfinite_steps, 'max_nonfinite_steps']
    if (this.#skippedInARow <= max) return
    const above = hasFigures ? `, above the limits ${limits!.loss} and ${limits!.gradientNorm}` : ''
    const message = `${what}${above}, after ${max} skipped steps in a row (${option}): lower learning_rate`
    throw new PenstockError('ENGINE_FAILED', message)
  }

  #account(step: StepInFlight, result: StepResult): void {
    this.#step++
    this.#consumedTokens += step.tokens
    this.#cursor = step.cursor
    const { loss, gradientNorm } = result
    if (this.#skippedInARow > 0) {
      const limits = isFiniteStep(result) && step.limits ? { limits: step.limits } : {}
      this.#emit({ kind: 'skipped-step', step: this.#step, loss, gradientNorm, ...limits, inARow: this.#skippedInARow })
      return
    }
    this.#spikes?.add({ loss, gradientNorm })
    const stepMs = this.#pace.add({ ...step, loss: result.loss })
    this.#loss = result.loss
    this.#reportDivergence(result.loss)
    const totalSteps = this.#totalSteps!
    if (this.#isLogged(this.#step, totalSteps)) {
      this.#log({ ...result, learningRate: step.learningRate, stepMs, totalSteps })
    }
  }

  #log(figures: StepResult & Pick<StepEvent, 'learningRate' | 'stepMs' | 'totalSteps'>): void {
    const { engine, model } = this.#setup
    const pace = this.#pace.report()
    this.#emit({
      kind: 'step',
      step: this.#step,
      ...figures,
      ...pace,
      consumedTokens: this.#consumedTokens,
      ...(engine.peakFlops && { utilization: (pace.tokensPerSecond * flopsPerToken(model)) / engine.peakFlops }),
    })
  }

  #reportDivergence(loss: number): void {
    if (!this.#divergence.divergesWith(loss)) return
    this.#emit({ kind: 'diverged', step: this.#step, loss, uniformLoss: this.#divergence.uniformLoss })
  }

  #isIntervalEnd(step: number): boolean {
    const { training, pausesAfter } = this.#setup
    const { evaluation, checkpoint } = training
    const intervals = [evaluation, checkpoint].some(
      interval => interval !== undefined && step % interval.every_steps === 0,
    )
    return intervals || pausesAfter?.(step) === true
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
    if (this.#stoppedByPeer) {
      reason = 'stopped'
    } else if (reason === 'stopped') {
      await this.#setup.engine.stopTogether?.()
    } else {
      await this.#evaluate()
    }
    await this.#save()
    await this.finishSaving()
    this.#summary = {
      reason,
      step: this.#step,
      totalSteps: this.#totalSteps,
      consumedTokens: this.#consumedTokens,
      loss: this.#loss,
      heldOutLoss: this.#heldOutLoss,
      checkpoint: this.#saved?.path,
    }
    this.#emit({ kind: 'end', ...this.#summary })
    return 'done'
  }

  async #evaluate(): Promise<void> {
    const { heldOut = [], training } = this.#setup
    if (training.evaluation === undefined || this.#evaluatedStep === this.#step) return
    for (const set of heldOut) {
      if (!(await this.#evaluateOn(set, training.evaluation))) return
    }
    this.#evaluatedStep = this.#step
  }

  /** @returns whether the evaluation was completed */
  async #evaluateOn(set: HeldOutSet, { batches }: { readonly batches: number }): Promise<boolean> {
    const { heldOut, training, engine } = this.#setup
    const startedAt = performance.now()
    const limit = { batches, rows: training.batch_size }
    const isStopped = () => this.#stops && !this.#mustAnnounceStop
    const result = await heldOutLoss(engine, set.open(this.#documents), limit, training, set.mask, isStopped)
    if (result === undefined) return false
    const { loss, tokens } = result
    const { name, bytesPerToken } = set
    if (set === heldOut?.[0]) this.#heldOutLoss = loss
    if (name === training.early_stop?.held_out) this.#earlyStop?.add(loss)
    this.#emit({
      kind: 'evaluation',
      step: this.#step,
      ...(name !== undefined && { name }),
      loss,
      tokens,
      ...(bytesPerToken !== undefined && { bitsPerByte: bitsPerByte(loss, bytesPerToken) }),
      durationMs: performance.now() - startedAt,
    })
    this.#pace.exclude(startedAt)
    return true
  }

  /** Returns when the next step may be taken. At most one checkpoint is written at a time. */
  async #save(): Promise<void> {
    await this.finishSaving()
    const { checkpoint } = this.#setup.training
    const cursor = this.#cursor
    if (checkpoint === undefined || cursor === undefined || this.#saved?.step === this.#step) return
    const startedAt = performance.now()
    await new Promise<void>((resolve, reject) => {
      this.#saving = this.#write(checkpoint, cursor, startedAt, checkpoint.async ? resolve : undefined)
      this.#saving.then(resolve, reject)
    })
    this.#pace.exclude(startedAt)
  }

  async #write(
    { folder, keep }: NonNullable<TrainingOptions['checkpoint']>,
    cursor: SampleCursor,
    startedAt: number,
    onCopied: (() => void) | undefined,
  ): Promise<void> {
    const { training, model, engine, tokenizer } = this.#setup
    const step = this.#step
    const state = {
      step,
      totalSteps: this.#totalSteps ?? step,
      consumedTokens: this.#consumedTokens,
      cursor,
      model,
      training,
      ...(tokenizer && { tokenizer }),
      ...(this.#endOfDocumentId !== undefined && { endOfDocumentId: this.#endOfDocumentId }),
      ...(this.#earlyStop?.state && { earlyStop: this.#earlyStop.state }),
      ...(this.#spikes && { spikes: this.#spikes.state }),
      ...(this.#skippedInARow > 0 && { skippedInARow: this.#skippedInARow }),
    }
    try {
      const saved = await saveCheckpoint(await localFolderOf(folder), keep, engine, state, onCopied)
      const path = engine.isPrimary ? await storeCheckpoint(folder, keep, saved) : saved
      this.#saved = { step, path }
      this.#emit({ kind: 'checkpoint', step, path, durationMs: performance.now() - startedAt })
    } catch (error) {
      this.#saveError = error
      throw error
    }
  }

  #emit(event: TrainingEvent): void {
    this.#setup.onEvent?.(event)
  }
}
