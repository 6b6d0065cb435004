/**
 * Finds the point from which a killed run can be resumed: checks that it did the same work, and returns its newest record
 * that matches its files.
 */
import type { Stats } from 'node:fs'
import { lstat } from 'node:fs/promises'
import { basename } from 'node:path'
import * as z from 'zod'
import { toPenstockError } from '../../errors.js'
import { type FileProof, proofSchema, provenInode } from '../file-proof.js'
import { outputExists } from '../output-file.js'
import type { OutputLock } from '../output-lock.js'
import { objectNameOf } from '../remote/staging.js'
import { journalPathOf, partPathOf, scratchPathOf } from '../side-files.js'
import { readJournal } from './journal-file.js'

const headerSchema = z.object({
  journal: z.literal('penstock'),
  version: z.literal(3),
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
    z
      .object({
        part: proofSchema,
        tailBytes: z.number(),
        scratch: proofSchema.optional(),
        state: z.unknown(),
      })
      .nullable(),
  ),
})
/** A point from which a run can be resumed. */
export type MarkRecord = z.output<typeof markSchema>

const doneSchema = z.object({
  /** Complete files, under their temporary or final names, with their proofs. */
  done: z.array(z.object({ path: z.string(), proof: proofSchema })),
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

/** @param locks locks of the outputs of the run that starts, in the order of its outputs */
export async function findResumePoint(
  locks: readonly OutputLock[],
  work: Readonly<Record<string, string>>,
): Promise<ResumePoint> {
  const outputs = locks.map(({ output }) => output)
  const [first, ...records] = (await readJournal(journalPathOf(outputs[0]!))).records
  if (first === undefined) return {}
  const header = headerSchema.safeParse(first).data
  if (header === undefined) return { refusal: 'its journal has a different version' }
  const refusal = differenceOf(header.work, work)
  if (refusal !== undefined) return { refusal }
  const { run } = header
  for (const path of outputs.slice(1)) {
    const other = (await readJournal(journalPathOf(path))).records[0]
    const isSameRun = headerSchema.safeParse(other).data?.run === run
    if (!isSameRun && (await statOf(partPathOf(path))) !== undefined) {
      return { refusal: `another run has written ${path} since` }
    }
  }
  const done = doneSchema.safeParse(records.at(-1)).data
  if (done !== undefined && (await outputsComplete(done))) return { run, done }
  for (const record of records.toReversed()) {
    const mark = markSchema.safeParse(record).data
    const found = mark === undefined ? undefined : await outputsAt(locks, mark)
    if (found !== undefined) return { run, mark: { ...mark!, outputs: found } }
  }
  return records.length > 0 ? { refusal: 'its temporary files are missing, replaced or too short' } : {}
}

/** The work of the interrupted run of an output; undefined without one. */
export async function journalledWork(output: string): Promise<JournalHeader['work'] | undefined> {
  const [header] = (await readJournal(journalPathOf(output))).records
  return headerSchema.safeParse(header).data?.work
}

/** First difference between two descriptions of work, as text; undefined if they are equal. */
function differenceOf(before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>) {
  const part = [...Object.keys(before), ...Object.keys(now)].find(name => before[name] !== now[name])
  if (part === undefined) return undefined
  return before[part] === undefined || now[part] === undefined
    ? `${part} exists in only one of them`
    : `${part} changed`
}

/**
 * The outputs of a mark with the inodes that their temporary files have now, which the locks then accept as created by the
 * interrupted run; undefined if a file is missing, was replaced or is too short.
 */
async function outputsAt(locks: readonly OutputLock[], mark: MarkRecord): Promise<MarkRecord['outputs'] | undefined> {
  if (locks.length !== mark.outputs.length) return undefined
  const found: MarkRecord['outputs'] = []
  for (const [index, lock] of locks.entries()) {
    const progress = mark.outputs[index]
    if (progress == null) {
      // An output that was kept then has no temporary file now, unless another run wrote one.
      if ((await statOf(partPathOf(lock.output))) !== undefined) return undefined
      found.push(null)
      continue
    }
    const { part, tailBytes, scratch } = progress
    const partNow = await provenNow(lock, partPathOf(lock.output), part, part.bytes + tailBytes)
    const scratchNow = scratch && (await provenNow(lock, scratchPathOf(lock.output), scratch, scratch.bytes))
    if (partNow === undefined || (scratch !== undefined && scratchNow === undefined)) return undefined
    found.push({ ...progress, part: partNow, scratch: scratchNow })
  }
  return found
}

async function provenNow(
  lock: OutputLock,
  path: string,
  proof: FileProof,
  bytes: number,
): Promise<FileProof | undefined> {
  const inode = await provenInode(path, proof, bytes)
  if (inode === undefined) return undefined
  lock.adopt(basename(path), inode)
  return { ...proof, inode }
}

async function outputsComplete({ done }: DoneRecord): Promise<boolean> {
  for (const { path, proof } of done) {
    const isThere = (await provenInode(partPathOf(path), proof)) ?? (await provenInode(path, proof))
    if (isThere === undefined && !(await isUploaded(path))) return false
  }
  return true
}

/** Files of a completed run that have not been renamed yet. */
export async function pendingRenames({ done }: DoneRecord): Promise<DoneRecord['done']> {
  const pending: DoneRecord['done'] = []
  for (const file of done) {
    if ((await provenInode(partPathOf(file.path), file.proof)) !== undefined) pending.push(file)
  }
  return pending
}

/** @throws FILE_UNREADABLE for anything but a missing file */
async function statOf(path: string): Promise<Stats | undefined> {
  return lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
}

/** Whether an output without temporary file is an object that was published. */
async function isUploaded(path: string): Promise<boolean> {
  const object = objectNameOf(path)
  return object !== undefined && (await outputExists(object))
}
