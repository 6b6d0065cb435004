/**
 * Summary of the complete shards among 1,000, `status.json` in their folder: the status reads it instead of their records. The
 * totals of a complete shard depend on the plan only, so a summary is valid as long as each of its shards has a record.
 */
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import * as z from 'zod'
import { changing } from '../files/durable.js'
import { replaceFileSync } from '../files/replace-file.js'
import { type ShardPlan, shardFolder, type TaskGroup } from './plan-file.js'

/** Shards that have to be complete, in addition to those of the summary, before it is written again. */
const MIN_NEW_SHARDS = 50

const totalsSchema = z.object({
  doneBytes: z.number(),
  documents: z.number(),
  tokens: z.number(),
  records: z.number(),
  rejected: z.number(),
  filtered: z.number(),
  elapsedMs: z.number(),
})
export type Totals = z.output<typeof totalsSchema>
export const NO_TOTALS: Totals = {
  doneBytes: 0,
  documents: 0,
  tokens: 0,
  records: 0,
  rejected: 0,
  filtered: 0,
  elapsedMs: 0,
}

const summarySchema = z.object({
  /** Hash of the plan and of these tasks. */
  key: z.string(),
  shards: z.array(z.number()),
  totals: totalsSchema,
})
export type Summary = z.output<typeof summarySchema>

const pathOf = (folder: string, { first }: TaskGroup): string => join(shardFolder(folder, first), 'status.json')

const keyOf = ({ stages }: ShardPlan, { text }: TaskGroup): string =>
  createHash('sha256').update(JSON.stringify(stages)).update(text).digest('hex')

/** @param isDone whether the folder has the record of a complete shard */
export async function readSummary(
  folder: string,
  plan: ShardPlan,
  group: TaskGroup,
  isDone: (shard: number) => boolean,
): Promise<Summary> {
  const key = keyOf(plan, group)
  const text = await readFile(pathOf(folder, group), 'utf8').catch(() => '')
  const found = text === '' ? undefined : summarySchema.safeParse(parsedJson(text)).data
  return found?.key === key && found.shards.every(isDone) ? found : { key, shards: [], totals: NO_TOTALS }
}

/** Writes a summary if it is worth it. A failure does not matter: the next status reads the records. */
export async function saveSummary(folder: string, group: TaskGroup, before: Summary, now: Summary): Promise<void> {
  const added = now.shards.length - before.shards.length
  if (added === 0 || (added < MIN_NEW_SHARDS && now.shards.length < group.count)) return
  const path = pathOf(folder, group)
  await changing(path, async () => replaceFileSync(path, JSON.stringify(now))).catch(() => {})
}

function parsedJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
