/**
 * Splits chunks of bytes into batches of complete lines. Lines end at LF only (a CR belongs to its line, as byte-exact
 * indexes require); the last line may lack its LF. Only the bytes after a chunk's last LF are copied.
 */
import type { LineBatch, LineCursor } from './batches.js'

const LF = 10

/** Default limit of a line's length. */
export const DEFAULT_LINE_BYTES = 64 << 20

/** A line that was dropped because it exceeds the limit. */
export interface LongLine {
  readonly line: number
  readonly byteOffset: number
  /** Its first bytes. */
  readonly head: Uint8Array
}

export interface LineSplitterOptions {
  readonly source: string
  readonly maxLineBytes: number
  /** Maximum number of lines to deliver. */
  readonly limit?: number
  /** Position in the file at which the input starts, if not at 0. */
  readonly from?: LineCursor | undefined
}

/** Feed chunks with `push`, end with `finish`; both yield the completed batches. */
export class LineSplitter {
  /** Lines that exceeded the limit since the last `takeLongLines`. */
  private longLines: LongLine[] = []
  private readonly options: LineSplitterOptions
  private rest: Uint8Array[] = []
  private restBytes = 0
  /** Set while the rest of an overlong line is skipped. */
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

  /** Position after the last delivered or reported line; a resumed splitter must be fed from there. */
  get cursor(): LineCursor {
    const { byteOffset, line, skipping } = this
    return { byteOffset, line, skipping }
  }

  /** True once `limit` lines have been delivered. */
  get full(): boolean {
    return this.options.limit !== undefined && this.line > this.options.limit
  }

  takeLongLines(): LongLine[] {
    const taken = this.longLines
    this.longLines = []
    return taken
  }

  /**
   * Yields the line that previous chunks began, then the lines of this chunk; `cursor` is after the last yielded batch.
   * The splitter keeps views of `chunk`: the caller must not modify it afterwards.
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

  /** The batch of these bytes, if not empty. They start at the start of a line and end after an LF or at the end of the input. */
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

/** Growable table of the lines of a batch, reused for each batch, without an object per line. */
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

/** The batch without the lines at these indices of its tables. */
export function withoutLines(batch: LineBatch, indices: ReadonlySet<number>): LineBatch {
  if (indices.size === 0) return batch
  const kept = (values: Uint32Array): Uint32Array => values.filter((_, index) => !indices.has(index))
  return { ...batch, starts: kept(batch.starts), ends: kept(batch.ends), lines: kept(batch.lines) }
}
