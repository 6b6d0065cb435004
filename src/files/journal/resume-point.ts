/**
 * Finds the point from which a killed run can be resumed: checks that it did the same work, and returns its newest record
 * that matches its files.
 */
import { stat } from 'node:fs/promises'
import * as z from 'zod'
import { journalPathOf, partPathOf, scratchPathOf } from '../output-file.js'
import { readJournal } from './journal-file.js'

const headerSchema = z.object({
  journal: z.literal('penstock'),
  version: z.literal(2),
  /** Run id: each output of the run has a journal with it; the journal of the first output has the records. */
  run: z.string(),
  work: z.record(z.string(), z.string()),
})
export type JournalHeader = z.output<typeof headerSchema>

const markSchema = z.object({
  /** Position from which the source continues. */
  cursor: z.unknown(),
  inputBytes: z.number(),
  elapsedMs: z.number(),
  /** Facts recorded by the stages, by name. */
  facts: z.record(z.string(), z.unknown()),
  /** Progress in the order of the outputs; null for an existing output that is kept. */
  outputs: z.array(
    z.object({ bytes: z.number(), tailBytes: z.number(), scratchBytes: z.number(), state: z.unknown() }).nullable(),
  ),
})
/** A point from which a run can be resumed. */
export type MarkRecord = z.output<typeof markSchema>

const doneSchema = z.object({
  /** Complete files, under their temporary or final names, identified by inode. */
  done: z.array(z.object({ path: z.string(), inode: z.number() })),
  /** Result of the run. */
  result: z.unknown(),
})
/** Last record of a run, after which only the renames remain. */
export type DoneRecord = z.output<typeof doneSchema>

export interface ResumePoint {
  readonly run?: string
  readonly mark?: MarkRecord
  readonly done?: DoneRecord
  /** Why the interrupted run cannot be resumed. */
  readonly refusal?: string
}

/** @param outputs outputs of the run that starts, in its order; their locks are held */
export async function findResumePoint(
  outputs: readonly string[],
  work: Readonly<Record<string, string>>,
): Promise<ResumePoint> {
  const [first, ...records] = await readJournal(journalPathOf(outputs[0]!))
  if (first === undefined) return {}
  const header = headerSchema.safeParse(first).data
  if (header === undefined) return { refusal: 'its journal has a different version' }
  const refusal = differenceOf(header.work, work)
  if (refusal !== undefined) return { refusal }
  const { run } = header
  for (const path of outputs.slice(1)) {
    const other = await readJournal(journalPathOf(path))
    const isSameRun = headerSchema.safeParse(other[0]).data?.run === run
    if (!isSameRun && (await sizeOf(partPathOf(path))) >= 0) return { refusal: `another run has written ${path} since` }
  }
  const done = doneSchema.safeParse(records.at(-1)).data
  if (done !== undefined && (await outputsComplete(done))) return { run, done }
  for (const record of records.toReversed()) {
    const mark = markSchema.safeParse(record).data
    if (mark !== undefined && (await outputsExist(outputs, mark))) return { run, mark }
  }
  return records.length > 0 ? { refusal: 'its temporary files are missing or too short' } : {}
}

/** First difference between two descriptions of work, as text; undefined if they are equal. */
function differenceOf(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>) {
  const part = [...Object.keys(before), ...Object.keys(now)].find(name => before[name] !== now[name])
  if (part === undefined) return undefined
  return before[part] === undefined || now[part] === undefined
    ? `${part} exists in only one of them`
    : `${part} changed`
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

/** Files of a completed run that have not been renamed yet. */
export async function pendingRenames({ done }: DoneRecord): Promise<string[]> {
  const pending: string[] = []
  for (const { path, inode } of done) if ((await inodeOf(partPathOf(path))) === inode) pending.push(path)
  return pending
}

async function inodeOf(path: string): Promise<number | undefined> {
  return (await stat(path).catch(() => undefined))?.ino
}

/** -1 for a missing file. */
async function sizeOf(path: string): Promise<number> {
  return (await stat(path).catch(() => undefined))?.size ?? -1
}
