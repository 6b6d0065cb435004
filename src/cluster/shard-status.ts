/**
 * State of all shards of a plan, from their records alone: the same for every scheduler, and without asking one. One listing
 * and one summary per 1,000 shards, and one small read per shard that has a record and is not in the summary.
 */
import { readdir } from 'node:fs/promises'
import { mapConcurrently } from '../files/concurrent.js'
import { describeProcess, isRunning } from '../files/process-identity.js'
import { isRetried } from './exit-codes.js'
import { readGroups, type ShardPlan, type ShardTask, shardFolder, shardName } from './plan-file.js'
import {
  type DoneRecord,
  doneRecordOf,
  type ErrorRecord,
  type RecordKind,
  type RunningRecord,
  readRecord,
} from './shard-record.js'
import { NO_TOTALS, readSummary, type Summary, saveSummary, type Totals } from './status-summary.js'

/** A heartbeat that stopped for so long belongs to a process that is gone. The clocks of machines may differ by less. */
const LOST_MS = 60_000

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
  const active: ActiveShard[] = []
  let totals = NO_TOTALS
  let runningBytes = 0
  for await (const group of readGroups(folder, plan)) {
    const names = new Set(await readdir(shardFolder(folder, group.first)))
    const has = (shard: number, kind: RecordKind): boolean => names.has(`${shardName(shard)}.${kind}.json`)
    const before = await readSummary(folder, plan, group, shard => has(shard, 'done'))
    const known = new Set(before.shards)
    const added: DoneTask[] = []
    const others = known.size === group.count ? [] : group.tasks().filter(({ shard }) => !known.has(shard))
    await mapConcurrently(others, async task => {
      const { shard } = task
      const done = has(shard, 'done') ? await doneRecordOf(folder, plan, task) : undefined
      if (done !== undefined) {
        added.push({ task, done })
        return
      }
      const running = has(shard, 'running') ? await readRecord(folder, shard, 'running') : undefined
      const error = has(shard, 'error') ? await readRecord(folder, shard, 'error') : undefined
      const found = activeShard(shard, running, error)
      counts[found?.state ?? 'waiting']++
      if (found === undefined) return
      runningBytes += Math.round((found.share ?? 0) * task.bytes)
      active.push(found)
    })
    const now = withTasks(before, added)
    await saveSummary(folder, group, before, now)
    counts.done += now.shards.length
    totals = sumOf(totals, now.totals)
  }
  active.sort((a, b) => a.shard - b.shard)
  const { bytes, shards } = plan
  const { elapsedMs, ...done } = totals
  const doneBytes = done.doneBytes + runningBytes
  const leftMs = ((bytes - doneBytes) * elapsedMs) / done.doneBytes / counts.running
  return {
    shards,
    counts,
    bytes,
    ...done,
    doneBytes,
    active,
    ...(Number.isFinite(leftMs) && { leftMs: Math.round(leftMs) }),
  }
}

interface DoneTask {
  readonly task: ShardTask
  readonly done: DoneRecord
}

function withTasks({ key, shards, totals }: Summary, added: readonly DoneTask[]): Summary {
  return {
    key,
    shards: [...shards, ...added.map(({ task }) => task.shard)],
    totals: added.map(totalsOf).reduce(sumOf, totals),
  }
}

function totalsOf({ task, done }: DoneTask): Totals {
  const { rejected, filtered, elapsedMs } = done
  // What a first pass writes is counted once, in the second one.
  const outputs = task.documents === undefined ? done.outputs : []
  const sum = (name: 'documents' | 'tokens' | 'records'): number =>
    outputs.reduce((total, output) => total + (output[name] ?? 0), 0)
  return {
    doneBytes: task.bytes,
    documents: sum('documents'),
    tokens: sum('tokens'),
    records: sum('records'),
    rejected,
    filtered,
    elapsedMs,
  }
}

const sumOf = (a: Totals, b: Totals): Totals => ({
  doneBytes: a.doneBytes + b.doneBytes,
  documents: a.documents + b.documents,
  tokens: a.tokens + b.tokens,
  records: a.records + b.records,
  rejected: a.rejected + b.rejected,
  filtered: a.filtered + b.filtered,
  elapsedMs: a.elapsedMs + b.elapsedMs,
})

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
