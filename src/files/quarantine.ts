/**
 * The quarantine file: faulty records, one JSON object per line. All stages of a run that name the file share it; it is
 * published when the last of them has finished.
 *
 * Stages report faults at different times, so the order of arrival differs from run to run. In a run with a journal, faults
 * wait for the next mark and are written in source order, which makes the file independent of how often the run was
 * killed.
 */
import type { Mark } from '../formats/batches.js'
import type { RecordFault } from '../formats/extract.js'
import { type IfExists, type OutputFile, type OutputReservations, openOutput } from './output-file.js'

interface Entry {
  readonly source: string
  readonly line: number
  readonly text: string
}

/** Access of one stage to a quarantine file. */
export interface QuarantineMember {
  add(fault: RecordFault): Promise<void>
  /** Gives the order of the files of a run that reads several. */
  orderSources(paths: readonly string[]): void
  /** Reports that the stage has processed everything before a mark. */
  pass(mark: Mark): void
  leave(isComplete: boolean): Promise<void>
}

export class Quarantine {
  private static readonly open = new Map<string, Quarantine>()
  private readonly path: string
  private readonly isOrdered: boolean
  private readonly file: Promise<OutputFile | undefined>
  /** Place of each file in the order of the sources; empty for a run of one file. */
  private rankOf: ReadonlyMap<string, number> = new Map()
  private members = 0
  private left = 0
  private isComplete = true
  /** Number of members that have passed each mark, and the entries before each mark, by the mark's number. */
  private readonly passed: number[] = []
  private readonly waiting = new Map<number, Entry[]>()
  private writing: Promise<void> = Promise.resolve()

  private constructor(path: string, ifExists: IfExists, reservations: OutputReservations | undefined) {
    this.path = path
    this.isOrdered = reservations !== undefined
    this.file = openOutput(path, ifExists, reservations)
    // A failure to open is reported by the first write, or when the last member leaves.
    this.file.catch(() => {})
  }

  static join(path: string, ifExists: IfExists, reservations: OutputReservations | undefined): QuarantineMember {
    const quarantine = Quarantine.open.get(path) ?? new Quarantine(path, ifExists, reservations)
    Quarantine.open.set(path, quarantine)
    return quarantine.newMember()
  }

  private newMember(): QuarantineMember {
    this.members++
    let next = 0
    return {
      add: fault => this.add(entryOf(fault), next),
      orderSources: paths => {
        this.rankOf = new Map(paths.map((path, rank) => [path, rank]))
      },
      pass: mark => {
        next = mark.number + 1
        this.pass(mark)
      },
      leave: isComplete => this.leave(isComplete),
    }
  }

  private async add(entry: Entry, mark: number): Promise<void> {
    await this.writing
    if (!this.isOrdered) return this.write([entry])
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
    // A failure is reported by the next write, or at the end.
    this.writing.catch(() => {})
  }

  private async write(entries: readonly Entry[]): Promise<void> {
    const file = await this.file
    const rank = ({ source }: Entry): number => this.rankOf.get(source) ?? 0
    const inOrder = entries.toSorted((a, b) => rank(a) - rank(b) || a.line - b.line)
    for (const { text } of inOrder) await file?.write(Buffer.from(text))
  }

  private async leave(isComplete: boolean): Promise<void> {
    this.isComplete &&= isComplete
    if (++this.left < this.members) return
    Quarantine.open.delete(this.path)
    if (!this.isComplete) await this.writing.catch(() => {})
    const file = await this.file
    if (!this.isComplete) return file?.abandon()
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
  return { source: fault.file, line: fault.line, text: `${JSON.stringify(entry)}\n` }
}
