/**
 * Best-fit decreasing: the longest item first, each into the fullest bin that still holds it. Among bins with the same free
 * space the one that has had it longest is taken. An item takes constant time: bins are queued by free space, and a tree of
 * bit sets finds the smallest sufficient one.
 */

export interface Bins {
  /** Items of all bins, concatenated; each bin's longest item comes first. */
  readonly items: Uint32Array
  /** Bin b has the items [ends[b - 1], ends[b]) of `items`; the first starts at 0. */
  readonly ends: Uint32Array
}

const NONE = 0xffffffff

/** Packs items of 1 to `capacity` units; those of equal length stay in order. */
export function packBins(lengths: Uint32Array, capacity: number): Bins {
  const order = byDecreasingLength(lengths, capacity)
  const free = new FreeSpaces(capacity, lengths.length)
  const binOf = new Uint32Array(lengths.length)
  let count = 0
  for (const item of order) {
    const length = lengths[item]!
    const space = free.smallestFrom(length)
    const bin = space === 0 ? count++ : free.take(space)
    const left = (space === 0 ? capacity : space) - length
    if (left > 0) free.put(bin, left)
    binOf[item] = bin
  }
  return grouped(order, binOf, count)
}

/** Counting sort of the items. */
function byDecreasingLength(lengths: Uint32Array, capacity: number): Uint32Array {
  const starts = new Uint32Array(capacity + 2)
  for (const length of lengths) starts[capacity - length + 1]!++
  for (let at = 1; at < starts.length; at++) starts[at]! += starts[at - 1]!
  const order = new Uint32Array(lengths.length)
  for (let item = 0; item < lengths.length; item++) order[starts[capacity - lengths[item]!]!++] = item
  return order
}

function grouped(order: Uint32Array, binOf: Uint32Array, count: number): Bins {
  const ends = new Uint32Array(count + 1)
  for (const bin of binOf) ends[bin + 1]!++
  for (let bin = 1; bin <= count; bin++) ends[bin]! += ends[bin - 1]!
  const items = new Uint32Array(order.length)
  // Each start moves to the end of its bin, which is the start of the next.
  for (const item of order) items[ends[binOf[item]!]!++] = item
  return { items, ends: ends.subarray(0, count) }
}

/** Bins by free space, from 1 to `capacity`. */
class FreeSpaces {
  /** First and last bin with a free space, and the bin after a bin. */
  readonly #firsts: Uint32Array
  readonly #lasts: Uint32Array
  readonly #nexts: Uint32Array
  /** Level 0 has a bit for each free space with bins; each level above has a bit for each word below that is not 0. */
  readonly #levels: Uint32Array[] = []

  constructor(capacity: number, maxBins: number) {
    this.#firsts = new Uint32Array(capacity + 1).fill(NONE)
    this.#lasts = new Uint32Array(capacity + 1)
    this.#nexts = new Uint32Array(maxBins)
    for (let size = capacity + 1; ; ) {
      size = Math.ceil(size / 32)
      this.#levels.push(new Uint32Array(size))
      if (size === 1) break
    }
  }

  /** The smallest free space of at least `space` that a bin has; 0 if there is none. */
  smallestFrom(space: number): number {
    let at = space
    for (const [level, words] of this.#levels.entries()) {
      const word = at >>> 5 < words.length ? words[at >>> 5]! & (-1 << (at & 31)) : 0
      if (word !== 0) return this.#lowest(level, ((at >>> 5) << 5) + lowestBit(word))
      at = (at >>> 5) + 1
    }
    return 0
  }

  /** The smallest free space below bit `at` of a level. */
  #lowest(level: number, at: number): number {
    for (let below = level - 1; below >= 0; below--) at = (at << 5) + lowestBit(this.#levels[below]![at]!)
    return at
  }

  put(bin: number, space: number): void {
    this.#nexts[bin] = NONE
    if (this.#firsts[space] === NONE) {
      this.#firsts[space] = bin
      for (let level = 0, at = space; level < this.#levels.length; level++, at >>>= 5) {
        this.#levels[level]![at >>> 5]! |= 1 << (at & 31)
      }
    } else {
      this.#nexts[this.#lasts[space]!] = bin
    }
    this.#lasts[space] = bin
  }

  /** Removes and returns the bin that has had a free space longest. */
  take(space: number): number {
    const bin = this.#firsts[space]!
    this.#firsts[space] = this.#nexts[bin]!
    if (this.#firsts[space] !== NONE) return bin
    for (let level = 0, at = space; level < this.#levels.length; level++, at >>>= 5) {
      const words = this.#levels[level]!
      words[at >>> 5]! &= ~(1 << (at & 31))
      if (words[at >>> 5] !== 0) break
    }
    return bin
  }
}

const lowestBit = (word: number): number => 31 - Math.clz32(word & -word)
