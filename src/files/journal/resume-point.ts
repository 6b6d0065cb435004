/**
 * What a killed run left behind: whether it was the same work, and the newest of its records that its files bear out.
 */
import { stat } from 'node:fs/promises'
import * as z from 'zod'
import { journalPathOf, partPathOf, scratchPathOf } from '../output-file.js'
import { readJournal } from './journal-file.js'

const headerSchema = z.object({
  journal: z.literal('penstock'),
  version: z.literal(2),
  /** Beside each output of a run stands a journal with this; that of the first output has the records. */
  run: z.string(),
  work: z.record(z.string(), z.string()),
})
export type JournalHeader = z.output<typeof headerSchema>

const markSchema = z.object({
  /** Where the source goes on. */
  cursor: z.unknown(),
  inputBytes: z.number(),
  elapsedMs: z.number(),
  /** What stages noted, by their names for it. */
  facts: z.record(z.string(), z.unknown()),
  /** In the order of the outputs; null for one that existed and was kept. */
  outputs: z.array(
    z.object({ bytes: z.number(), tailBytes: z.number(), scratchBytes: z.number(), state: z.unknown() }).nullable(),
  ),
})
/** A place from which a run can go on. */
export type MarkRecord = z.output<typeof markSchema>

const doneSchema = z.object({
  /** Files that are whole, under their temporary names or already under their own, and by what to know them. */
  done: z.array(z.object({ path: z.string(), inode: z.number() })),
  /** What the run's result is. */
  result: z.unknown(),
})
/** The last record of a run: only the renaming is left. */
export type DoneRecord = z.output<typeof doneSchema>

export interface ResumePoint {
  readonly run?: string
  readonly mark?: MarkRecord
  readonly done?: DoneRecord
  /** Why what is there is of no use. */
  readonly refusal?: string
}

/** @param outputs of the run that is to start, the first output first; their locks are held */
export async function findResumePoint(
  outputs: readonly string[],
  work: Readonly<Record<string, string>>,
): Promise<ResumePoint> {
  const [first, ...records] = await readJournal(journalPathOf(outputs[0]!))
  if (first === undefined) return {}
  const header = headerSchema.safeParse(first).data
  if (header === undefined) return { refusal: 'its journal is of another version' }
  const refusal = differenceOf(header.work, work)
  if (refusal !== undefined) return { refusal }
  const { run } = header
  for (const path of outputs.slice(1)) {
    const other = await readJournal(journalPathOf(path))
    const isOurs = headerSchema.safeParse(other[0]).data?.run === run
    if (!isOurs && (await sizeOf(partPathOf(path))) >= 0) return { refusal: `another run wrote ${path} since` }
  }
  const done = doneSchema.safeParse(records.at(-1)).data
  if (done !== undefined && (await outputsComplete(done))) return { run, done }
  for (const record of records.toReversed()) {
    const mark = markSchema.safeParse(record).data
    if (mark !== undefined && (await outputsExist(outputs, mark))) return { run, mark }
  }
  return records.length > 0 ? { refusal: 'what had been written is gone' } : {}
}

/** Why one piece of work is not the other, in words; undefined for the same. */
function differenceOf(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>) {
  const part = [...Object.keys(before), ...Object.keys(now)].find(name => before[name] !== now[name])
  if (part === undefined) return undefined
  return before[part] === undefined || now[part] === undefined ? `${part} is no part of both` : `${part} changed`
}

async function outputsExist(outputs: readonly string[], mark: MarkRecord): Promise<boolean> {
  if (outputs.length !== mark.outputs.length) return false
  for (const [index, path] of outputs.entries()) {
    const { bytes, tailBytes, scratchBytes } = mark.outputs[index] ?? { bytes: -1, tailBytes: 0, scratchBytes: 0 }
    if ((await sizeOf(partPathOf(path))) < bytes + tailBytes) return false
    if (scratchBytes > 0 && (await sizeOf(scratchPathOf(path))) < scratchBytes) return false
  }
  return true
}

async function outputsComplete({ done }: DoneRecord): Promise<boolean> {
  for (const { path, inode } of done) {
    const found = [await inodeOf(partPathOf(path)), await inodeOf(path)]
    if (!found.includes(inode)) return false
  }
  return true
}

/** The files of a run that is done which have yet to get their names. */
export async function pendingRenames({ done }: DoneRecord): Promise<string[]> {
  const unnamed: string[] = []
  for (const { path, inode } of done) if ((await inodeOf(partPathOf(path))) === inode) unnamed.push(path)
  return unnamed
}

async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}

/** -1 for a file that is not there. */
async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? -1
}
