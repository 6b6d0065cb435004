/**
 * Makes a killed run resumable: the resumed run writes the same bytes as an uninterrupted one. Every few MiB of input, a
 * mark follows a batch through the stages. Each stage records its progress on the mark; each output reports when everything
 * before the mark is durable. Once all outputs have reported, the mark becomes a record in the journal of the first output.
 * The next run of the same work truncates the outputs to the newest record and resumes there.
 *
 * All outputs of a run are published together, after its totals were checked. A last record states that all are complete,
 * so a run killed between two renames only has to finish those.
 */
import { randomUUID } from 'node:crypto'
import { PenstockError } from '../../errors.js'
import type { Mark, OutputProgress } from '../../formats/batches.js'
import {
  type CompleteOutput,
  discard,
  type IfExists,
  isToBeKept,
  type OutputReservation,
  type OutputReservations,
  publish,
  removeJournals,
  syncFoldersOf,
} from '../output-file.js'
import { OutputLock } from '../output-lock.js'
import { outputTargetOf } from '../side-files.js'
import { adoptJournal, JournalFile } from './journal-file.js'
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
/**
 * Input that may be read beyond the newest record, and so the most that a kill can cost, unless many workers need more;
 * several times `MARK_BYTES`.
 */
const MAX_UNRECORDED_BYTES = 64 << 20

export interface RunOutput {
  readonly path: string
  readonly ifExists: IfExists
}

export interface RunJournalOptions {
  /** Outputs of the run; the journal of the first one has the records. */
  readonly outputs: readonly RunOutput[]
  /** Description of the work, part by part: a run is resumed only if all parts are equal. */
  readonly work: Readonly<Record<string, string>>
  /** Start over even if an interrupted run could be resumed. */
  readonly fresh?: boolean | undefined
  readonly markBytes?: number | undefined
}

/** Owns the locks of all outputs until `commit` or `end`. */
export class RunJournal implements OutputReservations {
  /** Where the interrupted run can be resumed. */
  readonly resumePoint: ResumePoint
  /** Input covered by the newest record. */
  recordedBytes: number
  /** Targets of the outputs, in their order. */
  private readonly paths: readonly string[]
  private readonly policies: ReadonlyMap<string, IfExists>
  private readonly kept: ReadonlySet<string>
  private readonly file: JournalFile
  private markBytes: number
  private maxUnrecordedBytes = MAX_UNRECORDED_BYTES
  private readonly startedAt = performance.now()
  /** Locks of the outputs and their manifests, by target. */
  private readonly locks: Map<string, OutputLock>
  private readonly committed: CompleteOutput[] = []
  private isDone = false
  private marks = 0
  private readBytes: number
  private unmarkedBytes = 0
  private readonly waiting: { readonly inputBytes: number; readonly begin: () => void }[] = []

  private constructor(
    options: RunJournalOptions,
    locks: Map<string, OutputLock>,
    kept: ReadonlySet<string>,
    resumePoint: ResumePoint,
    file: JournalFile,
  ) {
    this.resumePoint = resumePoint
    this.paths = options.outputs.map(({ path }) => path)
    this.policies = new Map(options.outputs.map(({ path, ifExists }) => [path, ifExists]))
    this.kept = kept
    this.file = file
    this.markBytes = options.markBytes ?? MARK_BYTES
    this.locks = locks
    this.recordedBytes = resumePoint.mark?.inputBytes ?? 0
    this.readBytes = this.recordedBytes
  }

  /** @throws FILE_LOCKED, FILE_EXISTS, FILE_UNWRITABLE */
  static async open(given: RunJournalOptions): Promise<RunJournal> {
    const outputs = await Promise.all(
      given.outputs.map(async ({ path, ifExists }) => ({ path: await outputTargetOf(path), ifExists })),
    )
    const options = { ...given, outputs }
    const locks = new Map<string, OutputLock>()
    try {
      // In a fixed order, so that one of two runs that start at the same time gets all locks.
      for (const path of outputs.map(({ path }) => path).toSorted()) locks.set(path, await OutputLock.acquire(path))
      const ordered = outputs.map(({ path }) => locks.get(path)!)
      let resumePoint: ResumePoint = options.fresh ? {} : await findResumePoint(ordered, options.work)
      const kept = resumePoint.done === undefined ? await outputsToKeep(outputs) : new Set<string>()
      const isOther = resumePoint.mark?.outputs.some(
        (progress, index) => (progress === null) !== kept.has(outputs[index]!.path),
      )
      if (isOther) resumePoint = { refusal: 'different outputs exist now' }
      const file = await openFile(ordered, options.work, resumePoint)
      return new RunJournal(options, locks, kept, resumePoint, file)
    } catch (error) {
      for (const lock of locks.values()) await lock.release().catch(() => {})
      throw error
    }
  }

  /** Milliseconds since the start, including those of the interrupted runs. */
  get elapsedMs(): number {
    return (this.resumePoint.mark?.elapsedMs ?? 0) + performance.now() - this.startedAt
  }

  async reserve(path: string, ifExists: IfExists): Promise<OutputReservation | undefined> {
    const target = await outputTargetOf(path)
    const index = this.paths.indexOf(target)
    if (index < 0 && (await isToBeKept(target, ifExists, path))) return undefined
    if (this.kept.has(target)) return undefined
    const lock = this.locks.get(target) ?? (await OutputLock.acquire(target))
    this.locks.set(target, lock)
    return {
      lock,
      resume: this.resumePoint.mark?.outputs[index] ?? undefined,
      commit: async proof => void this.committed.push({ lock, proof, ifExists: this.policies.get(target) ?? ifExists }),
      // Whether the outputs are kept is decided for all of them at the end of the run.
      abort: async () => {},
    }
  }

  /**
   * Called by the source for each batch, in order; returns a mark when one is due.
   * @param byteLength the batch's share of the input, as stored
   * @param textBytes size of its content, if that is larger
   */
  markAfter(byteLength: number, cursor: () => unknown, textBytes = 0): Mark | undefined {
    this.readBytes += byteLength
    this.unmarkedBytes += Math.max(byteLength, textBytes)
    if (this.unmarkedBytes < this.markBytes) return undefined
    this.unmarkedBytes = 0
    return this.newMark(this.readBytes, cursor())
  }

  /** Counts memory that is held until the next mark as input, so that the mark is due earlier. */
  holdUntilMark(bytes: number): void {
    this.unmarkedBytes += bytes
  }

  /**
   * Lets the source read further ahead, for many workers. Marks become rarer: each syncs the outputs, and a disk does that
   * only so many times in a second.
   * @param bytes input in processing at the same time, beyond half the usual limit
   */
  allowReadAhead(bytes: number): void {
    this.markBytes += bytes / 4
    this.maxUnrecordedBytes += 2 * bytes
  }

  /**
   * Limits how far the source reads ahead of the journal; called before it starts work on a range of the input.
   * @param inputBytes end of the range
   * @returns undefined when the work may start; otherwise a promise, which may never settle if the run fails
   */
  roomFor(inputBytes: number): Promise<void> | undefined {
    const expectsRecords = this.kept.size < this.paths.length
    if (!expectsRecords || this.hasRoomFor(inputBytes)) return undefined
    return new Promise(begin => this.waiting.push({ inputBytes, begin }))
  }

  private hasRoomFor(inputBytes: number): boolean {
    return inputBytes - this.recordedBytes <= this.maxUnrecordedBytes
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

  /** Publishes all outputs. @param result result of the run, recorded in case it is killed during the renames */
  async commit(result: unknown): Promise<void> {
    const finished = new Set(this.committed.map(({ lock }) => lock.output))
    const open = this.paths.find(path => !this.kept.has(path) && !finished.has(path))
    if (open !== undefined) {
      throw new PenstockError('INTERNAL', 'the run ended before this output was complete', { file: open })
    }
    const done = this.committed.map(({ lock, proof }) => ({ path: lock.output, proof }))
    await this.file.append({ done, result } satisfies DoneRecord)
    await this.file.sync()
    await syncFoldersOf(this.paths.slice(0, 1))
    this.isDone = true
    await publish(this.committed)
    await this.discardAll()
  }

  /** Finishes the renames of a run that was killed during them. */
  async finish(record: DoneRecord): Promise<void> {
    this.isDone = true
    for (const { path } of record.done) {
      if (!this.locks.has(path)) this.locks.set(path, await OutputLock.acquire(path))
    }
    const pending = await pendingRenames(record)
    await publish(
      pending.map(({ path, proof }) => ({
        lock: this.locks.get(path)!,
        proof,
        ifExists: this.policies.get(path) ?? 'override',
      })),
    )
    await this.discardAll()
  }

  /** Closes the journal of a failed run. @param keep keep its progress, if any, for the next run */
  async end(keep: boolean): Promise<'kept' | 'removed'> {
    if (!this.isDone && !(keep && this.recordedBytes > 0)) {
      await this.discardAll()
      return 'removed'
    }
    try {
      await this.file.close()
    } finally {
      for (const lock of this.locks.values()) await lock.release()
    }
    return 'kept'
  }

  private async discardAll(): Promise<void> {
    const main = this.paths.map(path => this.locks.get(path)!)
    const others = [...this.locks.values()].filter(lock => !main.includes(lock))
    try {
      await this.file.close()
    } finally {
      await discard([...main, ...others])
    }
  }
}

async function outputsToKeep(outputs: readonly RunOutput[]): Promise<Set<string>> {
  const kept = new Set<string>()
  for (const { path, ifExists } of outputs) if (await isToBeKept(path, ifExists)) kept.add(path)
  return kept
}

/** Creates the journal of the first output, with the record to resume from, and header-only ones for the others. */
async function openFile(
  locks: readonly OutputLock[],
  work: Readonly<Record<string, string>>,
  resumePoint: ResumePoint,
): Promise<JournalFile> {
  const last = resumePoint.done ?? resumePoint.mark
  if (last === undefined) await removeJournals(locks)
  else for (const lock of locks) await adoptJournal(lock)
  const header: JournalHeader = {
    journal: 'penstock',
    version: 3,
    run: resumePoint.run ?? randomUUID(),
    work: { ...work },
  }
  const file = await JournalFile.create(locks[0]!, last === undefined ? [header] : [header, last])
  for (const lock of last === undefined ? locks.slice(1) : []) {
    const other = await JournalFile.create(lock, [header])
    await other.close()
  }
  return file
}
