/**
 * Builds a checked pipeline and runs it to completion. There is a single error path, every stream is closed before the
 * promise settles, and record counts are verified before any output is renamed to its final name.
 */
import type { Readable, Writable } from 'node:stream'
import { type ErrorCode, PenstockError, toPenstockError } from '../errors.js'
import type { RunJournal } from '../files/journal/run-journal.js'
import type { AnyStage, StageStats } from '../stages/stream/stage.js'
import { StageJournal } from '../stages/stream/stage-journal.js'
import type { CheckedChain, CheckedPipeline, CheckedStep } from './check.js'
import { fuse, namesRunBy } from './fuse.js'
import { inputBytesOf, openRunJournal, type ResumeEvent } from './resume.js'
import { join } from './wiring.js'

export interface StageReport {
  /** Name of the stage; fused stages are joined by +. */
  readonly name: string
  readonly stats: StageStats
}

/** Progress of a run. The stats are live objects: they change after the call. */
export interface RunProgress {
  readonly pipeline: string
  readonly stages: readonly StageReport[]
  readonly elapsedMs: number
}

export interface PipelineResult {
  readonly pipeline: string
  readonly stages: readonly StageReport[]
  readonly elapsedMs: number
}

export interface RunOptions {
  readonly onProgress?: (progress: RunProgress) => void
  readonly progressIntervalMs?: number
  /** Events of stages other than counts, such as training steps. */
  readonly onReport?: (stage: string, event: unknown) => void
  /** Fuse consecutive stages where that is faster; the output is byte-identical. Default true. */
  readonly fuse?: boolean
  /** Aborting stops the run with STOPPED; no output gets its final name. */
  readonly signal?: AbortSignal
  /**
   * Resume an interrupted run of the same work; false starts over. Default true. Some pipelines cannot resume:
   * docs/reliability.md.
   */
  readonly resume?: boolean
  readonly onResume?: (event: ResumeEvent) => void
  /** Bytes of input between two points at which a killed run can resume. */
  readonly markBytes?: number
}

/** @throws the error of a stage; STOPPED after an abort; TOTALS_MISMATCH when records were lost */
export async function runPipeline(pipeline: CheckedPipeline, options: RunOptions = {}): Promise<PipelineResult> {
  const chain = options.fuse === false ? pipeline.chain : fuse(pipeline.chain)
  const journal = await openRunJournal(pipeline.chain, chain, options)
  if (journal === undefined) return runChain(pipeline.name, chain, options, undefined)
  const report = async (kind: 'continued' | 'kept'): Promise<void> =>
    options.onResume?.({ kind, inputBytes: journal.recordedBytes, totalBytes: await inputBytesOf(pipeline.chain) })
  const { done, mark, refusal } = journal.resumePoint
  try {
    if (refusal !== undefined) options.onResume?.({ kind: 'anew', reason: refusal })
    if (mark !== undefined) await report('continued')
    if (done !== undefined) {
      await journal.finish(done)
      options.onResume?.({ kind: 'finished' })
      return done.result as PipelineResult
    }
    const result = await runChain(pipeline.name, chain, options, journal)
    await journal.commit(result)
    return result
  } catch (error) {
    const keep = error instanceof PenstockError && RESUMABLE_ERRORS.includes(error.code)
    // An error during cleanup must not hide the original error.
    const end = await journal.end(keep).catch(() => undefined)
    if (end === 'kept') await report('kept')
    throw error
  }
}

/** Errors not caused by the input or the options: the same command may succeed later. */
const RESUMABLE_ERRORS: readonly ErrorCode[] = [
  'STOPPED',
  'FILE_UNWRITABLE',
  'WORKER_FAILED',
  'WORKER_DIED',
  'WORKER_HUNG',
]

async function runChain(
  pipeline: string,
  chain: CheckedChain,
  options: RunOptions,
  journal: RunJournal | undefined,
): Promise<PipelineResult> {
  const started = performance.now()
  const built: BuiltStage[] = []
  buildChain(chain, built, journal)
  const stages = built.map(({ stage }) => stage)
  for (const stage of stages) stage.on('report', (event: unknown) => options.onReport?.(stage.stageName, event))
  const reports = built
    .filter(({ names }) => names.length > 0)
    .map(({ stage, names }) => ({ name: names.join('+'), stats: stage.stats }))
  const progress = (): RunProgress => ({
    pipeline,
    stages: reports,
    elapsedMs: journal?.elapsedMs ?? performance.now() - started,
  })
  const timer = setInterval(() => options.onProgress?.(progress()), options.progressIntervalMs ?? 200)
  try {
    await completion(stages, options.signal)
  } finally {
    clearInterval(timer)
  }
  for (const stage of stages) checkTotals(stage)
  const result = progress()
  options.onProgress?.(result)
  return result
}

interface BuiltStage {
  readonly stage: AnyStage
  /** The steps of the definition that the stage runs. */
  readonly names: readonly string[]
}

/** Creates and connects the streams of a chain; returns those of its first and last stages. */
function buildChain(
  chain: CheckedChain,
  stages: BuiltStage[],
  journal: RunJournal | undefined,
): { first: Writable | undefined; last: Readable[] } {
  const incoming = chain.merge.flatMap(branch => buildChain(branch, stages, journal).last)
  const built = chain.steps.map(step => {
    const stage = createStage(step)
    if (journal !== undefined) stage.keepJournal(new StageJournal(journal, `${stages.length}`))
    stages.push({ stage, names: namesRunBy(step) })
    return stage
  })
  if (incoming.length > 0) join(incoming, [built[0] as Writable])
  for (let index = 1; index < built.length; index++) join([built[index - 1] as Readable], [built[index] as Writable])
  const branches = chain.fork.map(branch => buildChain(branch, stages, journal).first!)
  if (branches.length > 0) join([built.at(-1) as Readable], branches)
  return { first: built[0] as Writable | undefined, last: branches.length > 0 ? [] : [built.at(-1) as Readable] }
}

function createStage({ name, entry, options }: CheckedStep): AnyStage {
  try {
    return entry.create(options)
  } catch (error) {
    throw toPenstockError(error, 'OPTION_INVALID', { stage: name })
  }
}

/** Resolves when every stream is closed. The first error destroys all streams and is thrown once they are closed. */
async function completion(stages: readonly AnyStage[], signal: AbortSignal | undefined): Promise<void> {
  let failure: PenstockError | undefined
  const fail = (error: unknown, stage?: string): void => {
    failure ??= toPenstockError(error, 'INTERNAL', stage === undefined ? {} : { stage })
    for (const stream of stages) stream.destroy(failure)
  }
  const onAbort = (): void => fail(new PenstockError('STOPPED', 'stopped before completion'))
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    await Promise.all(
      stages.map(
        stream =>
          new Promise<void>(resolve => {
            stream.on('error', (error: unknown) => fail(error, stream.stageName))
            stream.once('close', resolve)
          }),
      ),
    )
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
  if (failure !== undefined) throw failure
}

/** Every record must be delivered, rejected or filtered; anything else is a defect and fails the run. */
function checkTotals({ stageName, stats }: AnyStage): void {
  const { recordsIn, recordsOut, rejected, recounts } = stats
  if (recounts) return
  const filtered = stats.counts.filtered ?? 0
  const missing = recordsIn - recordsOut - rejected - filtered
  if (recordsIn === 0 || recordsOut === 0 || missing === 0) return
  throw new PenstockError(
    'TOTALS_MISMATCH',
    `${recordsIn} records in, ${recordsOut} delivered, ${rejected} rejected, ${filtered} filtered: ${missing} missing`,
    { stage: stageName },
  )
}
