/** A run's journal as one of its stages sees it: what the stage noted before a kill, and what it notes on marks. */

import type { RunJournal } from '../../files/journal/run-journal.js'
import type { OutputReservations } from '../../files/output-file.js'
import type { Batch, Mark } from '../../formats/batches.js'
import type { StageStats } from './stage-stats.js'

const markOf = (item: unknown): Mark | undefined => (item as Partial<Batch> | null)?.mark

export class StageJournal {
  private readonly run: RunJournal
  private readonly stage: string
  private readonly listeners: ((mark: Mark) => void)[] = []

  /** @param stage tells it from the others of its run, in each run of the same work */
  constructor(run: RunJournal, stage: string) {
    this.run = run
    this.stage = stage
  }

  /** The reservations of the run's outputs. */
  get reservations(): OutputReservations {
    return this.run
  }

  /** Where the source is to go on: what `markAfter` was given. Undefined at the beginning. */
  cursor<Cursor>(): Cursor | undefined {
    return this.run.resumePoint.mark?.cursor as Cursor | undefined
  }

  /** What this stage had noted where the run goes on. */
  noted<Fact>(name: string): Fact | undefined {
    return this.run.resumePoint.mark?.facts[this.nameOf(name)] as Fact | undefined
  }

  note(mark: Mark, name: string, fact: unknown): void {
    mark.note(this.nameOf(name), fact)
  }

  /**
   * For the stage that knows where a batch ends in the input, told of each: a mark to send with it, when one is due.
   * @param cursor where to go on behind the batch
   */
  markAfter(byteLength: number, cursor: () => unknown): Mark | undefined {
    return this.run.markAfter(byteLength, cursor)
  }

  /** For the stage that reads, see RunJournal. */
  roomFor(inputBytes: number): Promise<void> | undefined {
    return this.run.roomFor(inputBytes)
  }

  /** Calls `listener` with each mark that this stage hands on, when everything before it was handed on. */
  onMark(listener: (mark: Mark) => void): void {
    this.listeners.push(listener)
  }

  /** Sets counts to where those of the killed run stood. */
  restore(stats: StageStats): void {
    const { counts, ...others } = this.noted<Partial<StageStats>>('out') ?? {}
    Object.assign(stats, this.noted<Partial<StageStats>>('in'), others)
    Object.assign(stats.counts, counts)
  }

  /** An item came, the last before a mark where it carries one. */
  noteIn(item: unknown, { itemsIn, bytesIn, recordsIn }: StageStats): void {
    const mark = markOf(item)
    if (mark !== undefined) this.note(mark, 'in', { itemsIn, bytesIn, recordsIn })
  }

  /** An item is handed on. Not in one with `noteIn`: a stage may have taken more than it has given. */
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
