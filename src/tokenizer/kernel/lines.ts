/**
 * Host side of the kernel's line functions: copies a chunk and the field's path into its memory, and reads the tables of
 * lines.
 */
import { PenstockError } from '../../errors.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { KernelEngine } from './kernel-engine.js'
import { LINES_AT_ONCE, PATH_BYTES } from './memory.js'

/** Encodes engine.bytes[start, end) to engine.tokens[at...]; returns the position after the tokens. */
export type EncodeText = (start: number, end: number, at: number) => number

interface Lines {
  lineStarts: Uint32Array
  lineEnds: Uint32Array
  statuses: Uint8Array
  lengths: Uint32Array
}

const LINE_FEED = 0x0a
/** Bytes that the kernel may read or write after its input. */
const SLACK = 128

export class KernelLines {
  private readonly engine: KernelEngine
  private readonly pathLength: number
  /** The chunk is in engine.bytes[0, inputLength), the text of one record after it. */
  private inputLength = 0
  private readonly table: LineTable

  constructor(engine: KernelEngine, path: FieldPath = []) {
    this.engine = engine
    this.table = new LineTable(engine)
    this.pathLength = path.length
    this.putPath(path)
  }

  input(byteLength: number): Uint8Array {
    this.reserve(byteLength)
    return this.engine.bytes.subarray(0, byteLength)
  }

  scan(bytes: Uint8Array, start = 0, end = bytes.length): Omit<Lines, 'lengths'> {
    const { lineStarts, lineEnds, statuses } = this.onChunk(bytes, start, end, (from, to, lines) => {
      const { exports } = this.engine
      for (let at = from; at < to; ) {
        const count = exports.scanLines(at, to, 0, LINES_AT_ONCE)
        lines.take(count)
        at = exports.resumeAt.value >>> 0
      }
    })
    return { lineStarts, lineEnds, statuses }
  }

  /** `encode` must append the end-of-document token itself; `emptyStatus` is the status of texts without tokens. */
  pack(
    bytes: Uint8Array,
    start = 0,
    end = bytes.length,
    eodId: number | undefined,
    encode: EncodeText,
    emptyStatus: number,
  ): Lines & { tokens: Uint16Array | Uint32Array } {
    const { engine } = this
    const { exports } = engine
    let tokenCount = 0
    const lines = this.onChunk(bytes, start, end, (from, to, table) => {
      const textAt = this.inputLength + SLACK
      const text = engine.addressOf(textAt)
      let line = 0
      for (let at = from; at < to; ) {
        const out = engine.tokenAddress(tokenCount)
        line = exports.packLines(at, to, line, LINES_AT_ONCE, this.pathLength, text, out, eodId ?? -1)
        engine.refresh()
        tokenCount = engine.tokenIndex(exports.tokensEnd.value)
        const left = exports.hostText.value
        if (left >= 0) {
          const stop = encode(textAt, textAt + left, tokenCount)
          table.setLast(line, stop - tokenCount, stop === tokenCount ? emptyStatus : 0)
          tokenCount = stop
        }
        at = exports.resumeAt.value >>> 0
        if (line === LINES_AT_ONCE || at >= to) {
          table.take(line)
          line = 0
        }
      }
    })
    return { ...lines, tokens: engine.tokens.subarray(0, tokenCount) }
  }

  /** Copies the chunk into place with a line feed after it, and makes positions relative to `bytes`. */
  private onChunk(
    bytes: Uint8Array,
    start: number,
    end: number,
    work: (from: number, to: number, lines: LineTable) => void,
  ): Lines {
    const { engine } = this
    const isInPlace = bytes.buffer === engine.bytes.buffer
    const from = isInPlace ? bytes.byteOffset - engine.bytes.byteOffset + start : 0
    const to = from + end - start
    if (isInPlace && to > this.inputLength) {
      throw new PenstockError('INTERNAL', 'a chunk in kernel memory did not come from `input`')
    }
    if (!isInPlace) {
      this.reserve(end - start)
      engine.bytes.set(bytes.subarray(start, end))
    }
    const behind = engine.bytes[to]!
    engine.bytes[to] = LINE_FEED
    this.table.clear()
    engine.exports.setLineTables(
      engine.addressOf(from - start),
      engine.tables.lineStarts,
      engine.tables.lineEnds,
      engine.tables.lineStatuses,
      engine.tables.lineLengths,
    )
    work(engine.addressOf(from), engine.addressOf(to), this.table)
    engine.bytes[to] = behind
    return this.table.lines()
  }

  private reserve(byteLength: number): void {
    this.inputLength = Math.max(this.inputLength, byteLength)
    // The text of a record is no longer than the record; each token takes at least a byte of text, or ends a line.
    this.engine.reserve(2 * this.inputLength + 4 * SLACK, 0)
  }

  /** 16 bytes per part: kind (0 key, 1 index), the index or key length, the address of the key. */
  private putPath(path: FieldPath): void {
    const encoder = new TextEncoder()
    const keys = path.map(part => (typeof part === 'string' ? encoder.encode(part) : undefined))
    const needed = keys.reduce((sum, key) => sum + 16 + (key?.length ?? 0), 0)
    if (needed > PATH_BYTES) throw new PenstockError('OPTION_INVALID', `field path longer than ${PATH_BYTES} bytes`)
    const { memory, tables } = this.engine
    const ints = new Uint32Array(memory.buffer, tables.path)
    const bytes = new Uint8Array(memory.buffer)
    let keyAt = tables.path + path.length * 16
    for (const [index, part] of path.entries()) {
      const key = keys[index]
      ints.set(key === undefined ? [1, part as number, 0] : [0, key.length, keyAt], index * 4)
      if (key === undefined) continue
      bytes.set(key, keyAt)
      keyAt += key.length
    }
  }
}

/** Collects the kernel's tables of lines, which hold LINES_AT_ONCE at a time; reused for each chunk. */
class LineTable {
  private readonly engine: KernelEngine
  private count = 0
  private all = linesOf(LINES_AT_ONCE)

  constructor(engine: KernelEngine) {
    this.engine = engine
  }

  clear(): void {
    this.count = 0
  }

  take(count: number): void {
    const { memory, tables } = this.engine
    this.reserve(this.count + count)
    const { all } = this
    all.lineStarts.set(new Uint32Array(memory.buffer, tables.lineStarts, count), this.count)
    all.lineEnds.set(new Uint32Array(memory.buffer, tables.lineEnds, count), this.count)
    all.statuses.set(new Uint8Array(memory.buffer, tables.lineStatuses, count), this.count)
    all.lengths.set(new Uint32Array(memory.buffer, tables.lineLengths, count), this.count)
    this.count += count
  }

  /** Sets values of the last of `count` lines that became known only now. */
  setLast(count: number, length: number, status: number): void {
    const { memory, tables } = this.engine
    new Uint32Array(memory.buffer, tables.lineLengths)[count - 1] = length
    new Uint8Array(memory.buffer, tables.lineStatuses)[count - 1] = status
  }

  /** Valid until `clear`. */
  lines(): Lines {
    const { all, count } = this
    return {
      lineStarts: all.lineStarts.subarray(0, count),
      lineEnds: all.lineEnds.subarray(0, count),
      statuses: all.statuses.subarray(0, count),
      lengths: all.lengths.subarray(0, count),
    }
  }

  private reserve(count: number): void {
    const { all } = this
    if (count <= all.statuses.length) return
    const larger = linesOf(Math.max(count, 2 * all.statuses.length))
    larger.lineStarts.set(all.lineStarts)
    larger.lineEnds.set(all.lineEnds)
    larger.statuses.set(all.statuses)
    larger.lengths.set(all.lengths)
    this.all = larger
  }
}

function linesOf(count: number): Lines {
  return {
    lineStarts: new Uint32Array(count),
    lineEnds: new Uint32Array(count),
    statuses: new Uint8Array(count),
    lengths: new Uint32Array(count),
  }
}
