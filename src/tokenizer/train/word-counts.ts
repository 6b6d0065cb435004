/**
 * How often each word occurs: all that training needs of a corpus. A word is what the pre-tokenizer emits, as bytes.
 * Counts made apart, in workers or runs, add up to the same counts in any order.
 */
import type { Splitter } from '../pretokenize.js'

/** Counts as plain arrays, to be stored, or sent between threads. Word i is bytes[ends[i - 1] ?? 0, ends[i]). */
export interface WordCountsData {
  readonly bytes: Uint8Array
  readonly ends: Float64Array
  readonly counts: Float64Array
}

const FIRST_SLOTS = 1 << 12

/** A hash table with open addressing over one arena of bytes: no object a word, so that millions fit. */
export class WordCounts {
  private bytes = new Uint8Array(1 << 15)
  private ends = new Float64Array(FIRST_SLOTS / 2)
  private hashes = new Int32Array(FIRST_SLOTS / 2)
  private counts = new Float64Array(FIRST_SLOTS / 2)
  /** Word index + 1; 0 is an empty slot. Twice as many slots as words at least. */
  private slots = new Int32Array(FIRST_SLOTS)
  private size = 0
  private byteLength = 0

  /** Number of different words. */
  get wordCount(): number {
    return this.size
  }

  /** Counts the word bytes[start, end) `count` times more. */
  add(bytes: Uint8Array, start: number, end: number, count = 1): void {
    let hash = end - start
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    // The product's low bits depend on the last bytes only: fold the high ones in.
    hash ^= hash >>> 15
    const mask = this.slots.length - 1
    let slot = hash & mask
    for (;;) {
      const word = this.slots[slot]! - 1
      if (word < 0) break
      if (this.hashes[word] === hash && this.equals(word, bytes, start, end)) {
        this.counts[word]! += count
        return
      }
      slot = (slot + 1) & mask
    }
    this.insert(slot, hash, bytes, start, end, count)
  }

  /** Adds counts made elsewhere. */
  merge(data: WordCountsData): void {
    let start = 0
    for (let word = 0; word < data.counts.length; word++) {
      const end = data.ends[word]!
      this.add(data.bytes, start, end, data.counts[word]!)
      start = end
    }
  }

  /** The counts so far, in the order in which the words were first seen. Views: good until the next word is added. */
  data(): WordCountsData {
    return {
      bytes: this.bytes.subarray(0, this.byteLength),
      ends: this.ends.subarray(0, this.size),
      counts: this.counts.subarray(0, this.size),
    }
  }

  private equals(word: number, bytes: Uint8Array, start: number, end: number): boolean {
    const from = word === 0 ? 0 : this.ends[word - 1]!
    if (this.ends[word]! - from !== end - start) return false
    for (let i = start, k = from; i < end; i++, k++) if (this.bytes[k] !== bytes[i]) return false
    return true
  }

  private insert(slot: number, hash: number, bytes: Uint8Array, start: number, end: number, count: number): void {
    const length = this.byteLength + end - start
    if (length > this.bytes.length) this.bytes = grown(this.bytes, new Uint8Array(2 * length))
    // An element loop: words are a few bytes, and subarray would make an object for each.
    for (let i = start, k = this.byteLength; i < end; i++, k++) this.bytes[k] = bytes[i]!
    this.byteLength = length
    this.ends[this.size] = length
    this.hashes[this.size] = hash
    this.counts[this.size] = count
    this.slots[slot] = ++this.size
    if (this.size === this.ends.length) this.grow()
  }

  private grow(): void {
    const capacity = 2 * this.size
    this.ends = grown(this.ends, new Float64Array(capacity))
    this.hashes = grown(this.hashes, new Int32Array(capacity))
    this.counts = grown(this.counts, new Float64Array(capacity))
    this.slots = new Int32Array(2 * capacity)
    const mask = this.slots.length - 1
    for (let word = 0; word < this.size; word++) {
      let slot = this.hashes[word]! & mask
      while (this.slots[slot] !== 0) slot = (slot + 1) & mask
      this.slots[slot] = word + 1
    }
  }
}

/** Counts the words of documents: document i is bytes[offsets[i], offsets[i + 1]), valid UTF-8. */
export function countWords(splitter: Splitter, bytes: Uint8Array, offsets: Uint32Array, counts: WordCounts): void {
  const emit = (start: number, end: number): void => counts.add(bytes, start, end)
  for (let i = 0; i + 1 < offsets.length; i++) splitter(bytes, offsets[i]!, offsets[i + 1]!, emit)
}

function grown<T extends Uint8Array | Int32Array | Float64Array>(old: T, larger: T): T {
  larger.set(old)
  return larger
}
