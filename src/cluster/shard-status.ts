/**
 * State of all shards of a plan, from their records alone: the same for every scheduler, and without asking one. One listing
 * per 1,000 shards, and one small read per shard that has a record.
 */
import { readdir } from 'node:fs/promises'
import { mapConcurrently } from '../files/concurrent.js'
import { describeProcess, isRunning } from '../files/process-identity.js'
import { isRetried } from './exit-codes.js'
import { readTasks, type ShardPlan, type ShardTask, shardFolder, shardName } from './plan-file.js'
import { doneRecordOf, type ErrorRecord, type RecordKind, type RunningRecord, readRecord } from './shard-record.js'

/** A heartbeat that stopped for so long belongs to a process that is gone. The clocks of machines may differ by less. */
const LOST_MS = 60_000
const SHARDS_PER_READ = 1000

/**
 * `waiting`: not started; `running`; `lost`: its process is gone; `retry`: failed, and a retry can succeed; `failed`: faulty
 * input or a wrong configuration; `done`.
 */
export type ShardState = 'waiting' | 'running' | 'lost' | 'retry' | 'failed' | 'done'

/** A shard that is neither waiting nor done. */
export interface ActiveShard {
  readonly shard: number
  readonly state: Exclude<ShardState, 'waiting' | 'done'>
  /** Process that runs it, or ran it last. */
  readonly process?: string
  /** Share of the input that has been read, 0 to 1. */
  readonly share?: number
  readonly error?: ErrorRecord
}

export interface ShardsStatus {
  readonly shards: number
  readonly counts: Readonly<Record<ShardState, number>>
  /** Of all sources, and of those processed. */
  readonly bytes: number
  readonly doneBytes: number
  readonly documents: number
  readonly tokens: number
  readonly records: number
  readonly rejected: number
  readonly filtered: number
  readonly active: readonly ActiveShard[]
  /** Until all shards are done at the current number of processes; undefined before the first is, or when none runs. */
  readonly leftMs?: number
}

/** @throws FILE_MISSING, FILE_DAMAGED for a record that cannot be read */
export async function shardsStatus(folder: string, plan: ShardPlan): Promise<ShardsStatus> {
  const counts = { waiting: 0, running: 0, lost: 0, retry: 0, failed: 0, done: 0 }
  const totals = { doneBytes: 0, documents: 0, tokens: 0, records: 0, rejected: 0, filtered: 0 }
  const active: ActiveShard[] = []
  const pace = { bytes: 0, elapsedMs: 0 }
  for await (const tasks of groups(readTasks(folder, plan))) {
    const names = new Set(await readdir(shardFolder(folder, tasks[0]!.shard)))
    await mapConcurrently(tasks, async task => {
      const has = (kind: RecordKind): boolean => names.has(`${shardName(task.shard)}.${kind}.json`)
      const done = has('done') ? await doneRecordOf(folder, plan, task) : undefined
      if (done !== undefined) {
        counts.done++
        totals.doneBytes += task.bytes
        pace.bytes += task.bytes
        pace.elapsedMs += done.elapsedMs
        totals.rejected += done.rejected
        totals.filtered += done.filtered
        // What a first pass writes is counted once, in the second one.
        if (task.documents !== undefined) return
        for (const { documents = 0, tokens = 0, records = 0 } of done.outputs) {
          totals.documents += documents
          totals.tokens += tokens
          totals.records += records
        }
        return
      }
      const running = has('running') ? await readRecord(folder, task.shard, 'running') : undefined
      const error = has('error') ? await readRecord(folder, task.shard, 'error') : undefined
      const found = activeShard(task.shard, running, error)
      counts[found?.state ?? 'waiting']++
      if (found === undefined) return
      totals.doneBytes += Math.round((found.share ?? 0) * task.bytes)
      active.push(found)
    })
  }
  active.sort((a, b) => a.shard - b.shard)
  const { bytes, shards } = plan
  const leftMs = ((bytes - totals.doneBytes) * pace.elapsedMs) / pace.bytes / counts.running
  return { shards, counts, bytes, ...totals, active, ...(Number.isFinite(leftMs) && { leftMs: Math.round(leftMs) }) }
}

function activeShard(
  shard: number,
  running: RunningRecord | undefined,
  error: ErrorRecord | undefined,
): ActiveShard | undefined {
  const failure = error === undefined ? {} : { error }
  if (running !== undefined) {
    const isGone = isRunning(running.process) === 'no' || Date.now() - running.at > LOST_MS
    const { share } = running
    return { shard, state: isGone ? 'lost' : 'running', process: describeProcess(running.process), share, ...failure }
  }
  if (error === undefined) return undefined
  return { shard, state: isRetried(error.exitCode) ? 'retry' : 'failed', ...failure }
}

async function* groups(tasks: AsyncIterable<ShardTask>): AsyncGenerator<ShardTask[]> {
  let group: ShardTask[] = []
  for await (const task of tasks) {
    group.push(task)
    if (group.length < SHARDS_PER_READ) continue
    yield group
    group = []
  }
  if (group.length > 0) yield group
}
