// Byte-pair merging of one word; TypeScript twin: src/tokenizer/engine/bpe.ts. Short words are scanned for their best pair,
// long ones use a heap with lazy deletion.
import { BYTE_IDS, BYTE_PAIR_RANKS, ensureFree, FREE, INNER_PAIRS, MERGES, PAIR_BYTES_MASK, PAIR_SHIFT, PAIRS, RANK_MASK, SYMBOLS } from './memory'

export const NONE: u32 = 0xffffffff
export const HASH: u64 = 0x9e3779b97f4a7c15
export const HASH2: u64 = 0xd6e8feb86659fd93
/** Words of up to this many bytes are scanned. */
const SCAN_LIMIT: u32 = 64

/**
 * Rank of the merge of two tokens, or NONE. Compares four slots at once; slots are filled in order, so a free last slot
 * ends the search. Most pairs have no merge, and the hash bits in the slots rule them out without loading the merge.
 */
function rankOf(left: u32, right: u32): u32 {
  const key = (<u64>left << 20) | <u64>right
  const hash = key * HASH
  const bits = hashBits(hash)
  let group = groupOf(hash)
  while (true) {
    const slots = v128.load(group)
    const sameBits = i32x4.eq(v128.and(slots, i32x4.splat(~RANK_MASK)), i32x4.splat(bits))
    for (let found = i32x4.bitmask(sameBits); found != 0; found &= found - 1) {
      const entry = load<u32>(group + (<usize>ctz(found) << 2))
      if (entry != NONE && mergeAt(entry & RANK_MASK) >> 20 == key) return entry & RANK_MASK
    }
    if (i32x4.extract_lane(slots, 3) == NONE) return NONE
    group = nextGroup(group)
  }
}

// @ts-ignore: decorator
@inline
function groupOf(hash: u64): usize {
  return PAIRS + (<usize>(hash >> PAIR_SHIFT) << 4)
}

// @ts-ignore: decorator
@inline
function nextGroup(group: usize): usize {
  return PAIRS + ((group + 16 - PAIRS) & PAIR_BYTES_MASK)
}

/** The hash bits of a slot, above the rank. */
// @ts-ignore: decorator
@inline
function hashBits(hash: u64): u32 {
  return <u32>(hash >> (PAIR_SHIFT - 32)) & ~RANK_MASK
}

// @ts-ignore: decorator
@inline
function mergeAt(rank: u32): u64 {
  return load<u64>(MERGES + (<usize>rank << 3))
}

// @ts-ignore: decorator
@inline
function mergedBy(rank: u32): u32 {
  return <u32>mergeAt(rank) & 0xfffff
}

/** Merges the word of `length` bytes at `word` and writes its tokens to `out`; returns their number. */
export function merge<T>(word: usize, length: u32, out: usize): u32 {
  return length <= SCAN_LIMIT ? mergeByScanning<T>(word, length, out) : mergeParts<T>(word, length, out)
}

/** Splits a long word between bytes that no token contains next to each other, and merges the parts. */
function mergeParts<T>(word: usize, length: u32, out: usize): u32 {
  let count: u32 = 0
  let start = word
  const end = word + length
  for (let at = word + 1; at <= end; at++) {
    if (at < end && hasPair(at - 1)) continue
    const size = <u32>(at - start)
    const to = out + <usize>count * sizeof<T>()
    count += size <= SCAN_LIMIT ? mergeByScanning<T>(start, size, to) : mergeByHeap<T>(start, size, to)
    start = at
  }
  return count
}

// @ts-ignore: decorator
@inline
function hasPair(at: usize): bool {
  const pair = <u32>load<u16>(at)
  return ((load<u8>(INNER_PAIRS + (pair >> 3)) >> <u8>(pair & 7)) & 1) != 0
}

/**
 * A symbol keeps the position of its first byte; a 64-bit mask holds the positions in use. A pair is encoded as
 * rank << 6 | position of its left symbol, so the minimum is the leftmost pair of the lowest rank.
 */
function mergeByScanning<T>(word: usize, length: u32, out: usize): u32 {
  const ids = SYMBOLS
  const pairs = SYMBOLS + (SCAN_LIMIT << 2)
  for (let i: u32 = 0; i < length; i++) {
    store<u32>(ids + (<usize>i << 2), load<u32>(BYTE_IDS + (<usize>load<u8>(word + i) << 2)))
    const rank = i + 1 < length ? load<u32>(BYTE_PAIR_RANKS + (<usize>load<u16>(word + i) << 2)) : NONE
    store<u32>(pairs + (<usize>i << 2), pairOf(rank, i))
  }
  const end = pairs + (<usize>((length + 3) & ~3) << 2)
  for (let at = length; at & 3; at++) store<u32>(pairs + (<usize>at << 2), NONE)
  let symbols: u64 = 0xffffffffffffffff >> <u64>(64 - length)
  while (true) {
    const smallest = leastOf(pairs, end)
    if (smallest == NONE) break
    const at = smallest & 63
    const merged = mergedBy(smallest >> 6)
    // The next symbols: the right one of the pair, which is removed, and the one after it.
    const following = symbols & (~(<u64>1) << <u64>at)
    const right = <u32>ctz(following)
    symbols &= ~((<u64>1) << <u64>right)
    const after = following & (following - 1)
    const before = symbols & (((<u64>1) << <u64>at) - 1)
    store<u32>(ids + (<usize>at << 2), merged)
    store<u32>(pairs + (<usize>right << 2), NONE)
    const rank = after != 0 ? rankOf(merged, load<u32>(ids + (<usize>ctz(after) << 2))) : NONE
    store<u32>(pairs + (<usize>at << 2), pairOf(rank, at))
    if (before != 0) {
      const left = 63 - <u32>clz(before)
      store<u32>(pairs + (<usize>left << 2), pairOf(rankOf(load<u32>(ids + (<usize>left << 2)), merged), left))
    }
  }
  const count = <u32>popcnt(symbols)
  for (; symbols != 0; symbols &= symbols - 1, out += sizeof<T>()) {
    store<T>(out, <T>load<u32>(ids + (<usize>ctz(symbols) << 2)))
  }
  return count
}

// @ts-ignore: decorator
@inline
function pairOf(rank: u32, position: u32): u32 {
  return rank == NONE ? NONE : (rank << 6) | position
}

// @ts-ignore: decorator
@inline
function leastOf(start: usize, end: usize): u32 {
  let smallest = v128.load(start)
  for (let at = start + 16; at < end; at += 16) smallest = i32x4.min_u(smallest, v128.load(at))
  smallest = i32x4.min_u(smallest, i8x16.shuffle(smallest, smallest, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7))
  return min(<u32>i32x4.extract_lane(smallest, 0), <u32>i32x4.extract_lane(smallest, 1))
}

/** Linked list of symbols by position, 12 bytes each: token (NONE if merged away), next, previous. */
function mergeByHeap<T>(word: usize, length: u32, out: usize): u32 {
  const symbols = (FREE + 7) & ~7
  const heap = symbols + <usize>length * 12 + 4 & ~7
  ensureFree(<usize>length * 36 + 64)
  let size: u32 = 0
  for (let i: u32 = 0; i < length; i++) {
    const symbol = symbols + <usize>i * 12
    store<u32>(symbol, load<u32>(BYTE_IDS + (<usize>load<u8>(word + i) << 2)))
    store<i32>(symbol, i + 1 < length ? i + 1 : -1, 4)
    store<i32>(symbol, <i32>i - 1, 8)
    if (i + 1 < length) {
      const rank = load<u32>(BYTE_PAIR_RANKS + (<usize>load<u16>(word + i) << 2))
      if (rank != NONE) size = push(heap, size, (<u64>rank << 32) | i)
    }
  }
  while (size > 0) {
    const smallest = load<u64>(heap)
    size--
    if (size > 0) sift(heap, size, load<u64>(heap + (<usize>size << 3)))
    const rank = <u32>(smallest >> 32)
    const at = <u32>smallest
    const symbol = symbols + <usize>at * 12
    const next = load<i32>(symbol, 4)
    if (load<u32>(symbol) == NONE || next < 0) continue
    const right = symbols + <usize>next * 12
    if (rankOf(load<u32>(symbol), load<u32>(right)) != rank) continue
    const merged = mergedBy(rank)
    store<u32>(symbol, merged)
    store<u32>(right, NONE)
    const after = load<i32>(right, 4)
    store<i32>(symbol, after, 4)
    if (after >= 0) {
      const follower = symbols + <usize>after * 12
      store<i32>(follower, at, 8)
      const newRank = rankOf(merged, load<u32>(follower))
      if (newRank != NONE) size = push(heap, size, (<u64>newRank << 32) | at)
    }
    const before = load<i32>(symbol, 8)
    if (before >= 0) {
      const newRank = rankOf(load<u32>(symbols + <usize>before * 12), merged)
      if (newRank != NONE) size = push(heap, size, (<u64>newRank << 32) | <u64>before)
    }
  }
  let count: u32 = 0
  for (let i: i32 = 0; i >= 0; i = load<i32>(symbols + <usize>i * 12, 4)) {
    store<T>(out + <usize>count * sizeof<T>(), <T>load<u32>(symbols + <usize>i * 12))
    count++
  }
  return count
}

// Four children per node: half the levels of a binary heap, and siblings share a cache line.

/** Pushes `entry` onto the heap of `size` entries; returns the new size. */
function push(heap: usize, size: u32, entry: u64): u32 {
  let hole = size
  while (hole > 0) {
    const parent = (hole - 1) >> 2
    const above = load<u64>(heap + (<usize>parent << 3))
    if (above <= entry) break
    store<u64>(heap + (<usize>hole << 3), above)
    hole = parent
  }
  store<u64>(heap + (<usize>hole << 3), entry)
  return size + 1
}

/** Places `entry` after the minimum was removed from the heap, which now has `size` entries. */
function sift(heap: usize, size: u32, entry: u64): void {
  let hole: u32 = 0
  while (true) {
    const first: u32 = 4 * hole + 1
    if (first >= size) break
    let child = first
    let below = load<u64>(heap + (<usize>first << 3))
    for (let sibling = first + 1, last = min<u32>(first + 4, size); sibling < last; sibling++) {
      const other = load<u64>(heap + (<usize>sibling << 3))
      child = select(sibling, child, other < below)
      below = min(other, below)
    }
    if (below >= entry) break
    store<u64>(heap + (<usize>hole << 3), below)
    hole = child
  }
  store<u64>(heap + (<usize>hole << 3), entry)
}

/** Fills MERGES, PAIRS and BYTE_PAIR_RANKS from lists of `count` tokens by rank; the last of equal pairs wins. */
export function setMerges(left: usize, right: usize, result: usize, count: u32): void {
  memory.fill(PAIRS, 0xff, PAIR_BYTES_MASK + 1)
  for (let rank: u32 = 0; rank < count; rank++) {
    const at = <usize>rank << 2
    const key = (<u64>load<u32>(left + at) << 20) | <u64>load<u32>(right + at)
    store<u64>(MERGES + (<usize>rank << 3), (key << 20) | <u64>load<u32>(result + at))
    const hash = key * HASH
    let slot = groupOf(hash)
    while (true) {
      const entry = load<u32>(slot)
      if (entry == NONE || mergeAt(entry & RANK_MASK) >> 20 == key) break
      slot = PAIRS + ((slot + 4 - PAIRS) & PAIR_BYTES_MASK)
    }
    store<u32>(slot, hashBits(hash) | rank)
  }
  for (let pair: u32 = 0; pair < 65536; pair++) {
    const first = load<u32>(BYTE_IDS + (<usize>(pair & 0xff) << 2))
    const second = load<u32>(BYTE_IDS + (<usize>(pair >> 8) << 2))
    store<u32>(BYTE_PAIR_RANKS + (<usize>pair << 2), rankOf(first, second))
  }
}
