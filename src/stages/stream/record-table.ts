/**
 * Pieces of files (documents, lines), each known by its place, read in any order. A piece takes 12 bytes however long it
 * is, and the table grows by blocks: ten million pieces are 120 MB and never copied into something larger.
 */
import { PenstockError } from '../../errors.js'
import { readFullySync } from '../../files/read-at.js'
import { chunkRange } from '../../sampling/chunk.js'
import type { ChunkOption } from './shuffle-order.js'
import { TimeSlices } from './time-slices.js'

const BLOCK_RECORDS = 1 << 16
const BATCH_BYTES = 1 << 20
const BATCH_RECORDS = 1 << 15
/** Pieces that are read before a look at the clock. */
const RECORDS_PER_CLOCK_CHECK = 64

/** A file that pieces lie in; its owner keeps it open. */
export interface RecordFile {
  readonly path: string
  readonly fd: number
}

/** Calls `visit` with start and length in bytes of each piece of a file, in the file's order. */
export type RecordWalk = (visit: (start: number, byteLength: number) => void) => Promise<void>

export interface RecordBatch {
  /** The pieces one behind the other, `gap` bytes of zero behind each. */
  readonly bytes: Uint8Array
  readonly byteLengths: Uint32Array
  /** The number of each piece in the table. */
  readonly pieces: Uint32Array
}

export class RecordTable {
  /** Pieces of all files. */
  count = 0
  private readonly starts: Float64Array[] = []
  private readonly byteLengths: Uint32Array[] = []
  private readonly files: { readonly file: RecordFile; readonly firstRecord: number }[] = []

  /** Adds the pieces of a file, or its share of a chunk. */
  async addFile(file: RecordFile, walk: RecordWalk, chunk: ChunkOption | undefined): Promise<void> {
    this.files.push({ file, firstRecord: this.count })
    if (chunk === undefined) return walk((start, byteLength) => this.add(start, byteLength))
    let count = 0
    await walk(() => {
      count++
    })
    const { start: first, end } = chunkRange(count, chunk.of, chunk.number)
    let piece = 0
    await walk((start, byteLength) => {
      if (piece >= first && piece < end) this.add(start, byteLength)
      piece++
    })
  }

  private add(start: number, byteLength: number): void {
    const place = this.count++ % BLOCK_RECORDS
    if (place === 0) {
      this.starts.push(new Float64Array(BLOCK_RECORDS))
      this.byteLengths.push(new Uint32Array(BLOCK_RECORDS))
    }
    this.starts.at(-1)![place] = start
    this.byteLengths.at(-1)![place] = byteLength
  }

  /**
   * The pieces in this order, from a place in it on, in batches of about one MiB. Reads may wait for the disk, so others
   * have their turn between them.
   * @throws FILE_CHANGED when a file ends before a piece of it does
   */
  async *inOrder(order: Uint32Array, signal: AbortSignal, gap = 0, start = 0): AsyncGenerator<RecordBatch> {
    const slices = new TimeSlices(signal)
    for (let from = start; from < order.length; ) {
      let to = from
      let total = 0
      while (to < order.length && to - from < BATCH_RECORDS && (to === from || total < BATCH_BYTES)) {
        total += this.byteLengthOf(order[to++]!) + gap
      }
      yield await this.read(order.slice(from, to), total, gap, slices)
      from = to
    }
  }

  private async read(pieces: Uint32Array, total: number, gap: number, slices: TimeSlices): Promise<RecordBatch> {
    const bytes = new Uint8Array(total)
    const byteLengths = new Uint32Array(pieces.length)
    let at = 0
    for (const [index, piece] of pieces.entries()) {
      if (index % RECORDS_PER_CLOCK_CHECK === 0 && slices.isExpired) await slices.yieldToEventLoop()
      const byteLength = this.byteLengthOf(piece)
      byteLengths[index] = byteLength
      readRecord(this.fileOf(piece), bytes, at, byteLength, this.startOf(piece))
      at += byteLength + gap
    }
    return { bytes, byteLengths, pieces }
  }

  private startOf(piece: number): number {
    return this.starts[Math.floor(piece / BLOCK_RECORDS)]![piece % BLOCK_RECORDS]!
  }

  private byteLengthOf(piece: number): number {
    return this.byteLengths[Math.floor(piece / BLOCK_RECORDS)]![piece % BLOCK_RECORDS]!
  }

  /** By bisection: the last file whose first piece is not behind this one. */
  private fileOf(piece: number): RecordFile {
    let [low, high] = [0, this.files.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.files[middle]!.firstRecord <= piece) low = middle
      else high = middle - 1
    }
    return this.files[low]!.file
  }
}

function readRecord(file: RecordFile, into: Uint8Array, at: number, byteLength: number, start: number): void {
  const read = readFullySync(file, into.subarray(at, at + byteLength), start)
  if (read < byteLength) {
    throw new PenstockError('FILE_CHANGED', 'the file ends earlier than when it was first read', {
      file: file.path,
      byteOffset: start + read,
    })
  }
}
