/**
 * Record of a merge, `merged.json` in the folder of the plan: a scheduler may run the merge again after it has succeeded, and it
 * succeeds again as long as the outputs are the ones that it wrote.
 */
import { createHash } from 'node:crypto'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { changing } from '../files/durable.js'
import { replaceFileSync } from '../files/replace-file.js'
import type { ShardPlan } from './plan-file.js'

interface MergeRecord {
  /** Hash of the checksums of all parts. */
  readonly parts: string
  /** Size and time of modification of each output. */
  readonly outputs: readonly { readonly bytes: number; readonly modifiedMs: number }[]
}

const pathOf = (folder: string): string => join(folder, 'merged.json')

export const partsHash = (checksums: readonly string[]): string =>
  createHash('sha256').update(checksums.join('\n')).digest('hex')

/** Whether the outputs are those of an earlier merge of the same parts. */
export async function isMerged(folder: string, plan: ShardPlan, parts: string): Promise<boolean> {
  const text = await readFile(pathOf(folder), 'utf8').catch(() => undefined)
  if (text === undefined) return false
  const found = await facts(plan, parts).catch(() => undefined)
  return JSON.stringify(found) === text.trimEnd()
}

/** @throws FILE_UNWRITABLE */
export async function recordMerge(folder: string, plan: ShardPlan, parts: string): Promise<void> {
  const text = JSON.stringify(await facts(plan, parts))
  await changing(pathOf(folder), async () => replaceFileSync(pathOf(folder), `${text}\n`))
}

async function facts({ outputs }: ShardPlan, parts: string): Promise<MergeRecord> {
  const stats = await Promise.all(outputs.map(({ path }) => stat(path)))
  return { parts, outputs: stats.map(({ size, mtimeMs }) => ({ bytes: size, modifiedMs: Math.floor(mtimeMs) })) }
}
