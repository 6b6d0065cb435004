/**
 * Runs one shard. Any number of processes may run the same shard, one after the other or at once: the lock of the output
 * lets one of them write, the others wait for its result, and the next one resumes from the journal of one that was killed.
 * The bytes are the same whichever process writes them.
 */
import { hostname } from 'node:os'
import { type ErrorCode, PenstockError } from '../errors.js'
import { removeFile } from '../files/durable.js'
import { readIndexManifest, readPackedManifest } from '../files/manifest.js'
import { openPackedFile } from '../files/packed-file.js'
import { ownIdentity } from '../files/process-identity.js'
import { sourceSize } from '../files/source-list.js'
import { recordSources, type SourceRecord } from '../files/sources/source-record.js'
import { locateInputs, type RunOptions, runPipeline, type StageReport } from '../pipelines/run.js'
import { shardExitCode } from './exit-codes.js'
import { readPart } from './part-checksum.js'
import {
  outputEnding,
  readTask,
  type ShardOutput,
  type ShardPlan,
  type ShardTask,
  shardPath,
  taskHash,
} from './plan-file.js'
import { shardPipeline } from './shard-pipeline.js'
import {
  checksumOf,
  type DoneRecord,
  doneRecordOf,
  type OutputRecord,
  recordPath,
  writeRecord,
} from './shard-record.js'
import { type VerifyFile, type VerifyOptions, verifyOptionsOf, verifyShard } from './verify-shard.js'

const HEARTBEAT_MS = 5000
/** Longer than the lock of a machine that died is respected. */
const LOCK_WAIT_MS = 60_000
const LOCK_POLL_MS = 1000

export interface ShardRunOptions extends Pick<RunOptions, 'signal' | 'onProgress' | 'onResume'> {
  /** Needed for plans of `verify`. */
  readonly verify?: VerifyFile
  readonly heartbeatMs?: number
  readonly lockWaitMs?: number
}

export type ShardOutcome =
  | { readonly kind: 'done'; readonly record: DoneRecord }
  /** Complete before this call. */
  | { readonly kind: 'kept'; readonly record: DoneRecord }

/**
 * Runs a shard unless it is complete, and records its result or its error.
 * @throws the errors of the pipeline; FILE_CHANGED for a source of another size than planned; FILE_LOCKED while another
 * process keeps writing the outputs
 */
export async function runShard(
  folder: string,
  plan: ShardPlan,
  shard: number,
  options: ShardRunOptions = {},
): Promise<ShardOutcome> {
  const task = await readTask(folder, plan, shard)
  const { lockWaitMs = LOCK_WAIT_MS } = options
  for (const started = Date.now(); ; ) {
    const kept = await doneRecordOf(folder, plan, task)
    if (kept !== undefined) return { kind: 'kept', record: kept }
    try {
      const record = await runTask(folder, plan, task, options)
      return { kind: 'done', record }
    } catch (error) {
      const isLocked = error instanceof PenstockError && error.code === 'FILE_LOCKED'
      if (isLocked && Date.now() - started < lockWaitMs && options.signal?.aborted !== true) {
        await new Promise(resolve => setTimeout(resolve, LOCK_POLL_MS))
        continue
      }
      if (!isLocked) await recordError(folder, shard, error)
      throw error
    }
  }
}

async function runTask(
  folder: string,
  plan: ShardPlan,
  task: ShardTask,
  { heartbeatMs = HEARTBEAT_MS, ...options }: ShardRunOptions,
): Promise<DoneRecord> {
  const { shard } = task
  let share = 0
  const beat = (): Promise<void> =>
    writeRecord(folder, shard, 'running', { process: ownIdentity(), share, at: Date.now() }).catch(() => {})
  const onShare = (newShare: number): void => {
    share = newShare
  }
  const started = performance.now()
  const verification = verifyOptionsOf(plan)
  await beat()
  const timer = setInterval(() => void beat(), heartbeatMs)
  try {
    const result =
      verification === undefined
        ? await runPipelineOf(folder, plan, task, options, onShare)
        : await verifyFiles(task, verification, options, onShare)
    const record: DoneRecord = {
      version: 1,
      shard,
      task: taskHash(plan, task),
      ...result,
      host: hostname(),
      elapsedMs: Math.round(performance.now() - started),
    }
    await writeRecord(folder, shard, 'done', record)
    await removeFile(recordPath(folder, shard, 'error'))
    return record
  } finally {
    clearInterval(timer)
    await removeFile(recordPath(folder, shard, 'running')).catch(() => {})
  }
}

type TaskResult = Pick<DoneRecord, 'inputs' | 'outputs' | 'files' | 'rejected' | 'filtered'>

async function verifyFiles(
  task: ShardTask,
  verification: VerifyOptions,
  { verify, signal }: ShardRunOptions,
  onShare: (share: number) => void,
): Promise<TaskResult> {
  if (verify === undefined) throw new PenstockError('ARGUMENT_INVALID', 'expected a function that verifies a file')
  checkSources(task)
  const files = await verifyShard(task, verify, verification, onShare, signal)
  return { outputs: [], files, rejected: 0, filtered: 0 }
}

async function runPipelineOf(
  folder: string,
  plan: ShardPlan,
  task: ShardTask,
  { signal, onProgress, onResume }: ShardRunOptions,
  onShare: (share: number) => void,
): Promise<TaskResult> {
  const pipeline = await shardPipeline(folder, plan, task)
  await locateInputs(pipeline)
  checkSources(task)
  let stages: readonly StageReport[] = []
  const runOptions: RunOptions = {
    ...(signal === undefined ? {} : { signal }),
    ...(onResume === undefined ? {} : { onResume }),
    onStart: reports => {
      stages = reports
    },
    onProgress: progress => {
      onShare(progress.inputShare ?? 0)
      onProgress?.(progress)
    },
  }
  const isEmpty = await runPipeline(pipeline, runOptions).then(result => {
    // A run that was complete but for its renames has only the result.
    stages = result.stages
    return false
  }, withoutDocuments)
  const found = isEmpty
    ? []
    : await Promise.all(plan.outputs.map(output => outputOf(folder, task.shard, output, stages)))
  // Indexes and counts of words do not record their sources.
  const recorded = found.find(({ sources }) => sources !== undefined)?.sources
  const inputs = recorded ?? (await recordSources(task.sources.map(({ path }) => path)))
  return {
    ...(inputs === undefined ? {} : { inputs }),
    outputs: found.map(({ record }) => record),
    rejected: totalOf(stages, ({ rejected }) => rejected),
    filtered: totalOf(stages, ({ counts }) => counts.filtered ?? 0),
  }
}

/** A shard may have no documents although the corpus has some. @throws any other error */
function withoutDocuments(error: unknown): true {
  if (error instanceof PenstockError && error.code === 'DATA_TOO_SMALL') return true
  throw error
}

/** @throws FILE_CHANGED for a file of another size than planned; a missing one is reported by the stage that reads it */
function checkSources({ sources }: ShardTask): void {
  for (const { path, bytes } of sources) {
    const found = sourceSize(path)
    if (found === undefined || found === bytes) continue
    const message = `the file had ${bytes} bytes when the shards were planned, and has ${found} now: plan them again`
    throw new PenstockError('FILE_CHANGED', message, { file: path })
  }
}

async function outputOf(
  folder: string,
  shard: number,
  output: ShardOutput,
  stages: readonly StageReport[],
): Promise<{ readonly record: OutputRecord; readonly sources?: SourceRecord | undefined }> {
  const path = shardPath(folder, shard, outputEnding(output))
  // Counts of words have no manifest.
  if (output.stage === 'train-tokenizer')
    return { record: { ...(await readPart(path, output)), words: totalOf(stages, ({ counts }) => counts.words ?? 0) } }
  if (output.stage === 'write-index') {
    const bytes = sourceSize(path) ?? 0
    const manifest = await readIndexManifest(path, bytes)
    if (manifest === undefined) throw withoutManifest(path)
    return { record: { bytes, checksum: checksumOf(manifest.checksums), records: manifest.records } }
  }
  const file = await openPackedFile(path)
  try {
    const manifest = await readPackedManifest(path, file.header)
    if (manifest === undefined) throw withoutManifest(path)
    const { checksums, documents, tokens, sources } = manifest
    return { record: { bytes: file.fileBytes, checksum: checksumOf(checksums), documents, tokens }, sources }
  } finally {
    await file.close()
  }
}

const withoutManifest = (file: string): PenstockError =>
  new PenstockError('FILE_MISSING', 'the output of the shard has lost its manifest', { file })

function totalOf(stages: readonly StageReport[], amount: (stats: StageReport['stats']) => number): number {
  return stages.reduce((sum, { stats }) => sum + amount(stats), 0)
}

/** Never hides the error itself: the folder may be what failed. */
async function recordError(folder: string, shard: number, error: unknown): Promise<void> {
  const code: ErrorCode = error instanceof PenstockError ? error.code : 'INTERNAL'
  const message = error instanceof PenstockError ? error.toLine() : String(error)
  const at = new Date().toISOString()
  const record = { exitCode: shardExitCode(error), code, message, host: hostname(), at }
  await writeRecord(folder, shard, 'error', record).catch(() => {})
}
