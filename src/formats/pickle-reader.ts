/**
 * Reads a pickled list of pairs of integers; pickle.ts has the layout and the writer. It implements only the opcodes of such
 * a list, so a file cannot make it execute or construct anything. Streaming: memory does not grow with the list.
 */
import { PenstockError, type Where } from '../errors.js'
import { concatenate, FRAME_HEADER_BYTES, OP } from './pickle.js'

/**
 * Receives the pairs of the list in order: [a0, b0, a1, b1, ...]. The array is a view of a reused buffer and is valid until
 * the function returns.
 */
export type OnPairs = (pairs: Float64Array) => void

const BLOCK_PAIRS = 8192
/** Tuples that BINGET can reference. CPython references a tuple only if the list contains the same object twice. */
const MEMO_LIMIT = 1 << 16
const ENDED = -1

/**
 * Reads the list in chunks of any size, protocols 2 to 5. `onPairs` receives pairs before the rest of the file has been
 * validated: trust them only after `end`.
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
  /** Whether a tuple outside of MARK ... APPENDS is waiting for APPEND. */
  private tuplePending = false
  /** Kind of object that a MEMOIZE would memoize now. */
  private newest: 'list' | 'tuple' | undefined
  private memoCount = 0
  private readonly memo: number[] = []

  /** `where` locates the file in errors; its byteOffset, if set, is that of the pickle's first byte. */
  constructor(onPairs: OnPairs, where: Where = {}) {
    this.onPairs = onPairs
    this.where = where
  }

  /** @throws PICKLE_INVALID at the first byte that is not valid in a list of pairs of non-negative integers */
  feed(chunk: Uint8Array): void {
    const bytes = this.rest.length === 0 ? chunk : concatenate([this.rest, chunk])
    const parsed = this.parse(bytes)
    this.rest = bytes.slice(parsed)
    this.byteOffset += parsed
  }

  /** Ends the input; returns the number of pairs. @throws PICKLE_INVALID if the list is incomplete */
  end(): number {
    if (this.frameEnd !== ENDED) this.fail(this.rest.length, 'the file ends inside the list')
    return this.pairCount
  }

  /** Processes the complete opcodes in `bytes`; returns the start of the first incomplete one. */
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
    if (!this.protocolSeen && opcode !== OP.PROTO) this.fail(position, 'no protocol number at the start')
    // Most opcodes need it; computing it on demand would allocate a closure per opcode.
    const argument = littleEndian(bytes, position + 1, length - 1)
    switch (opcode) {
      case OP.BININT1:
      case OP.BININT2:
        this.pushInteger(argument, position)
        break
      case OP.BININT:
        this.pushInteger(withoutSign(argument, 4), position)
        break
      case OP.LONG1:
        this.pushInteger(withoutSign(littleEndian(bytes, position + 2, length - 2), length - 2), position)
        break
      case OP.TUPLE2:
        this.require(this.integers === 2, position, 'a pair without two integers')
        this.integers = 0
        this.pushTuple(this.a, this.b)
        break
      case OP.MEMOIZE:
        this.remember(this.memoCount, position)
        break
      case OP.BINPUT:
      case OP.LONG_BINPUT:
        this.remember(argument, position)
        break
      case OP.BINGET:
      case OP.LONG_BINGET:
        this.recall(argument, position)
        break
      case OP.MARK:
      case OP.APPENDS:
      case OP.APPEND:
        this.append(opcode, position)
        break
      default:
        this.runOnce(opcode, bytes, position)
    }
  }

  /** Opcodes that occur once per list or frame. */
  private runOnce(opcode: number, bytes: Uint8Array, position: number): void {
    if (opcode === OP.FRAME) {
      this.require(this.frameEnd === 0, position, 'a frame inside a frame')
      const start = this.byteOffset + position + FRAME_HEADER_BYTES
      this.frameEnd = start + littleEndian(bytes, position + 1, 8)
      this.require(Number.isSafeInteger(this.frameEnd) && this.frameEnd > start, position, 'an impossible frame length')
    } else if (opcode === OP.PROTO) {
      const protocol = bytes[position + 1]!
      this.require(!this.protocolSeen, position, 'a second protocol number')
      this.require(protocol >= 2 && protocol <= 5, position, `protocol ${protocol}`)
      this.protocolSeen = true
    } else if (opcode === OP.EMPTY_LIST) {
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
    if (opcode === OP.MARK) {
      this.require(this.isBetweenElements(), position, 'a mark out of place')
      this.inBatch = true
    } else if (opcode === OP.APPENDS) {
      this.require(this.inBatch && this.integers === 0, position, 'an append out of place')
      this.inBatch = false
    } else {
      this.require(this.tuplePending && this.integers === 0, position, 'an append out of place')
      this.tuplePending = false
    }
  }

  private isBetweenElements(): boolean {
    return this.listMade && !this.inBatch && !this.tuplePending && this.integers === 0
  }

  private pushInteger(value: number, position: number): void {
    this.require(Number.isSafeInteger(value), position, 'an integer below 0 or above 2^53 - 1')
    this.require(this.listMade && !this.tuplePending && this.integers < 2, position, 'an integer out of place')
    this.newest = undefined
    if (this.integers++ === 0) this.a = value
    else this.b = value
  }

  private pushTuple(a: number, b: number): void {
    this.tuplePending = !this.inBatch
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
    this.require(index < MEMO_LIMIT, position, `a reference to a tuple that is not among the first ${MEMO_LIMIT}`)
    this.require(a !== undefined && !Number.isNaN(a), position, 'a reference to a tuple that was not memoized')
    this.require(this.integers === 0 && !this.tuplePending, position, 'a tuple out of place')
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

/** Reads a complete list: [a0, b0, a1, b1, ...]. @throws PICKLE_INVALID */
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

/** Length of an opcode with its argument, or 0 for one that does not occur in a list of pairs. */
function opcodeLength(opcode: number, argument: number | undefined): number {
  switch (opcode) {
    case OP.PROTO:
    case OP.BININT1:
    case OP.BINPUT:
    case OP.BINGET:
      return 2
    case OP.BININT2:
      return 3
    case OP.BININT:
    case OP.LONG_BINPUT:
    case OP.LONG_BINGET:
      return 5
    case OP.FRAME:
      return FRAME_HEADER_BYTES
    case OP.LONG1:
      // Eight bytes hold every integer below 2^53; longer ones are rejected.
      return argument === undefined ? 2 : argument <= 8 ? 2 + argument : 0
    case OP.EMPTY_LIST:
    case OP.MEMOIZE:
    case OP.MARK:
    case OP.APPENDS:
    case OP.APPEND:
    case OP.TUPLE2:
    case OP.STOP:
      return 1
    default:
      return 0
  }
}

/** Decodes an unsigned integer; exact up to 2^53. */
function littleEndian(bytes: Uint8Array, start: number, length: number): number {
  let value = 0
  for (let i = start + length - 1; i >= start; i--) value = value * 256 + bytes[i]!
  return value
}

/** The value of a two's complement number of `length` bytes that was read as unsigned; NaN if it is negative. */
function withoutSign(value: number, length: number): number {
  return length === 0 || value < 2 ** (8 * length - 1) ? value : Number.NaN
}
