/**
 * Builds a checked pipeline and runs it to completion. There is a single error path, every stream is closed before the
 * promise settles, and record counts are verified before any output is renamed to its final name.
 */
import type { Readable, Writable } from 'node:stream'
import { type ErrorCode, PenstockError, toPenstockError } from '../errors.js'
import type { RunJournal } from '../files/journal/run-journal.js'
import { locateSources, sourceSize } from '../files/source-list.js'
import type { SourceReading } from '../files/sources/source-record.js'
import type { AnyStage, StageStats } from '../stages/stream/stage.js'
import { StageJournal } from '../stages/stream/stage-journal.js'
import { allSteps, type CheckedChain, type CheckedPipeline, type CheckedStep } from './check.js'
import { fuse, namesRunBy } from './fuse.js'
import { inputBytesOf, openRunJournal, pinJournalledCommits, type ResumeEvent } from './resume.js'
import { fork, merge } from './wiring.js'

export interface StageReport {
  /** Name of the stage; fused stages are joined by +. */
  readonly name: string
  readonly stats: StageStats
}

/** Progress of a run. The stats are live objects: they change after the call. */
export interface RunProgress {
  readonly pipeline: string
  readonly stages: readonly StageReport[]
  /** Share of the input that has been read, 0 to 1; undefined if the size of the input is unknown. */
  readonly inputShare: number | undefined
  readonly elapsedMs: number
}

export interface PipelineResult {
  readonly pipeline: string
  readonly stages: readonly StageReport[]
  readonly elapsedMs: number
}

export interface RunOptions {
  /** Receives the reports of the stages when the run begins; their stats are live, and remain after a failure. */
  readonly onStart?: (stages: readonly StageReport[]) => void
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
  if (options.resume !== false) await pinJournalledCommits(pipeline.chain)
  await locateInputs(pipeline)
  const chain = options.fuse === false ? pipeline.chain : fuse(pipeline.chain)
  const journal = await openRunJournal(pipeline.chain, chain, options)
  if (journal === undefined) return runChain(pipeline, chain, options, undefined)
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
    const result = await runChain(pipeline, chain, options, journal)
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

/** Looks up the remote sources of a pipeline. @throws FILE_MISSING, FILE_UNREADABLE */
export async function locateInputs({ chain }: Pick<CheckedPipeline, 'chain'>): Promise<void> {
  await locateSources([...sourcesOf({ chain }), ...recordedSourcesOf({ chain })])
}

const sourcesOf = ({ chain }: Pick<CheckedPipeline, 'chain'>): string[] =>
  allSteps(chain).flatMap(({ entry, options }) => entry.reads?.(options) ?? [])

/** The files that manifests of its outputs name. */
const recordedSourcesOf = ({ chain }: Pick<CheckedPipeline, 'chain'>): string[] =>
  allSteps(chain).flatMap(({ entry, options }) => (entry.records ?? entry.reads)?.(options) ?? [])

const readingOf = ({ chain }: Pick<CheckedPipeline, 'chain'>): SourceReading =>
  Object.assign({}, ...allSteps(chain).map(({ entry, options }) => entry.reading?.(options)))

/** Errors not caused by the input or the options: the same command may succeed later. */
const RESUMABLE_ERRORS: readonly ErrorCode[] = [
  'STOPPED',
  'FILE_UNWRITABLE',
  'WORKER_FAILED',
  'WORKER_DIED',
  'WORKER_HUNG',
]

async function runChain(
  pipeline: CheckedPipeline,
  chain: CheckedChain,
  options: RunOptions,
  journal: RunJournal | undefined,
): Promise<PipelineResult> {
  const started = performance.now()
  const built = buildChain(chain)
  const all = stagesOf(built)
  const stages = all.map(({ stage }) => stage)
  const sources = recordedSourcesOf(pipeline)
  const reading = readingOf(pipeline)
  for (const stage of stages) stage.nameSources(sources, reading)
  if (journal !== undefined) {
    for (const [index, stage] of stages.entries()) stage.keepJournal(new StageJournal(journal, `${index}`))
  }
  connect(built)
  for (const stage of stages) stage.on('report', (event: unknown) => options.onReport?.(stage.stageName, event))
  const reports = all
    .map(({ stage, step }) => ({ name: namesRunBy(step).join('+'), stats: stage.stats }))
    .filter(({ name }) => name !== '')
  options.onStart?.(reports)
  const inputShare = inputMeter(all.filter(({ isSource }) => isSource))
  const progress = (): RunProgress => ({
    pipeline: pipeline.name,
    stages: reports,
    inputShare: inputShare(),
    elapsedMs: journal?.elapsedMs ?? performance.now() - started,
  })
  const timer = setInterval(() => options.onProgress?.(progress()), options.progressIntervalMs ?? 200)
  try {
    await completion(stages, options.signal)
  } finally {
    clearInterval(timer)
  }
  for (const stage of stages) checkTotals(stage)
  const { inputShare: _, ...result } = progress()
  options.onProgress?.({ ...result, inputShare: 1 })
  return result
}

/**
 * Measures the share of the input that has been read. A merge starts its sources one after the other, so until a source
 * knows its size, that of its files is used.
 */
function inputMeter(sources: readonly BuiltStage[]): () => number | undefined {
  const sizes = sources.length < 2 ? [] : sources.map(({ step }) => sizeOfFiles(step))
  return () => {
    let [read, total] = [0, 0]
    for (const [index, { stage }] of sources.entries()) {
      const { state, bytesOut, counts } = stage.stats
      const size = counts.totalBytes ?? sizes[index]
      if (size === undefined) return undefined
      total += size
      read += state === 'ended' ? size : Math.min(size, counts.readBytes ?? bytesOut)
    }
    return total === 0 ? undefined : read / total
  }
}

/** Undefined if one of them is not a regular file. */
function sizeOfFiles({ entry, options }: CheckedStep): number | undefined {
  let total = 0
  for (const path of entry.reads?.(options) ?? []) {
    const size = sourceSize(path)
    if (size === undefined) return undefined
    total += size
  }
  return total
}

interface BuiltStage {
  readonly stage: AnyStage
  /** The step that the stage runs, which may replace several of the definition. */
  readonly step: CheckedStep
  /** Whether it starts a chain, so that the bytes that it emits are the input of the run. */
  readonly isSource: boolean
}

/** A chain whose stages are created but not connected. */
interface BuiltChain {
  readonly inputs: readonly BuiltChain[]
  readonly stages: readonly BuiltStage[]
  readonly branches: readonly BuiltChain[]
}

/** @param from undefined unless the chain is a branch of a fork */
function buildChain(chain: CheckedChain, from?: 'fork'): BuiltChain {
  return {
    inputs: chain.merge.map(input => buildChain(input)),
    stages: chain.steps.map((step, index) => ({
      stage: createStage(step),
      step,
      isSource: index === 0 && chain.merge.length === 0 && from === undefined,
    })),
    branches: chain.fork.map(branch => buildChain(branch, 'fork')),
  }
}

/** All stages of a chain, in the order in which a run reports them. */
function stagesOf({ inputs, stages, branches }: BuiltChain): BuiltStage[] {
  return [...inputs.flatMap(stagesOf), ...stages, ...branches.flatMap(stagesOf)]
}

/** Connects the streams of a chain. @returns the one at its end, if it does not end in a fork */
function connect({ inputs, stages, branches }: BuiltChain): Readable {
  let last: Readable | undefined
  if (inputs.length > 0) {
    last = merge(
      inputs.map(input => ({ stages: stagesOf(input).map(({ stage }) => stage), start: () => connect(input) })),
    )
  }
  for (const { stage } of stages) {
    last?.pipe(stage as Writable)
    last = stage as Readable
  }
  if (branches.length > 0) fork(last!, branches.flatMap(firstStages))
  for (const branch of branches) connect(branch)
  return last!
}

/** The stages that receive the input of a branch. */
function firstStages({ stages, branches }: BuiltChain): Writable[] {
  return stages.length > 0 ? [stages[0]!.stage as Writable] : branches.flatMap(firstStages)
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

/**
 * Every record must be delivered, rejected or filtered; anything else is a defect and fails the run. A stage that was
 * stopped by a later one may drop the records in flight.
 */
function checkTotals({ stageName, stats, isStopped }: AnyStage): void {
  const { recordsIn, recordsOut, rejected, recounts } = stats
  if (recounts || isStopped()) return
  const filtered = stats.counts.filtered ?? 0
  const missing = recordsIn - recordsOut - rejected - filtered
  if (recordsIn === 0 || recordsOut === 0 || missing === 0) return
  throw new PenstockError(
    'TOTALS_MISMATCH',
    `${recordsIn} records in, ${recordsOut} delivered, ${rejected} rejected, ${filtered} filtered: ${missing} missing`,
    { stage: stageName },
  )
}
