/**
 * Count of each word: the only statistics of a corpus that training needs. A word is a pre-tokenizer output, as bytes.
 * Partial counts of workers or runs add up to the same total in any order.
 */
import { PenstockError } from '../../errors.js'
import type { Splitter } from '../patterns/pretokenize.js'

/** Counts as plain arrays, for storage and messages between threads. Word i is bytes[ends[i - 1] ?? 0, ends[i]). */
export interface WordCountsData {
  readonly bytes: Uint8Array
  readonly ends: Float64Array
  readonly counts: Float64Array
}

/** Positions in the arena, and in the trainer's array of tokens, are 32-bit numbers. */
const MAX_ARENA_BYTES = 2 ** 31 - 1
const FIRST_SLOTS = 1 << 12
/** Four numbers per slot, one memory access: word index + 1 (0 if empty), hash, start in the arena, length. */
const STRIDE_BITS = 2
const STRIDE = 1 << STRIDE_BITS

/** A hash table with open addressing over one arena of bytes: no object per word, so that it can hold millions. */
export class WordCounts {
  private slots = new Int32Array(STRIDE * FIRST_SLOTS)
  private bytes = new Uint8Array(1 << 15)
  private byteLength = 0
  private ends = new Float64Array(FIRST_SLOTS / 2)
  private counts = new Float64Array(FIRST_SLOTS / 2)
  private size = 0

  /** Number of distinct words. */
  get wordCount(): number {
    return this.size
  }

  /** Adds `count` to the word bytes[start, end). */
  add(bytes: Uint8Array, start: number, end: number, count = 1): void {
    const { slots } = this
    const length = end - start
    let hash = length
    for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
    // The low bits of the product depend on the last bytes only: mix in the high ones.
    hash ^= hash >>> 15
    const mask = slots.length - 1
    let slot = (hash << STRIDE_BITS) & mask
    for (; slots[slot] !== 0; slot = (slot + STRIDE) & mask) {
      if (slots[slot + 1] !== hash || slots[slot + 3] !== length) continue
      if (this.equals(slots[slot + 2]!, bytes, start, end)) {
        this.counts[slots[slot]! - 1]! += count
        return
      }
    }
    this.insert(slot, hash, bytes, start, end, count)
  }

  /** Adds counts collected elsewhere. */
  merge(data: WordCountsData): void {
    let start = 0
    for (let word = 0; word < data.counts.length; word++) {
      const end = data.ends[word]!
      this.add(data.bytes, start, end, data.counts[word]!)
      start = end
    }
  }

  /** The counts so far, in order of first occurrence. Copies: the caller may transfer them. */
  data(): WordCountsData {
    return {
      bytes: this.bytes.slice(0, this.byteLength),
      ends: this.ends.slice(0, this.size),
      counts: this.counts.slice(0, this.size),
    }
  }

  private equals(from: number, bytes: Uint8Array, start: number, end: number): boolean {
    for (let i = start, k = from; i < end; i++, k++) if (this.bytes[k] !== bytes[i]) return false
    return true
  }

  private insert(slot: number, hash: number, bytes: Uint8Array, start: number, end: number, count: number): void {
    const from = this.byteLength
    const length = from + end - start
    if (length > MAX_ARENA_BYTES) throw new PenstockError('UNSUPPORTED', 'the distinct words take more than 2 GiB')
    if (length > this.bytes.length) this.bytes = grown(this.bytes, new Uint8Array(2 * length))
    // An element loop: words are a few bytes, and subarray would allocate an object for each.
    for (let i = start, k = from; i < end; i++, k++) this.bytes[k] = bytes[i]!
    this.byteLength = length
    this.ends[this.size] = length
    this.counts[this.size] = count
    this.setSlot(slot, ++this.size, hash, from, end - start)
    if (this.size === this.ends.length) this.grow()
  }

  private setSlot(slot: number, word: number, hash: number, start: number, length: number): void {
    this.slots[slot] = word
    this.slots[slot + 1] = hash
    this.slots[slot + 2] = start
    this.slots[slot + 3] = length
  }

  private grow(): void {
    const old = this.slots
    this.ends = grown(this.ends, new Float64Array(2 * this.size))
    this.counts = grown(this.counts, new Float64Array(2 * this.size))
    this.slots = new Int32Array(2 * old.length)
    const mask = this.slots.length - 1
    for (let from = 0; from < old.length; from += STRIDE) {
      const hash = old[from + 1]!
      if (old[from] === 0) continue
      let slot = (hash << STRIDE_BITS) & mask
      while (this.slots[slot] !== 0) slot = (slot + STRIDE) & mask
      this.setSlot(slot, old[from]!, hash, old[from + 2]!, old[from + 3]!)
    }
  }
}

/** Bytes from which `encodedWordCountsBytes` can tell the size. */
export const WORD_COUNTS_HEADER_BYTES = 8

/** Counts as bytes: words, total bytes (u32 each), counts (f64), lengths (u32), bytes; numbers are little-endian. */
export function encodeWordCounts({ bytes, ends, counts }: WordCountsData): Uint8Array {
  const encoded = new Uint8Array(WORD_COUNTS_HEADER_BYTES + 12 * counts.length + bytes.length)
  new Uint32Array(encoded.buffer, 0, 2).set([counts.length, bytes.length])
  new Float64Array(encoded.buffer, WORD_COUNTS_HEADER_BYTES, counts.length).set(counts)
  const lengths = ends.map((end, word) => end - (word === 0 ? 0 : ends[word - 1]!))
  new Uint32Array(encoded.buffer, WORD_COUNTS_HEADER_BYTES + 8 * counts.length, counts.length).set(lengths)
  encoded.set(bytes, WORD_COUNTS_HEADER_BYTES + 12 * counts.length)
  return encoded
}

/** Total size of encoded counts, from their first eight bytes. */
export function encodedWordCountsBytes(encoded: Uint8Array): number {
  const [words, byteLength] = new Uint32Array(new Uint8Array(encoded.subarray(0, WORD_COUNTS_HEADER_BYTES)).buffer)
  return WORD_COUNTS_HEADER_BYTES + 12 * words! + byteLength!
}

export function decodeWordCounts(encoded: Uint8Array): WordCountsData {
  // A copy: the bytes may have any alignment, but numbers need multiples of their size.
  const { buffer } = new Uint8Array(encoded)
  const [words] = new Uint32Array(buffer, 0, 1)
  let end = 0
  const ends = Float64Array.from(new Uint32Array(buffer, WORD_COUNTS_HEADER_BYTES + 8 * words!, words), length => {
    end += length
    return end
  })
  return {
    bytes: new Uint8Array(buffer, WORD_COUNTS_HEADER_BYTES + 12 * words!, end),
    ends,
    counts: new Float64Array(buffer, WORD_COUNTS_HEADER_BYTES, words),
  }
}

/** Counts the words of documents: document i is bytes[offsets[i], offsets[i + 1]), valid UTF-8. */
export function countWords(splitter: Splitter, bytes: Uint8Array, offsets: Uint32Array, counts: WordCounts): void {
  const emit = (start: number, end: number): void => counts.add(bytes, start, end)
  for (let i = 0; i + 1 < offsets.length; i++) splitter(bytes, offsets[i]!, offsets[i + 1]!, emit)
}

function grown<T extends Uint8Array | Float64Array>(old: T, larger: T): T {
  larger.set(old)
  return larger
}
