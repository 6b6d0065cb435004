/**
 * Byte-pair merging of one word: always the pair of lowest rank, the leftmost among equals. Short words are scanned; long
 * ones use a heap with lazy deletion, so that no input takes quadratic time.
 */
import { codePointAt, sequenceLength } from '../patterns/pretokenize.js'

/** No such token, pair or rank. */
export const NONE = 0xffffffff

/** Words of up to this many symbols are scanned for their best pair; the heap is faster above. */
const SCAN_LIMIT = 64

/** Merge i joins left[i] and right[i] to the token result[rank[i]]; of equal pairs the last one wins. */
export interface Merges {
  readonly left: Uint32Array
  readonly right: Uint32Array
  /** By rank. */
  readonly result: Uint32Array
  /** Omitted if the rank of each merge is its index. */
  readonly rank?: Uint32Array
}

/** Initial symbols of a word, before merging. */
export interface Symbols {
  /** `bytes`: one symbol per byte. `characters`: one per code point, with byte fallback and unknown token. */
  readonly unit: 'bytes' | 'characters'
  /** Token of each byte (`bytes`: of its character in the byte alphabet; `characters`: of <0xNN>), or NONE. */
  readonly byteIds: Uint32Array
  /**
   * `bytes`: one bit per pair of bytes (index: first | second << 8), whether some token contains them next to each other.
   * Long words may be split between bytes whose bit is 0. Empty for `characters`.
   */
  readonly innerPairs: Uint8Array
  /** Token of each single code point; empty for `bytes`. */
  readonly characterIds: ReadonlyMap<number, number>
  readonly byteFallback: boolean
  /** Token for text without a symbol, or NONE: such text is dropped. */
  readonly unknownId: number
  readonly fuseUnknown: boolean
}

/** Open-addressing table (left, right) -> rank; four words per entry keep it within one cache line. */
export class PairTable {
  private readonly entries: Uint32Array
  private readonly mask: number

  constructor(merges: Merges) {
    let bits = 4
    while (1 << bits < merges.left.length * 2.5) bits++
    this.mask = (1 << bits) - 1
    this.entries = new Uint32Array(4 << bits).fill(NONE)
    for (let i = 0; i < merges.left.length; i++) {
      const slot = this.slotOf(merges.left[i]!, merges.right[i]!)
      this.entries.set([merges.left[i]!, merges.right[i]!, merges.rank?.[i] ?? i], slot)
    }
  }

  /** Position of the pair's entry, or of the empty slot for it. */
  private slotOf(left: number, right: number): number {
    let hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)
    hash ^= hash >>> 15
    for (let slot = hash & this.mask; ; slot = (slot + 1) & this.mask) {
      const at = slot * 4
      const found = this.entries[at]!
      if ((found === left && this.entries[at + 1] === right) || this.entries[at + 2] === NONE) return at
    }
  }

  /** Rank of the pair, or NONE. */
  rankOf(left: number, right: number): number {
    return this.entries[this.slotOf(left, right) + 2]!
  }
}

/** Merges symbols that a subclass puts into `ids`. */
export class SymbolMerger {
  /** The tokens of the last merged word; valid until the next call. */
  ids = new Uint32Array(1024)
  private readonly ranks = new Uint32Array(SCAN_LIMIT)
  private readonly pairs: PairTable
  private readonly results: Uint32Array
  private readonly heap = new PairHeap()
  private next = new Int32Array(0)
  private previous = new Int32Array(0)

  constructor(merges: Merges) {
    this.pairs = new PairTable(merges)
    this.results = merges.result
  }

  /** Merges the first symbols of `ids` in place; returns the number of tokens. */
  protected mergeSymbols(count: number): number {
    if (count < 2) return count
    return count <= SCAN_LIMIT ? this.mergeByScanning(count) : this.mergeByHeap(count)
  }

  private mergeByScanning(symbolCount: number): number {
    const { ids, ranks, pairs } = this
    let pairCount = symbolCount - 1
    for (let i = 0; i < pairCount; i++) ranks[i] = pairs.rankOf(ids[i]!, ids[i + 1]!)
    while (pairCount > 0) {
      let best = 0
      for (let i = 1; i < pairCount; i++) if (ranks[i]! < ranks[best]!) best = i
      const rank = ranks[best]!
      if (rank === NONE) break
      const merged = this.results[rank]!
      ids[best] = merged
      ids.copyWithin(best + 1, best + 2, pairCount + 1)
      ranks.copyWithin(best, best + 1, pairCount)
      pairCount--
      if (best > 0) ranks[best - 1] = pairs.rankOf(ids[best - 1]!, merged)
      if (best < pairCount) ranks[best] = pairs.rankOf(merged, ids[best + 1]!)
    }
    return pairCount + 1
  }

  /** Symbols form a linked list by position; merged-away symbols are NONE, and stale heap entries are skipped. */
  private mergeByHeap(symbolCount: number): number {
    const { ids, heap, pairs } = this
    if (this.next.length < symbolCount) {
      this.next = new Int32Array(symbolCount * 2)
      this.previous = new Int32Array(symbolCount * 2)
    }
    const { next, previous } = this
    heap.clear()
    for (let i = 0; i < symbolCount; i++) {
      next[i] = i + 1 < symbolCount ? i + 1 : -1
      previous[i] = i - 1
      if (i > 0) heap.push(pairs.rankOf(ids[i - 1]!, ids[i]!), i - 1)
    }
    while (heap.pop()) {
      const at = heap.position
      const right = next[at]!
      if (ids[at] === NONE || right < 0 || pairs.rankOf(ids[at]!, ids[right]!) !== heap.rank) continue
      const merged = this.results[heap.rank]!
      ids[at] = merged
      ids[right] = NONE
      const after = next[right]!
      next[at] = after
      if (after >= 0) {
        previous[after] = at
        heap.push(pairs.rankOf(merged, ids[after]!), at)
      }
      const before = previous[at]!
      if (before >= 0) heap.push(pairs.rankOf(ids[before]!, merged), before)
    }
    let count = 0
    for (let i = 0; i >= 0; i = next[i]!) ids[count++] = ids[i]!
    return count
  }
}

export class Merger extends SymbolMerger {
  private readonly symbols: Symbols

  constructor(symbols: Symbols, merges: Merges) {
    super(merges)
    this.symbols = symbols
  }

  /** Merges bytes[start, end) into `ids`; returns the number of tokens. */
  encodeWord(bytes: Uint8Array, start: number, end: number): number {
    if (this.ids.length < end - start) this.ids = new Uint32Array((end - start) * 2)
    if (end - start > SCAN_LIMIT && this.symbols.unit === 'bytes') return this.mergeParts(bytes, start, end)
    return this.mergePart(bytes, start, end)
  }

  /** Splits a long word between bytes that no token contains next to each other, and merges the parts. */
  private mergeParts(bytes: Uint8Array, start: number, end: number): number {
    const { innerPairs } = this.symbols
    let merged: Uint32Array | undefined
    let count = 0
    let from = start
    for (let at = start + 1; at <= end; at++) {
      const pair = bytes[at - 1]! | (bytes[at]! << 8)
      if (at < end && ((innerPairs[pair >> 3]! >> (pair & 7)) & 1) === 1) continue
      const size = this.mergePart(bytes, from, at)
      if (from === start && at === end) return size
      merged ??= new Uint32Array(end - start)
      merged.set(this.ids.subarray(0, size), count)
      count += size
      from = at
    }
    this.ids.set(merged!.subarray(0, count))
    return count
  }

  private mergePart(bytes: Uint8Array, start: number, end: number): number {
    const count =
      this.symbols.unit === 'bytes' ? this.byteSymbols(bytes, start, end) : this.characterSymbols(bytes, start, end)
    return this.mergeSymbols(count)
  }

  private byteSymbols(bytes: Uint8Array, start: number, end: number): number {
    const { byteIds, unknownId, fuseUnknown } = this.symbols
    let count = 0
    let afterUnknown = false
    for (let at = start; at < end; at++) {
      const id = byteIds[bytes[at]!]!
      const isUnknown = id === NONE
      if (!isUnknown) this.ids[count++] = id
      else if (unknownId !== NONE && !(afterUnknown && fuseUnknown)) this.ids[count++] = unknownId
      afterUnknown = isUnknown
    }
    return count
  }

  private characterSymbols(bytes: Uint8Array, start: number, end: number): number {
    const { byteIds, characterIds, byteFallback, unknownId, fuseUnknown } = this.symbols
    let count = 0
    // As in the Rust library, an unknown token is emitted at the next known character or the next unknown token.
    let unknownWaits = false
    for (let at = start, stop = start; at < end; at = stop) {
      stop = at + sequenceLength(bytes[at]!)
      const id = characterIds.get(codePointAt(bytes, at))
      if (id !== undefined) {
        if (unknownWaits) this.ids[count++] = unknownId
        unknownWaits = false
        this.ids[count++] = id
        continue
      }
      const raw = bytes.subarray(at, stop)
      if (byteFallback && raw.every(byte => byteIds[byte] !== NONE)) {
        for (const byte of raw) this.ids[count++] = byteIds[byte]!
      } else if (unknownId !== NONE) {
        if (unknownWaits && !fuseUnknown) this.ids[count++] = unknownId
        unknownWaits = true
      }
    }
    if (unknownWaits) this.ids[count++] = unknownId
    return count
  }
}

/** Heap of (rank, position), four children per node, lowest rank first, then leftmost; both packed into one number. */
class PairHeap {
  rank = 0
  position = 0
  private entries = new Float64Array(256)
  private size = 0

  clear(): void {
    this.size = 0
  }

  push(rank: number, position: number): void {
    if (rank === NONE) return
    if (this.size === this.entries.length) {
      const larger = new Float64Array(this.size * 2)
      larger.set(this.entries)
      this.entries = larger
    }
    const entry = rank * 2 ** 32 + position
    let hole = this.size++
    while (hole > 0) {
      const parent = (hole - 1) >> 2
      if (this.entries[parent]! <= entry) break
      this.entries[hole] = this.entries[parent]!
      hole = parent
    }
    this.entries[hole] = entry
  }

  /** Removes the minimum into `rank` and `position`; returns false if the heap is empty. */
  pop(): boolean {
    const { entries } = this
    if (this.size === 0) return false
    const smallest = entries[0]!
    this.rank = Math.floor(smallest / 2 ** 32)
    this.position = smallest % 2 ** 32
    const entry = entries[--this.size]!
    let hole = 0
    for (let first = 1; first < this.size; first = 4 * hole + 1) {
      let child = first
      const end = Math.min(first + 4, this.size)
      for (let sibling = first + 1; sibling < end; sibling++) if (entries[sibling]! < entries[child]!) child = sibling
      if (entries[child]! >= entry) break
      entries[hole] = entries[child]!
      hole = child
    }
    entries[hole] = entry
    return true
  }
}
