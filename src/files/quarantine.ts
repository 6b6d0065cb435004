/**
 * The quarantine file: faulty records, one JSON object a line. The stages of a run that name it share it; it is whole
 * when the last of them has finished.
 *
 * Stages meet their records at different times, so that lines in the order in which they come would differ from run to
 * run. In a run with a journal they wait for the next mark and are written in the order of the source, which is then the
 * same however often the run was killed.
 */
import type { Mark } from '../formats/batches.js'
import type { RecordFault } from '../formats/extract.js'
import { type OutputFile, type OutputReservations, openOutput } from './output-file.js'

interface Entry {
  readonly line: number
  readonly text: string
}

/** A stage's share in a quarantine file. */
export interface QuarantineMember {
  add(fault: RecordFault): Promise<void>
  /** The stage has handed on all before a mark. */
  pass(mark: Mark): void
  leave(whole: boolean): Promise<void>
}

export class Quarantine {
  private static readonly open = new Map<string, Quarantine>()
  private readonly path: string
  private readonly waits: boolean
  private readonly file: Promise<OutputFile | undefined>
  private members = 0
  private left = 0
  private whole = true
  /** How many members have passed each mark; and the entries before it, by the number of the mark. */
  private readonly passed: number[] = []
  private readonly waiting = new Map<number, Entry[]>()
  private writing: Promise<void> = Promise.resolve()

  private constructor(path: string, reservations: OutputReservations | undefined) {
    this.path = path
    this.waits = reservations !== undefined
    this.file = openOutput(path, 'override', reservations)
    // Whoever writes first, or leaves last, reports a file that cannot be opened.
    this.file.catch(() => {})
  }

  static join(path: string, reservations: OutputReservations | undefined): QuarantineMember {
    const quarantine = Quarantine.open.get(path) ?? new Quarantine(path, reservations)
    Quarantine.open.set(path, quarantine)
    return quarantine.newMember()
  }

  private newMember(): QuarantineMember {
    this.members++
    let next = 0
    return {
      add: fault => this.add(entryOf(fault), next),
      pass: mark => {
        next = mark.number + 1
        this.pass(mark)
      },
      leave: whole => this.leave(whole),
    }
  }

  private async add(entry: Entry, mark: number): Promise<void> {
    await this.writing
    if (!this.waits) return this.write([entry])
    const entries = this.waiting.get(mark)
    if (entries === undefined) this.waiting.set(mark, [entry])
    else entries.push(entry)
  }

  private pass(mark: Mark): void {
    const { number } = mark
    this.passed[number] = (this.passed[number] ?? 0) + 1
    if (this.passed[number] < this.members) return
    const due = [...this.waiting].filter(([before]) => before <= number)
    for (const [before] of due) this.waiting.delete(before)
    const entries = due.flatMap(([, waiting]) => waiting)
    this.writing = this.writing.then(async () => {
      await this.write(entries)
      await (await this.file)?.mark(mark)
    })
    // The next fault, or the end, meets the failure.
    this.writing.catch(() => {})
  }

  private async write(entries: readonly Entry[]): Promise<void> {
    const file = await this.file
    for (const { text } of entries.toSorted((a, b) => a.line - b.line)) await file?.write(Buffer.from(text))
  }

  private async leave(whole: boolean): Promise<void> {
    this.whole &&= whole
    if (++this.left < this.members) return
    Quarantine.open.delete(this.path)
    if (!this.whole) await this.writing.catch(() => {})
    const file = await this.file
    if (!this.whole) return file?.abandon()
    await this.writing
    await this.write([...this.waiting.values()].flat())
    await file?.commit()
  }
}

function entryOf(fault: RecordFault): Entry {
  const entry = {
    source: fault.file,
    line: fault.line,
    byte_offset: fault.byteOffset,
    code: fault.code,
    message: fault.message,
    record: Buffer.from(fault.record).toString('base64'),
  }
  return { line: fault.line, text: `${JSON.stringify(entry)}\n` }
}
