/**
 * The only kind of pickle used by the file formats here: a list of pairs of integers, `list[tuple[int, int]]`. The writer
 * emits exactly the bytes of CPython's `pickle.dumps` (protocol 4, the default of Python 3.8 to 3.13) for a newly built
 * list. Streaming: memory does not grow with the list. The reader is pickle-reader.ts.
 *
 * | opcode | byte | argument | meaning |
 * | --- | --- | --- | --- |
 * | PROTO | 80 | u8 | protocol; first |
 * | FRAME | 95 | u64 LE | size of the opcodes up to the next frame; closed at >= 64 KiB |
 * | EMPTY_LIST | 5d | | the list |
 * | MEMOIZE, BINPUT, LONG_BINPUT | 94, 71, 72 | none, u8, u32 LE | memoize the newest list or tuple |
 * | BINGET, LONG_BINGET | 68, 6a | u8, u32 LE | reference to a memoized tuple |
 * | MARK ... APPENDS | 28 ... 65 | | up to 1,000 elements |
 * | APPEND | 61 | | one element |
 * | BININT1, BININT2, BININT | 4b, 4d, 4a | u8, u16 LE, i32 LE | an integer |
 * | LONG1 | 8a | u8 n, n bytes LE, two's complement | an integer of at least 2^31 |
 * | TUPLE2 | 86 | | a pair of the two newest integers |
 * | STOP | 2e | | last |
 *
 * Source: CPython, Modules/_pickle.c and Lib/pickletools.py.
 */
import { PenstockError } from '../errors.js'

/** The opcodes; see the table above. */
export const OP = {
  PROTO: 0x80,
  FRAME: 0x95,
  EMPTY_LIST: 0x5d,
  MEMOIZE: 0x94,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
  MARK: 0x28,
  APPENDS: 0x65,
  APPEND: 0x61,
  BININT1: 0x4b,
  BININT2: 0x4d,
  BININT: 0x4a,
  LONG1: 0x8a,
  TUPLE2: 0x86,
  STOP: 0x2e,
} as const

export const FRAME_HEADER_BYTES = 9
/** A frame is closed before the first object that starts at or after this many bytes. */
const FRAME_TARGET_BYTES = 64 * 1024
/** CPython omits the frame header for fewer bytes. */
const FRAME_MIN_BYTES = 4
/** Upper bound of the bytes written between two checks of the frame's size. */
const FRAME_SLACK_BYTES = 64
const APPENDS_BATCH = 1000

/** State of a pickler between two pairs, after all finished bytes were taken. */
export interface PicklerState {
  /** The open frame, with space for its header, which is not written yet. */
  readonly frame: Uint8Array
  readonly pairCount: number
  readonly firstA: number
  readonly firstB: number
}

/** Streaming writer of the list; buffers one frame (64 KiB) and the finished bytes that were not taken yet. */
export class PairListPickler {
  /** The open frame, with space for its header at the start. */
  private readonly frame = new Uint8Array(FRAME_HEADER_BYTES + FRAME_TARGET_BYTES + FRAME_SLACK_BYTES)
  private end = FRAME_HEADER_BYTES
  /** Finished bytes that were not taken yet: the start of a reused buffer. */
  private finished = Uint8Array.of(OP.PROTO, 4)
  private finishedBytes = 2
  private pairCount = 0
  private firstA = 0
  private firstB = 0

  /** @param from state from which to continue a list whose earlier bytes were written */
  constructor(from?: PicklerState) {
    if (from === undefined) {
      this.frame[this.end++] = OP.EMPTY_LIST
      this.frame[this.end++] = OP.MEMOIZE
      return
    }
    this.frame.set(from.frame)
    this.end = from.frame.length
    this.finishedBytes = 0
    this.pairCount = from.pairCount
    this.firstA = from.firstA
    this.firstB = from.firstB
  }

  /** A copy of the state; valid after `take`. */
  state(): PicklerState {
    const { pairCount, firstA, firstB } = this
    return { frame: this.frame.slice(0, this.end), pairCount, firstA, firstB }
  }

  /** Adds a pair of integers from 0 to 2^53 - 1. @throws PICKLE_INVALID for any other number */
  push(a: number, b: number): void {
    if (!Number.isSafeInteger(a) || !Number.isSafeInteger(b) || a < 0 || b < 0) {
      const message = `cannot pickle the pair (${a}, ${b}): integers from 0 to 2^53 - 1 only`
      throw new PenstockError('PICKLE_INVALID', message, { record: this.pairCount })
    }
    const index = this.pairCount++
    // A list of one element has no MARK, so the first pair is held back until the second.
    if (index === 0) {
      this.firstA = a
      this.firstB = b
      return
    }
    if (index === 1) {
      this.frame[this.end++] = OP.MARK
      this.writePair(this.firstA, this.firstB)
    } else if (index % APPENDS_BATCH === 0) {
      this.frame[this.end++] = OP.APPENDS
      this.frame[this.end++] = OP.MARK
    }
    this.writePair(a, b)
  }

  /** Bytes finished since the last call. Valid until the next pair is pushed. */
  take(): Uint8Array {
    const taken = this.finished.subarray(0, this.finishedBytes)
    this.finishedBytes = 0
    return taken
  }

  /** Ends the list and returns the remaining bytes. No pair may be pushed afterwards. */
  finish(): Uint8Array {
    if (this.pairCount === 1) {
      this.writePair(this.firstA, this.firstB)
      this.frame[this.end++] = OP.APPEND
    } else if (this.pairCount > 1) {
      this.frame[this.end++] = OP.APPENDS
    }
    this.frame[this.end++] = OP.STOP
    this.closeFrame()
    return this.take()
  }

  private writePair(a: number, b: number): void {
    this.closeFullFrame()
    this.writeInteger(a)
    this.writeInteger(b)
    this.frame[this.end++] = OP.TUPLE2
    this.frame[this.end++] = OP.MEMOIZE
  }

  private writeInteger(value: number): void {
    this.closeFullFrame()
    const { frame } = this
    let end = this.end
    if (value < 0x100) {
      frame[end++] = OP.BININT1
      frame[end++] = value
    } else if (value < 0x10000) {
      frame[end++] = OP.BININT2
      frame[end++] = value
      frame[end++] = value >>> 8
    } else if (value < 0x80000000) {
      frame[end++] = OP.BININT
      frame[end++] = value
      frame[end++] = value >>> 8
      frame[end++] = value >>> 16
      frame[end++] = value >>> 24
    } else {
      // One more bit, for the sign.
      const length = Math.floor(bitLength(value) / 8) + 1
      frame[end++] = OP.LONG1
      frame[end++] = length
      for (let i = 0, rest = value; i < length; i++, rest = Math.floor(rest / 256)) frame[end++] = rest % 256
    }
    this.end = end
  }

  /** CPython checks the frame's size before each object, including between the two integers of a pair. */
  private closeFullFrame(): void {
    if (this.end >= FRAME_HEADER_BYTES + FRAME_TARGET_BYTES) this.closeFrame()
  }

  private closeFrame(): void {
    const byteLength = this.end - FRAME_HEADER_BYTES
    if (byteLength >= FRAME_MIN_BYTES) {
      this.frame[0] = OP.FRAME
      new DataView(this.frame.buffer).setBigUint64(1, BigInt(byteLength), true)
      this.addFinished(this.frame.subarray(0, this.end))
    } else {
      this.addFinished(this.frame.subarray(FRAME_HEADER_BYTES, this.end))
    }
    this.end = FRAME_HEADER_BYTES
  }

  private addFinished(bytes: Uint8Array): void {
    const needed = this.finishedBytes + bytes.length
    if (needed > this.finished.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.finished.length))
      larger.set(this.finished.subarray(0, this.finishedBytes))
      this.finished = larger
    }
    this.finished.set(bytes, this.finishedBytes)
    this.finishedBytes = needed
  }
}

function bitLength(value: number): number {
  return value < 0x100000000 ? 32 - Math.clz32(value) : 64 - Math.clz32(value / 0x100000000)
}

/** Encodes a complete list. @throws PICKLE_INVALID for anything but integers from 0 to 2^53 - 1 */
export function writePairList(pairs: Iterable<readonly [number, number]>): Uint8Array {
  const pickler = new PairListPickler()
  for (const [a, b] of pairs) pickler.push(a, b)
  return pickler.finish()
}

export function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let length = 0
  for (const piece of pieces) {
    whole.set(piece, length)
    length += piece.length
  }
  return whole
}
