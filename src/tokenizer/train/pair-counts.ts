/**
 * Count of each pair of neighbouring tokens, weighted by word counts. A hash table with open addressing: one number for the
 * key and one for the count.
 */

/** Limit of ids; a pair is the exact number left * ID_LIMIT + right, which sorts like the pair. */
const ID_LIMIT = 2 ** 26

export type PairKey = number

export function pairKey(left: number, right: number): PairKey {
  return left * ID_LIMIT + right
}

export function leftOf(key: PairKey): number {
  return Math.floor(key / ID_LIMIT)
}

export function rightOf(key: PairKey): number {
  return key % ID_LIMIT
}

const EMPTY = -1

export class PairCounts {
  private keys = new Float64Array(1 << 16).fill(EMPTY)
  private counts = new Float64Array(1 << 16)
  private used = 0

  get(left: number, right: number): number {
    const slot = this.find(left, right)
    return this.keys[slot] === EMPTY ? 0 : this.counts[slot]!
  }

  add(left: number, right: number, change: number): void {
    const slot = this.find(left, right)
    if (this.keys[slot] !== EMPTY) {
      this.counts[slot]! += change
      return
    }
    this.keys[slot] = pairKey(left, right)
    this.counts[slot] = change
    this.used++
    if (this.used > 0.6 * this.keys.length) this.rebuild()
  }

  /** The slot of the pair, or the empty slot for it. */
  private find(left: number, right: number): number {
    const key = pairKey(left, right)
    const mask = this.keys.length - 1
    let slot = hashOf(left, right) & mask
    while (this.keys[slot] !== key && this.keys[slot] !== EMPTY) slot = (slot + 1) & mask
    return slot
  }

  /** Drops pairs that no longer occur, which soon are the majority, and grows if needed. */
  private rebuild(): void {
    const { keys, counts } = this
    let live = 0
    for (let slot = 0; slot < keys.length; slot++) if (keys[slot] !== EMPTY && counts[slot] !== 0) live++
    const capacity = live > 0.3 * keys.length ? 2 * keys.length : keys.length
    this.keys = new Float64Array(capacity).fill(EMPTY)
    this.counts = new Float64Array(capacity)
    this.used = live
    for (let slot = 0; slot < keys.length; slot++) {
      const key = keys[slot]!
      if (key === EMPTY || counts[slot] === 0) continue
      const target = this.find(leftOf(key), rightOf(key))
      this.keys[target] = key
      this.counts[target] = counts[slot]!
    }
  }
}

function hashOf(left: number, right: number): number {
  const hash = Math.imul(left, 0x9e3779b1) ^ Math.imul(right, 0x85ebca6b)
  return hash ^ (hash >>> 15)
}
