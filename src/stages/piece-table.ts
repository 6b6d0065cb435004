/**
 * Pieces of files (documents, lines), each known by its place, read in any order. A piece takes 12 bytes however long it
 * is, and the table grows by blocks: ten million pieces are 120 MB and never copied into something larger.
 */
import { PenstockError } from '../errors.js'
import { chunkRange } from '../sampling/chunk.js'
import type { ChunkOption } from './document-order.js'
import { readFullySync } from './read-at.js'
import { Turns } from './turns.js'

const BLOCK_PIECES = 1 << 16
const BATCH_BYTES = 1 << 20
const BATCH_PIECES = 1 << 15
/** Pieces that are read before a look at the clock. */
const PIECES_AT_ONCE = 64

/** A file that pieces lie in; its owner keeps it open. */
export interface PieceFile {
  readonly path: string
  readonly fd: number
}

/** Calls `visit` with start and length in bytes of each piece of a file, in the file's order. */
export type PieceWalk = (visit: (start: number, byteLength: number) => void) => Promise<void>

export interface PieceBatch {
  /** The pieces one behind the other, `gap` bytes of zero behind each. */
  readonly bytes: Uint8Array
  readonly byteLengths: Uint32Array
  /** The number of each piece in the table. */
  readonly pieces: Uint32Array
}

export class PieceTable {
  /** Pieces of all files. */
  count = 0
  private readonly starts: Float64Array[] = []
  private readonly byteLengths: Uint32Array[] = []
  private readonly files: { readonly file: PieceFile; readonly firstPiece: number }[] = []

  /** Adds the pieces of a file, or its share of a chunk. */
  async addFile(file: PieceFile, walk: PieceWalk, chunk: ChunkOption | undefined): Promise<void> {
    this.files.push({ file, firstPiece: this.count })
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
    const place = this.count++ % BLOCK_PIECES
    if (place === 0) {
      this.starts.push(new Float64Array(BLOCK_PIECES))
      this.byteLengths.push(new Uint32Array(BLOCK_PIECES))
    }
    this.starts.at(-1)![place] = start
    this.byteLengths.at(-1)![place] = byteLength
  }

  /**
   * The pieces in this order, from a place in it on, in batches of about one MiB. Reads may wait for the disk, so others
   * have their turn between them.
   * @throws FILE_CHANGED when a file ends before a piece of it does
   */
  async *inOrder(order: Uint32Array, signal: AbortSignal, gap = 0, start = 0): AsyncGenerator<PieceBatch> {
    const turns = new Turns(signal)
    for (let from = start; from < order.length; ) {
      let to = from
      let total = 0
      while (to < order.length && to - from < BATCH_PIECES && (to === from || total < BATCH_BYTES)) {
        total += this.byteLengthOf(order[to++]!) + gap
      }
      yield await this.read(order.slice(from, to), total, gap, turns)
      from = to
    }
  }

  private async read(pieces: Uint32Array, total: number, gap: number, turns: Turns): Promise<PieceBatch> {
    const bytes = new Uint8Array(total)
    const byteLengths = new Uint32Array(pieces.length)
    let at = 0
    for (const [index, piece] of pieces.entries()) {
      if (index % PIECES_AT_ONCE === 0 && turns.isOver) await turns.next()
      const byteLength = this.byteLengthOf(piece)
      byteLengths[index] = byteLength
      readPiece(this.fileOf(piece), bytes, at, byteLength, this.startOf(piece))
      at += byteLength + gap
    }
    return { bytes, byteLengths, pieces }
  }

  private startOf(piece: number): number {
    return this.starts[Math.floor(piece / BLOCK_PIECES)]![piece % BLOCK_PIECES]!
  }

  private byteLengthOf(piece: number): number {
    return this.byteLengths[Math.floor(piece / BLOCK_PIECES)]![piece % BLOCK_PIECES]!
  }

  /** By bisection: the last file whose first piece is not behind this one. */
  private fileOf(piece: number): PieceFile {
    let [low, high] = [0, this.files.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.files[middle]!.firstPiece <= piece) low = middle
      else high = middle - 1
    }
    return this.files[low]!.file
  }
}

function readPiece(file: PieceFile, into: Uint8Array, at: number, byteLength: number, start: number): void {
  const read = readFullySync(file, into.subarray(at, at + byteLength), start)
  if (read < byteLength) {
    throw new PenstockError('FILE_CHANGED', 'the file ends earlier than when it was first read', {
      file: file.path,
      byteOffset: start + read,
    })
  }
}
