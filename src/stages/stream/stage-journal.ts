/** One stage's view of the run's journal: the facts that it restores after a kill, and those that it notes on marks. */

import type { RunJournal } from '../../files/journal/run-journal.js'
import type { OutputReservations } from '../../files/output-file.js'
import type { Batch, Mark } from '../../formats/batches.js'
import type { StageStats } from './stage-stats.js'

const markOf = (item: unknown): Mark | undefined => (item as Partial<Batch> | null)?.mark

export class StageJournal {
  private readonly run: RunJournal
  private readonly stage: string
  private readonly listeners: ((mark: Mark) => void)[] = []

  /** @param stage identifies the stage in its pipeline; the same in every run of the same work */
  constructor(run: RunJournal, stage: string) {
    this.run = run
    this.stage = stage
  }

  /** Reservations of the run's output files. */
  get reservations(): OutputReservations {
    return this.run
  }

  /** Position at which the source resumes, as given to `markAfter`. Undefined in a fresh run. */
  cursor<Cursor>(): Cursor | undefined {
    return this.run.resumePoint.mark?.cursor as Cursor | undefined
  }

  /** The fact that this stage noted on the mark from which the run resumes. */
  restored<Fact>(name: string): Fact | undefined {
    return this.run.resumePoint.mark?.facts[this.nameOf(name)] as Fact | undefined
  }

  note(mark: Mark, name: string, fact: unknown): void {
    mark.note(this.nameOf(name), fact)
  }

  /**
   * Called for each batch by the stage that knows its position in the input. Returns a mark to send with the batch when
   * one is due.
   * @param byteLength the batch's share of the input, as stored
   * @param cursor position from which to resume after the batch
   * @param textBytes size of its content, if that is larger
   */
  markAfter(byteLength: number, cursor: () => unknown, textBytes?: number): Mark | undefined {
    return this.run.markAfter(byteLength, cursor, textBytes)
  }

  /** See RunJournal. */
  holdUntilMark(bytes: number): void {
    this.run.holdUntilMark(bytes)
  }

  /** See RunJournal. */
  allowReadAhead(bytes: number): void {
    this.run.allowReadAhead(bytes)
  }

  /** Called by the stage that reads the input, see RunJournal. */
  roomFor(inputBytes: number): Promise<void> | undefined {
    return this.run.roomFor(inputBytes)
  }

  /** Calls `listener` with each mark that this stage passes on, after everything before the mark was passed on. */
  onMark(listener: (mark: Mark) => void): void {
    this.listeners.push(listener)
  }

  /** Restores the counts of the killed run. */
  restore(stats: StageStats): void {
    const { counts, ...others } = this.restored<Partial<StageStats>>('out') ?? {}
    Object.assign(stats, this.restored<Partial<StageStats>>('in'), others)
    Object.assign(stats.counts, counts)
  }

  /** Records the input counts when an item with a mark arrives. */
  noteIn(item: unknown, { itemsIn, bytesIn, recordsIn }: StageStats): void {
    const mark = markOf(item)
    if (mark !== undefined) this.note(mark, 'in', { itemsIn, bytesIn, recordsIn })
  }

  /** Records the output counts when a mark is passed on. Separate from `noteIn`: a stage may have read ahead. */
  noteOut(item: unknown, { itemsOut, bytesOut, recordsOut, rejected, counts }: StageStats): void {
    const mark = markOf(item)
    if (mark === undefined) return
    this.note(mark, 'out', { itemsOut, bytesOut, recordsOut, rejected, counts: { ...counts } })
    for (const listener of this.listeners) listener(mark)
  }

  private nameOf(name: string): string {
    return `${this.stage}/${name}`
  }
}
