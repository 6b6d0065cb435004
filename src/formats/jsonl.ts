/**
 * Cuts bytes that come in any chunks into batches of whole lines. Lines end at LF alone (a CR belongs to its line, as
 * byte-exact indexes need); the last line may lack its LF. Only the piece after a chunk's last LF is ever copied.
 */
import type { LineBatch, LineCursor } from './batches.js'

const LF = 10

/** What a line may have where nothing else is said. */
export const DEFAULT_LINE_BYTES = 64 << 20

/** A line that was given up because it is longer than the limit. */
export interface LongLine {
  readonly line: number
  readonly byteOffset: number
  /** Its first bytes. */
  readonly head: Uint8Array
}

export interface LineSplitterOptions {
  readonly source: string
  readonly maxLineBytes: number
  /** Lines delivered at most. */
  readonly limit?: number
  /** The input begins here, not at its file's start. */
  readonly from?: LineCursor | undefined
}

/** Feed chunks with `push`, end with `finish`; both give the batches that became whole. */
export class LineSplitter {
  /** Lines that were too long since the last `takeLongLines`. */
  private longLines: LongLine[] = []
  private readonly options: LineSplitterOptions
  private rest: Uint8Array[] = []
  private restBytes = 0
  /** Set while the rest of a line that is too long is passed over. */
  private skipping: boolean
  private byteOffset: number
  private line: number
  private number = 0
  private readonly table = new LineTable()

  constructor(options: LineSplitterOptions) {
    const { byteOffset, line, skipping } = options.from ?? { byteOffset: 0, line: 1 }
    this.options = options
    this.byteOffset = byteOffset
    this.line = line
    this.skipping = skipping ?? false
  }

  /** Behind what was delivered or reported: bytes from there on that came already have to come again. */
  get cursor(): LineCursor {
    const { byteOffset, line, skipping } = this
    return { byteOffset, line, skipping }
  }

  /** True once `limit` lines are delivered. */
  get full(): boolean {
    return this.options.limit !== undefined && this.line > this.options.limit
  }

  takeLongLines(): LongLine[] {
    const taken = this.longLines
    this.longLines = []
    return taken
  }

  /**
   * Gives the line that chunks before had begun, then the chunk's own lines; `cursor` stands behind what was given last.
   * The splitter keeps views of `chunk`: its owner must not change it afterwards.
   */
  *push(chunk: Uint8Array): Generator<LineBatch> {
    let bytes = chunk
    if (this.skipping) {
      const end = bytes.indexOf(LF)
      if (end < 0) {
        this.byteOffset += bytes.byteLength
        return
      }
      this.skipping = false
      this.line++
      this.byteOffset += end + 1
      bytes = bytes.subarray(end + 1)
    }
    const lastEnd = bytes.lastIndexOf(LF) + 1
    if (lastEnd > 0) {
      const begunEnd = this.restBytes === 0 ? 0 : bytes.indexOf(LF) + 1
      yield* this.cut(this.joinRest(bytes.subarray(0, begunEnd)))
      yield* this.cut(bytes.subarray(begunEnd, lastEnd))
    }
    this.keep(bytes.subarray(lastEnd))
  }

  *finish(): Generator<LineBatch> {
    yield* this.cut(this.joinRest(new Uint8Array(0)))
  }

  private keep(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return
    this.rest.push(bytes)
    this.restBytes += bytes.byteLength
    if (this.restBytes <= this.options.maxLineBytes) return
    this.longLines.push({ line: this.line, byteOffset: this.byteOffset, head: this.rest[0]!.subarray(0, 1024) })
    this.byteOffset += this.restBytes
    this.rest = []
    this.restBytes = 0
    this.skipping = true
  }

  private joinRest(bytes: Uint8Array): Uint8Array {
    const joined = new Uint8Array(this.restBytes + bytes.byteLength)
    let position = 0
    for (const part of [...this.rest, bytes]) {
      joined.set(part, position)
      position += part.byteLength
    }
    this.rest = []
    this.restBytes = 0
    return joined
  }

  /** The batch of these bytes, if any: they start at a line's first byte and end after an LF, or at the input's end. */
  private *cut(bytes: Uint8Array): Generator<LineBatch> {
    const { table } = this
    let count = 0
    const firstLine = this.line
    for (let start = 0; start < bytes.byteLength && !this.full; this.line++) {
      const found = bytes.indexOf(LF, start)
      const end = found < 0 ? bytes.byteLength : found
      if (end - start > this.options.maxLineBytes) {
        const head = bytes.subarray(start, start + 1024)
        this.longLines.push({ line: this.line, byteOffset: this.byteOffset + start, head })
      } else {
        table.set(count++, start, end, this.line - firstLine)
      }
      start = end + 1
    }
    const byteOffset = this.byteOffset
    this.byteOffset += bytes.byteLength
    if (count === 0) return
    yield {
      kind: 'lines',
      number: this.number++,
      byteLength: bytes.byteLength,
      bytes,
      byteOffset,
      starts: table.starts.slice(0, count),
      ends: table.ends.slice(0, count),
      firstLine,
      lines: table.lines.slice(0, count),
      source: this.options.source,
    }
  }
}

/** Where the lines of a batch stand while they are found; used again for each batch, and no object a line. */
class LineTable {
  starts = new Uint32Array(1024)
  ends = new Uint32Array(1024)
  lines = new Uint32Array(1024)

  set(index: number, start: number, end: number, line: number): void {
    if (index === this.starts.length) this.grow()
    this.starts[index] = start
    this.ends[index] = end
    this.lines[index] = line
  }

  private grow(): void {
    const larger = (old: Uint32Array): Uint32Array<ArrayBuffer> => {
      const grown = new Uint32Array(2 * old.length)
      grown.set(old)
      return grown
    }
    this.starts = larger(this.starts)
    this.ends = larger(this.ends)
    this.lines = larger(this.lines)
  }
}

/** The batch without the lines at these places of its tables. */
export function withoutLines(batch: LineBatch, places: ReadonlySet<number>): LineBatch {
  if (places.size === 0) return batch
  const kept = (values: Uint32Array): Uint32Array => values.filter((_, index) => !places.has(index))
  return { ...batch, starts: kept(batch.starts), ends: kept(batch.ends), lines: kept(batch.lines) }
}
