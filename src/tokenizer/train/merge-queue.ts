/**
 * Candidates for the next merge: the most frequent pair first, among equals the smallest pair of ids, in the order of the
 * Rust library. Each entry carries the positions and the count of the pair at the time it was pushed; the caller compares
 * the count of the top with the current one, and lowers it if it has decreased.
 */
import type { PairKey } from './pair-counts.js'

/** Children of a heap node: a flat heap misses the cache less often. */
const ARITY = 8

export class MergeQueue {
  private counts = new Float64Array(1 << 12)
  private keys = new Float64Array(1 << 12)
  /** Positions of an entry: positions[starts[i], ends[i]). */
  private starts = new Float64Array(1 << 12)
  private ends = new Float64Array(1 << 12)
  private size = 0
  private positions = new Int32Array(1 << 16)
  private positionCount = 0
  /** Positions that belong to queued entries; the others are garbage. */
  private livePositions = 0

  get isEmpty(): boolean {
    return this.size === 0
  }

  get topKey(): PairKey {
    return this.keys[0]!
  }

  get topCount(): number {
    return this.counts[0]!
  }

  /** Queues a pair and copies its positions. */
  push(key: PairKey, count: number, positions: Int32Array): void {
    if (this.size === this.counts.length) this.growEntries()
    const start = this.reserve(positions.length)
    this.positions.set(positions, start)
    this.siftUp(this.size++, count, key, start, start + positions.length)
  }

  /** Updates the count of the top and restores the heap order. */
  updateTop(count: number): void {
    this.siftDown(count, this.keys[0]!, this.starts[0]!, this.ends[0]!)
  }

  /** Removes the top and returns its positions: a view, valid until the next push. */
  takeTop(): Int32Array {
    const positions = this.positions.subarray(this.starts[0], this.ends[0])
    this.livePositions -= positions.length
    const last = --this.size
    if (last > 0) this.siftDown(this.counts[last]!, this.keys[last]!, this.starts[last]!, this.ends[last]!)
    return positions
  }

  private siftUp(from: number, count: number, key: PairKey, start: number, end: number): void {
    let index = from
    while (index > 0) {
      const parent = Math.floor((index - 1) / ARITY)
      if (!isBefore(count, key, this.counts[parent]!, this.keys[parent]!)) break
      this.move(parent, index)
      index = parent
    }
    this.set(index, count, key, start, end)
  }

  private siftDown(count: number, key: PairKey, start: number, end: number): void {
    const { counts, keys, size } = this
    let index = 0
    for (;;) {
      const firstChild = ARITY * index + 1
      const pastChildren = Math.min(firstChild + ARITY, size)
      let best = firstChild
      for (let child = firstChild + 1; child < pastChildren; child++) {
        if (isBefore(counts[child]!, keys[child]!, counts[best]!, keys[best]!)) best = child
      }
      if (firstChild >= size || !isBefore(counts[best]!, keys[best]!, count, key)) break
      this.move(best, index)
      index = best
    }
    this.set(index, count, key, start, end)
  }

  private move(from: number, to: number): void {
    this.set(to, this.counts[from]!, this.keys[from]!, this.starts[from]!, this.ends[from]!)
  }

  private set(index: number, count: number, key: PairKey, start: number, end: number): void {
    this.counts[index] = count
    this.keys[index] = key
    this.starts[index] = start
    this.ends[index] = end
  }

  /** Allocates room for `length` positions; returns its start. */
  private reserve(length: number): number {
    if (this.positionCount + length > this.positions.length) this.rebuildPositions(length)
    const start = this.positionCount
    this.positionCount += length
    this.livePositions += length
    return start
  }

  /** Compacts the positions in use; doubles the capacity only if less than half was garbage. */
  private rebuildPositions(length: number): void {
    const needed = this.livePositions + length
    const old = this.positions
    const capacity = needed > old.length / 2 ? Math.max(2 * old.length, 2 * needed) : old.length
    this.positions = new Int32Array(capacity)
    this.positionCount = 0
    for (let index = 0; index < this.size; index++) {
      const start = this.starts[index]!
      const end = this.ends[index]!
      this.positions.set(old.subarray(start, end), this.positionCount)
      this.starts[index] = this.positionCount
      this.positionCount += end - start
      this.ends[index] = this.positionCount
    }
  }

  private growEntries(): void {
    const double = (array: Float64Array): Float64Array<ArrayBuffer> => {
      const larger = new Float64Array(2 * array.length)
      larger.set(array)
      return larger
    }
    this.counts = double(this.counts)
    this.keys = double(this.keys)
    this.starts = double(this.starts)
    this.ends = double(this.ends)
  }
}

function isBefore(count: number, key: PairKey, otherCount: number, otherKey: PairKey): boolean {
  return count > otherCount || (count === otherCount && key < otherKey)
}
