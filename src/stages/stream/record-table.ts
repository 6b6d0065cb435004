/**
 * Table of records (documents or lines) of several files by position, for reading them in any order. 12 bytes per
 * record; the table grows in blocks and is never copied: ten million records take 120 MB.
 */
import { PenstockError } from '../../errors.js'
import { readFullySync } from '../../files/read-at.js'
import { chunkRange } from '../../sampling/chunk.js'
import type { ChunkOption } from './shuffle-order.js'
import { TimeSlices } from './time-slices.js'

const BLOCK_RECORDS = 1 << 16
const BATCH_BYTES = 1 << 20
const BATCH_RECORDS = 1 << 15
/** Records to read between two checks of the clock. */
const RECORDS_PER_CLOCK_CHECK = 64

/** A file with records; its owner keeps it open. */
export interface RecordFile {
  readonly path: string
  readonly fd: number
}

/** Calls `visit` with start and length in bytes of each record of a file, in file order. */
export type RecordWalk = (visit: (start: number, byteLength: number) => void) => Promise<void>

export interface RecordBatch {
  /** The records, concatenated, each followed by `gap` zero bytes. */
  readonly bytes: Uint8Array
  readonly byteLengths: Uint32Array
  /** The number of each record in the table. */
  readonly records: Uint32Array
}

export class RecordTable {
  /** Number of records of all files. */
  count = 0
  private readonly starts: Float64Array[] = []
  private readonly byteLengths: Uint32Array[] = []
  private readonly files: { readonly file: RecordFile; readonly firstRecord: number }[] = []

  /** Adds the records of a file, or only those in the chunk. */
  async addFile(file: RecordFile, walk: RecordWalk, chunk: ChunkOption | undefined): Promise<void> {
    this.files.push({ file, firstRecord: this.count })
    if (chunk === undefined) return walk((start, byteLength) => this.add(start, byteLength))
    let count = 0
    await walk(() => {
      count++
    })
    const { start: first, end } = chunkRange(count, chunk.of, chunk.number)
    let record = 0
    await walk((start, byteLength) => {
      if (record >= first && record < end) this.add(start, byteLength)
      record++
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
   * The records in this order, from index `start` of the order, in batches of about one MiB. Reads are synchronous and
   * may wait for the disk, so it yields to the event loop between them.
   * @throws FILE_CHANGED when a file ends before one of its records does
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

  private async read(records: Uint32Array, total: number, gap: number, slices: TimeSlices): Promise<RecordBatch> {
    const bytes = new Uint8Array(total)
    const byteLengths = new Uint32Array(records.length)
    let at = 0
    for (const [index, record] of records.entries()) {
      if (index % RECORDS_PER_CLOCK_CHECK === 0 && slices.isExpired) await slices.yieldToEventLoop()
      const byteLength = this.byteLengthOf(record)
      byteLengths[index] = byteLength
      readRecord(this.fileOf(record), bytes, at, byteLength, this.startOf(record))
      at += byteLength + gap
    }
    return { bytes, byteLengths, records }
  }

  private startOf(record: number): number {
    return this.starts[Math.floor(record / BLOCK_RECORDS)]![record % BLOCK_RECORDS]!
  }

  private byteLengthOf(record: number): number {
    return this.byteLengths[Math.floor(record / BLOCK_RECORDS)]![record % BLOCK_RECORDS]!
  }

  /** Binary search for the file that contains a record. */
  private fileOf(record: number): RecordFile {
    let [low, high] = [0, this.files.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.files[middle]!.firstRecord <= record) low = middle
      else high = middle - 1
    }
    return this.files[low]!.file
  }
}

function readRecord(file: RecordFile, into: Uint8Array, at: number, byteLength: number, start: number): void {
  const read = readFullySync(file, into.subarray(at, at + byteLength), start)
  if (read < byteLength) {
    throw new PenstockError('FILE_CHANGED', 'the file became shorter while it was read', {
      file: file.path,
      byteOffset: start + read,
    })
  }
}
