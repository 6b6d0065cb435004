/**
 * The one kind of pickle that the file formats here need: a list of pairs of integers, `list[tuple[int, int]]`.
 * The writer emits, byte for byte, what CPython's `pickle.dumps` (protocol 4, the default of Python 3.8 to 3.13) makes
 * of a freshly built list. The reader knows these opcodes and nothing else, so no file can make it run or build
 * anything. Both work in pieces: memory does not grow with the list.
 *
 * | opcode | byte | argument | meaning |
 * | --- | --- | --- | --- |
 * | PROTO | 80 | u8 | protocol; first |
 * | FRAME | 95 | u64 LE | bytes of the opcodes that follow, up to the next frame; closed at >= 64 KiB |
 * | EMPTY_LIST | 5d | | the list |
 * | MEMOIZE, BINPUT, LONG_BINPUT | 94, 71, 72 | none, u8, u32 LE | remember the newest list or tuple |
 * | BINGET, LONG_BINGET | 68, 6a | u8, u32 LE | a remembered tuple once more |
 * | MARK ... APPENDS | 28 ... 65 | | up to 1,000 elements |
 * | APPEND | 61 | | one element |
 * | BININT1, BININT2, BININT | 4b, 4d, 4a | u8, u16 LE, i32 LE | an integer |
 * | LONG1 | 8a | u8 n, n bytes LE, two's complement | an integer from 2^31 up |
 * | TUPLE2 | 86 | | a pair of the two newest integers |
 * | STOP | 2e | | last |
 *
 * Source: CPython, Modules/_pickle.c and Lib/pickletools.py.
 */
import { PenstockError, type Where } from '../errors.js'

const PROTO = 0x80
const FRAME = 0x95
const EMPTY_LIST = 0x5d
const MEMOIZE = 0x94
const BINPUT = 0x71
const LONG_BINPUT = 0x72
const BINGET = 0x68
const LONG_BINGET = 0x6a
const MARK = 0x28
const APPENDS = 0x65
const APPEND = 0x61
const BININT1 = 0x4b
const BININT2 = 0x4d
const BININT = 0x4a
const LONG1 = 0x8a
const TUPLE2 = 0x86
const STOP = 0x2e

const FRAME_HEADER_BYTES = 9
/** A frame is closed before the first object that starts at or after this many bytes. */
const FRAME_TARGET_BYTES = 64 * 1024
/** CPython writes no frame header for fewer bytes than this. */
const FRAME_MIN_BYTES = 4
/** More than one pair and the opcodes around it take, so that one check at the pair's start is enough. */
const FRAME_SLACK_BYTES = 64
const APPENDS_BATCH = 1000

/** Writes the list piece by piece; holds one frame (64 KiB) and what `take` has not yet fetched. */
export class PairListPickler {
  /** The open frame, its header's room in front. */
  private readonly frame = new Uint8Array(FRAME_HEADER_BYTES + FRAME_TARGET_BYTES + FRAME_SLACK_BYTES)
  private end = FRAME_HEADER_BYTES
  private finished: Uint8Array[] = [Uint8Array.of(PROTO, 4)]
  private pairCount = 0
  private firstA = 0
  private firstB = 0

  constructor() {
    this.frame[this.end++] = EMPTY_LIST
    this.frame[this.end++] = MEMOIZE
  }

  /** Adds a pair of integers from 0 to 2^53 - 1. @throws PICKLE_INVALID for any other number */
  push(a: number, b: number): void {
    if (!Number.isSafeInteger(a) || !Number.isSafeInteger(b) || a < 0 || b < 0) {
      throw new PenstockError(
        'PICKLE_INVALID',
        `cannot pickle the pair (${a}, ${b}): integers from 0 to 2^53 - 1 only`,
        {
          record: this.pairCount,
        },
      )
    }
    const index = this.pairCount++
    // A list of one element is written without MARK, so the first pair waits for the second.
    if (index === 0) {
      this.firstA = a
      this.firstB = b
      return
    }
    if (index === 1) {
      this.frame[this.end++] = MARK
      this.writePair(this.firstA, this.firstB)
    } else if (index % APPENDS_BATCH === 0) {
      this.frame[this.end++] = APPENDS
      this.frame[this.end++] = MARK
    }
    this.writePair(a, b)
  }

  /** The bytes that are final so far, in order, each piece handed out once. The caller owns them. */
  take(): Uint8Array[] {
    const pieces = this.finished
    this.finished = []
    return pieces
  }

  /** Ends the list and returns the remaining bytes. Nothing may be pushed afterwards. */
  finish(): Uint8Array[] {
    if (this.pairCount === 1) {
      this.writePair(this.firstA, this.firstB)
      this.frame[this.end++] = APPEND
    } else if (this.pairCount > 1) {
      this.frame[this.end++] = APPENDS
    }
    this.frame[this.end++] = STOP
    this.closeFrame()
    return this.take()
  }

  private writePair(a: number, b: number): void {
    this.closeFullFrame()
    this.writeInteger(a)
    this.writeInteger(b)
    this.frame[this.end++] = TUPLE2
    this.frame[this.end++] = MEMOIZE
  }

  private writeInteger(value: number): void {
    this.closeFullFrame()
    const { frame } = this
    let end = this.end
    if (value < 0x100) {
      frame[end++] = BININT1
      frame[end++] = value
    } else if (value < 0x10000) {
      frame[end++] = BININT2
      frame[end++] = value
      frame[end++] = value >>> 8
    } else if (value < 0x80000000) {
      frame[end++] = BININT
      frame[end++] = value
      frame[end++] = value >>> 8
      frame[end++] = value >>> 16
      frame[end++] = value >>> 24
    } else {
      // One bit more than the number has: the sign.
      const length = Math.floor(bitLength(value) / 8) + 1
      frame[end++] = LONG1
      frame[end++] = length
      for (let i = 0, rest = value; i < length; i++, rest = Math.floor(rest / 256)) frame[end++] = rest % 256
    }
    this.end = end
  }

  /** CPython looks at the frame's size before each object, also between the two integers of a pair. */
  private closeFullFrame(): void {
    if (this.end >= FRAME_HEADER_BYTES + FRAME_TARGET_BYTES) this.closeFrame()
  }

  private closeFrame(): void {
    const byteLength = this.end - FRAME_HEADER_BYTES
    if (byteLength >= FRAME_MIN_BYTES) {
      this.frame[0] = FRAME
      new DataView(this.frame.buffer).setBigUint64(1, BigInt(byteLength), true)
      this.finished.push(this.frame.slice(0, this.end))
    } else {
      this.finished.push(this.frame.slice(FRAME_HEADER_BYTES, this.end))
    }
    this.end = FRAME_HEADER_BYTES
  }
}

function bitLength(value: number): number {
  return value < 0x100000000 ? 32 - Math.clz32(value) : 64 - Math.clz32(value / 0x100000000)
}

/**
 * Takes the pairs of the list, in order: [a0, b0, a1, b1, ...]. The array is a view of a buffer that is used again;
 * it holds good until the function returns.
 */
export type OnPairs = (pairs: Float64Array) => void

const BLOCK_PAIRS = 8192
/** Tuples that BINGET can reach. CPython repeats a tuple only if one object stands in the list twice. */
const MEMO_LIMIT = 1 << 16
const ENDED = -1

/**
 * Reads the list from pieces of any size, protocols 2 to 5. `onPairs` sees pairs before the end of the file is known to
 * be sound: believe them only after `end`.
 */
export class PairListReader {
  private readonly onPairs: OnPairs
  private readonly where: Where
  private readonly block = new Float64Array(2 * BLOCK_PAIRS)
  private blockLength = 0
  private pairCount = 0

  /** The start of an opcode whose argument has not arrived yet. */
  private rest = new Uint8Array(0)
  /** Offset in the file of the bytes being parsed. */
  private byteOffset = 0
  /** End of the open frame in the file, 0 when no frame is open, ENDED after STOP. */
  private frameEnd = 0

  private protocolSeen = false
  private listMade = false
  private inBatch = false
  /** Integers on the stack: 0, 1 or 2. */
  private integers = 0
  private a = 0
  private b = 0
  /** A tuple outside of MARK ... APPENDS, waiting for APPEND. */
  private tupleWaits = false
  /** What a MEMOIZE right now would remember. */
  private newest: 'list' | 'tuple' | undefined
  private memoCount = 0
  private readonly memo: number[] = []

  /** `where` names the file in errors; a byteOffset in it is that of the pickle's first byte. */
  constructor(onPairs: OnPairs, where: Where = {}) {
    this.onPairs = onPairs
    this.where = where
  }

  /** @throws PICKLE_INVALID at the first byte that no list of pairs of non-negative integers has there */
  feed(chunk: Uint8Array): void {
    const bytes = this.rest.length === 0 ? chunk : concatenate([this.rest, chunk])
    const parsed = this.parse(bytes)
    this.rest = bytes.slice(parsed)
    this.byteOffset += parsed
  }

  /** Call it after the last piece. Returns the number of pairs. @throws PICKLE_INVALID if the list has not ended */
  end(): number {
    if (this.frameEnd !== ENDED) this.fail(this.rest.length, 'the file ends inside the list')
    return this.pairCount
  }

  /** Handles the whole opcodes in `bytes`; returns where the first incomplete one starts. */
  private parse(bytes: Uint8Array): number {
    const { byteOffset } = this
    let position = 0
    while (position < bytes.length) {
      if (this.frameEnd === ENDED) this.fail(position, 'bytes after the end of the list')
      if (this.frameEnd !== 0 && byteOffset + position >= this.frameEnd) this.leaveFrame(position)
      const opcode = bytes[position]!
      const length = opcodeLength(opcode, bytes[position + 1])
      if (length === 0) this.fail(position, `opcode 0x${opcode.toString(16).padStart(2, '0')}`)
      if (position + length > bytes.length) break
      this.run(opcode, bytes, position, length)
      position += length
    }
    this.flush()
    return position
  }

  private run(opcode: number, bytes: Uint8Array, position: number, length: number): void {
    if (!this.protocolSeen && opcode !== PROTO) this.fail(position, 'no protocol number at the start')
    const argument = (): number => littleEndian(bytes, position + 1, length - 1)
    switch (opcode) {
      case BININT1:
      case BININT2:
        this.pushInteger(argument(), position)
        break
      case BININT:
        this.pushInteger(withoutSign(argument(), 4), position)
        break
      case LONG1:
        this.pushInteger(withoutSign(littleEndian(bytes, position + 2, length - 2), length - 2), position)
        break
      case TUPLE2:
        this.require(this.integers === 2, position, 'a pair without two integers')
        this.integers = 0
        this.pushTuple(this.a, this.b)
        break
      case MEMOIZE:
        this.remember(this.memoCount, position)
        break
      case BINPUT:
      case LONG_BINPUT:
        this.remember(argument(), position)
        break
      case BINGET:
      case LONG_BINGET:
        this.recall(argument(), position)
        break
      case MARK:
      case APPENDS:
      case APPEND:
        this.append(opcode, position)
        break
      default:
        this.runOnce(opcode, bytes, position)
    }
  }

  /** The opcodes that come once in a list or a frame. */
  private runOnce(opcode: number, bytes: Uint8Array, position: number): void {
    if (opcode === FRAME) {
      this.require(this.frameEnd === 0, position, 'a frame inside a frame')
      const start = this.byteOffset + position + FRAME_HEADER_BYTES
      this.frameEnd = start + littleEndian(bytes, position + 1, 8)
      this.require(Number.isSafeInteger(this.frameEnd) && this.frameEnd > start, position, 'an impossible frame length')
    } else if (opcode === PROTO) {
      const protocol = bytes[position + 1]!
      this.require(!this.protocolSeen, position, 'a second protocol number')
      this.require(protocol >= 2 && protocol <= 5, position, `protocol ${protocol}`)
      this.protocolSeen = true
    } else if (opcode === EMPTY_LIST) {
      this.require(!this.listMade, position, 'a second list')
      this.listMade = true
      this.newest = 'list'
    } else {
      this.require(this.isBetweenElements(), position, 'an end inside the list')
      const atFrameEnd = this.frameEnd === 0 || this.frameEnd === this.byteOffset + position + 1
      this.require(atFrameEnd, position, 'an end before the end of its frame')
      this.frameEnd = ENDED
    }
  }

  private append(opcode: number, position: number): void {
    this.newest = undefined
    if (opcode === MARK) {
      this.require(this.isBetweenElements(), position, 'a mark out of place')
      this.inBatch = true
    } else if (opcode === APPENDS) {
      this.require(this.inBatch && this.integers === 0, position, 'an append out of place')
      this.inBatch = false
    } else {
      this.require(this.tupleWaits && this.integers === 0, position, 'an append out of place')
      this.tupleWaits = false
    }
  }

  private isBetweenElements(): boolean {
    return this.listMade && !this.inBatch && !this.tupleWaits && this.integers === 0
  }

  private pushInteger(value: number, position: number): void {
    this.require(Number.isSafeInteger(value), position, 'an integer below 0 or above 2^53 - 1')
    this.require(this.listMade && !this.tupleWaits && this.integers < 2, position, 'an integer out of place')
    this.newest = undefined
    if (this.integers++ === 0) this.a = value
    else this.b = value
  }

  private pushTuple(a: number, b: number): void {
    this.tupleWaits = !this.inBatch
    this.a = a
    this.b = b
    this.newest = 'tuple'
    this.pairCount++
    this.block[this.blockLength++] = a
    this.block[this.blockLength++] = b
    if (this.blockLength === this.block.length) this.flush()
  }

  private remember(index: number, position: number): void {
    this.require(this.newest !== undefined && index === this.memoCount, position, 'a memo out of order')
    if (index < MEMO_LIMIT) {
      this.memo[2 * index] = this.newest === 'tuple' ? this.a : Number.NaN
      this.memo[2 * index + 1] = this.b
    }
    this.newest = undefined
    this.memoCount++
  }

  private recall(index: number, position: number): void {
    const a = this.memo[2 * index]
    this.require(index < MEMO_LIMIT, position, `a repeated tuple that is not among the first ${MEMO_LIMIT}`)
    this.require(a !== undefined && !Number.isNaN(a), position, 'a repeated tuple that was not remembered')
    this.require(this.integers === 0 && !this.tupleWaits, position, 'a tuple out of place')
    this.pushTuple(a!, this.memo[2 * index + 1]!)
    this.newest = undefined
  }

  private leaveFrame(position: number): void {
    this.require(this.byteOffset + position === this.frameEnd, position, 'an opcode across the end of a frame')
    this.frameEnd = 0
  }

  private flush(): void {
    if (this.blockLength > 0) this.onPairs(this.block.subarray(0, this.blockLength))
    this.blockLength = 0
  }

  private require(holds: boolean, position: number, found: string): void {
    if (!holds) this.fail(position, found)
  }

  private fail(position: number, found: string): never {
    throw new PenstockError('PICKLE_INVALID', `not a pickled list of pairs of integers: ${found}`, {
      ...this.where,
      byteOffset: (this.where.byteOffset ?? 0) + this.byteOffset + position,
    })
  }
}

/** Reads a whole list: [a0, b0, a1, b1, ...]. @throws PICKLE_INVALID */
export function readPairList(bytes: Uint8Array, where: Where = {}): Float64Array {
  const blocks: Float64Array[] = []
  const reader = new PairListReader(pairs => blocks.push(pairs.slice()), where)
  reader.feed(bytes)
  const all = new Float64Array(2 * reader.end())
  let length = 0
  for (const block of blocks) {
    all.set(block, length)
    length += block.length
  }
  return all
}

/** Writes a whole list. @throws PICKLE_INVALID for what is not an integer from 0 to 2^53 - 1 */
export function writePairList(pairs: Iterable<readonly [number, number]>): Uint8Array {
  const pickler = new PairListPickler()
  const pieces: Uint8Array[] = []
  for (const [a, b] of pairs) {
    pickler.push(a, b)
    pieces.push(...pickler.take())
  }
  return concatenate([...pieces, ...pickler.finish()])
}

/** Bytes of the opcode with its argument, 0 for an opcode that no list of pairs has. */
function opcodeLength(opcode: number, argument: number | undefined): number {
  switch (opcode) {
    case PROTO:
    case BININT1:
    case BINPUT:
    case BINGET:
      return 2
    case BININT2:
      return 3
    case BININT:
    case LONG_BINPUT:
    case LONG_BINGET:
      return 5
    case FRAME:
      return FRAME_HEADER_BYTES
    case LONG1:
      // Eight bytes hold every integer below 2^53; a longer one is not read at all.
      return argument === undefined ? 2 : argument <= 8 ? 2 + argument : 0
    case EMPTY_LIST:
    case MEMOIZE:
    case MARK:
    case APPENDS:
    case APPEND:
    case TUPLE2:
    case STOP:
      return 1
    default:
      return 0
  }
}

/** Unsigned; exact up to 2^53, above that only large. */
function littleEndian(bytes: Uint8Array, start: number, length: number): number {
  let value = 0
  for (let i = start + length - 1; i >= start; i--) value = value * 256 + bytes[i]!
  return value
}

/** A two's complement number of `length` bytes, read as unsigned; NaN if it is negative. */
function withoutSign(value: number, length: number): number {
  return length === 0 || value < 2 ** (8 * length - 1) ? value : Number.NaN
}

function concatenate(pieces: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0))
  let length = 0
  for (const piece of pieces) {
    whole.set(piece, length)
    length += piece.length
  }
  return whole
}
