/**
 * What lets a run go on after it was killed, with the bytes of an undisturbed one. Every few MiB of input a mark travels
 * down the stages behind a batch. Each stage notes on it how far it had come; each output reports when all before the
 * mark is durable. Of a mark that every output has reached a record goes to the journal beside the first output. The
 * next run of the same work cuts the outputs back to the newest record and goes on from there.
 *
 * The outputs of a run get their names together, when its totals were found right: a last record says that all are
 * whole, so that of a run killed between two renames only these are left to do.
 */
import { randomUUID } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { PenstockError } from '../../errors.js'
import type { Mark, OutputProgress } from '../../formats/batches.js'
import {
  forgetJournals,
  type IfExists,
  isToBeKept,
  journalPathOf,
  type OutputReservation,
  type OutputReservations,
  partPathOf,
  publish,
  removeTemporary,
  syncFoldersOf,
} from '../output-file.js'
import { lockOutput, unlockOutput } from '../output-lock.js'
import { JournalFile } from './journal-file.js'
import {
  type DoneRecord,
  findResumePoint,
  type JournalHeader,
  type MarkRecord,
  pendingRenames,
  type ResumePoint,
} from './resume-point.js'

/** Input between two marks. */
const MARK_BYTES = 12 << 20
/** Input beyond the newest record of which work may begin: a kill costs no more. Several times that between two marks. */
const MAX_UNRECORDED_BYTES = 64 << 20

export interface RunOutput {
  readonly path: string
  readonly ifExists: IfExists
}

export interface RunJournalOptions {
  /** What the run writes; the first one's journal has the records. */
  readonly outputs: readonly RunOutput[]
  /** What makes work the same work, part by part. */
  readonly work: Readonly<Record<string, string>>
  /** Start anew whatever is there. */
  readonly fresh?: boolean | undefined
  readonly markBytes?: number | undefined
}

/** Holds the locks of all outputs until `commit` or `end`. */
export class RunJournal implements OutputReservations {
  /** What a killed run left, which this one goes on from. */
  readonly left: ResumePoint
  /** Input that is on record. */
  recordedBytes: number
  private readonly paths: readonly string[]
  private readonly kept: ReadonlySet<string>
  private readonly file: JournalFile
  private readonly markBytes: number
  private readonly startedAt = performance.now()
  /** Files whose lock is held: the outputs, and what is written beside them. */
  private readonly locked: Set<string>
  private readonly committed: string[] = []
  private isDone = false
  private marks = 0
  private readBytes: number
  private markedBytes: number
  private readonly waiting: { readonly inputBytes: number; readonly begin: () => void }[] = []

  private constructor(options: RunJournalOptions, kept: ReadonlySet<string>, left: ResumePoint, file: JournalFile) {
    this.left = left
    this.paths = options.outputs.map(({ path }) => path)
    this.kept = kept
    this.file = file
    this.markBytes = options.markBytes ?? MARK_BYTES
    this.locked = new Set(this.paths)
    this.recordedBytes = left.mark?.inputBytes ?? 0
    this.readBytes = this.recordedBytes
    this.markedBytes = this.recordedBytes
  }

  /** @throws FILE_LOCKED, FILE_EXISTS, FILE_UNWRITABLE */
  static async open(options: RunJournalOptions): Promise<RunJournal> {
    const paths = options.outputs.map(({ path }) => path)
    const locked: string[] = []
    try {
      // In one order, so that of two runs that start at once one gets them all.
      for (const path of paths.toSorted()) {
        await lockOutput(path)
        locked.push(path)
      }
      let left: ResumePoint = options.fresh ? {} : await findResumePoint(paths, options.work)
      const kept = left.done === undefined ? await keptOf(options.outputs) : new Set<string>()
      const isOther = left.mark?.outputs.some((progress, index) => (progress === null) !== kept.has(paths[index]!))
      if (isOther) left = { refusal: 'other outputs exist now' }
      return new RunJournal(options, kept, left, await openFile(paths, options.work, left))
    } catch (error) {
      for (const path of locked) await unlockOutput(path)
      throw error
    }
  }

  /** Milliseconds since the start, those of the runs that this one goes on from included. */
  get elapsedMs(): number {
    return (this.left.mark?.elapsedMs ?? 0) + performance.now() - this.startedAt
  }

  async reserve(path: string, ifExists: IfExists): Promise<OutputReservation | undefined> {
    const index = this.paths.indexOf(path)
    if (index < 0 && (await isToBeKept(path, ifExists))) return undefined
    if (this.kept.has(path)) return undefined
    if (!this.locked.has(path)) {
      await lockOutput(path)
      this.locked.add(path)
    }
    return {
      resume: this.left.mark?.outputs[index] ?? undefined,
      commit: async () => void this.committed.push(path),
      // What becomes of it is decided for all of them, at the end of the run.
      abort: async () => {},
    }
  }

  /** Told of each batch of the source, in their order; a mark when it is time for one. */
  markAfter(byteLength: number, cursor: () => unknown): Mark | undefined {
    this.readBytes += byteLength
    if (this.readBytes - this.markedBytes < this.markBytes) return undefined
    this.markedBytes = this.readBytes
    return this.newMark(this.readBytes, cursor())
  }

  /**
   * For the stage that reads, before it has work begun.
   * @param inputBytes where its input ends
   * @returns what to wait for, perhaps for ever when the run fails; undefined when the work may begin
   */
  roomFor(inputBytes: number): Promise<void> | undefined {
    const isRecordToCome = this.kept.size < this.paths.length
    if (!isRecordToCome || this.hasRoomFor(inputBytes)) return undefined
    return new Promise(begin => this.waiting.push({ inputBytes, begin }))
  }

  private hasRoomFor(inputBytes: number): boolean {
    return inputBytes - this.recordedBytes <= MAX_UNRECORDED_BYTES
  }

  private recorded(inputBytes: number): void {
    this.recordedBytes = inputBytes
    while (this.waiting.length > 0 && this.hasRoomFor(this.waiting[0]!.inputBytes)) this.waiting.shift()!.begin()
  }

  private newMark(inputBytes: number, cursor: unknown): Mark {
    const facts: Record<string, unknown> = {}
    const reached = new Map<string, OutputProgress>()
    return {
      number: this.marks++,
      note: (name, fact) => {
        facts[name] = fact
      },
      reached: async (output, progress) => {
        reached.set(output, progress)
        const outputs = this.paths.map(path => (this.kept.has(path) ? null : reached.get(path)))
        if (!outputs.every(found => found !== undefined)) return
        const record: MarkRecord = { cursor, inputBytes, elapsedMs: this.elapsedMs, facts, outputs }
        await this.file.append(record)
        this.recorded(inputBytes)
      },
    }
  }

  /** Gives all outputs their names. @param result of the run, in case it is killed in the middle of this */
  async commit(result: unknown): Promise<void> {
    const open = this.paths.find(path => !this.kept.has(path) && !this.committed.includes(path))
    if (open !== undefined) throw new PenstockError('INTERNAL', 'the run ended, this output did not', { file: open })
    const done: DoneRecord = { done: await Promise.all(this.committed.map(finishedFile)), result }
    await this.file.append(done)
    await this.file.sync()
    await syncFoldersOf(this.paths.slice(0, 1))
    this.isDone = true
    await publish(this.committed)
    await this.removeAll()
  }

  /** Ends what a killed run had left to rename. */
  async finish(record: DoneRecord): Promise<void> {
    this.isDone = true
    for (const { path } of record.done) this.locked.add(path)
    await publish(await pendingRenames(record))
    await this.removeAll()
  }

  /** Ends a run that failed. @param keep what it had done for the next one, if that is anything */
  async end(keep: boolean): Promise<'kept' | 'removed'> {
    if (!this.isDone && !(keep && this.recordedBytes > 0)) {
      await this.removeAll()
      return 'removed'
    }
    await this.file.close()
    for (const path of this.locked) await unlockOutput(path)
    return 'kept'
  }

  private async removeAll(): Promise<void> {
    await this.file.close()
    const beside = [...this.locked].filter(path => !this.paths.includes(path))
    await removeTemporary([...this.paths, ...beside])
  }
}

async function keptOf(outputs: readonly RunOutput[]): Promise<Set<string>> {
  const kept = new Set<string>()
  for (const { path, ifExists } of outputs) if (await isToBeKept(path, ifExists)) kept.add(path)
  return kept
}

async function finishedFile(path: string): Promise<DoneRecord['done'][number]> {
  return { path, inode: (await stat(partPathOf(path))).ino }
}

/** The journal of the first output, with the record to go on from; beside the others what ties them to it. */
async function openFile(
  paths: readonly string[],
  work: Readonly<Record<string, string>>,
  left: ResumePoint,
): Promise<JournalFile> {
  const last = left.done ?? left.mark
  if (last === undefined) await forgetJournals(paths)
  const header: JournalHeader = { journal: 'penstock', version: 2, run: left.run ?? randomUUID(), work: { ...work } }
  const file = await JournalFile.create(journalPathOf(paths[0]!), last === undefined ? [header] : [header, last])
  for (const path of last === undefined ? paths.slice(1) : []) {
    const other = await JournalFile.create(journalPathOf(path), [header])
    await other.close()
  }
  return file
}
