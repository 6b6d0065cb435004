/**
 * Remembers the tokens of words already merged: in running text 99 % of the words have been seen before. Short words
 * with few tokens lie inline in a two-way table; the others in an arena behind a hash table.
 */

const KEY_INTS = 4
const ENTRY_INTS = 8
const WAYS = 2
const SHORT_LIMIT = 15
const INLINE_TOKENS = 3
/** Longer words are not worth their space. */
const LONG_LIMIT = 4096
const LONG_SLOTS = 1 << 16
const LONG_PROBES = 8

export class WordCache {
  /** Buckets of two entries: key (bytes 0-14 and the length in byte 15), then three tokens and their count. */
  private readonly entries: Int32Array
  private readonly bucketShift: number
  private readonly key = new Int32Array(KEY_INTS)
  private readonly tail = new Uint8Array(16)
  private readonly tailView = new DataView(this.tail.buffer)
  /** Per slot: hash (0: empty), offset in the arena, bytes, tokens. */
  private readonly slots = new Int32Array(LONG_SLOTS * 4)
  /** Word bytes (one a number, as they are only compared) and then tokens, of each long word. */
  private readonly arena = new Uint32Array(1 << 20)
  private arenaEnd = 0
  private replaced = 0

  constructor(bits = 16) {
    this.entries = new Int32Array((ENTRY_INTS * WAYS) << bits)
    this.bucketShift = 32 - bits
  }

  clear(): void {
    this.entries.fill(0)
    this.slots.fill(0)
    this.arenaEnd = 0
  }

  /** Copies the tokens of bytes[start, end) to out[at...] and returns their number, or -1 when the word is not known. */
  find(bytes: Uint8Array, view: DataView, start: number, end: number, out: Uint32Array, at: number): number {
    if (end - start > SHORT_LIMIT) return this.findLong(bytes, start, end, out, at)
    const { entries, key } = this
    const bucket = this.bucketOf(bytes, view, start, end)
    for (let entry = bucket; entry < bucket + ENTRY_INTS * WAYS; entry += ENTRY_INTS) {
      if (entries[entry] !== key[0] || entries[entry + 1] !== key[1]) continue
      if (entries[entry + 2] !== key[2] || entries[entry + 3] !== key[3]) continue
      const count = entries[entry + 7]!
      if (count > INLINE_TOKENS) return this.findLong(bytes, start, end, out, at)
      for (let i = 0; i < count; i++) out[at + i] = entries[entry + KEY_INTS + i]!
      return count
    }
    return -1
  }

  add(bytes: Uint8Array, view: DataView, start: number, end: number, ids: Uint32Array, count: number): void {
    if (end - start > SHORT_LIMIT || count > INLINE_TOKENS) this.addLong(bytes, start, end, ids, count)
    if (end - start > SHORT_LIMIT) return
    const { entries, key } = this
    const bucket = this.bucketOf(bytes, view, start, end)
    const second = bucket + ENTRY_INTS
    const firstIsFree = entries[bucket + 3] === 0
    const entry = firstIsFree || (entries[second + 3] !== 0 && (this.replaced++ & 1) === 0) ? bucket : second
    entries.set(key, entry)
    for (let i = 0; i < Math.min(count, INLINE_TOKENS); i++) entries[entry + KEY_INTS + i] = ids[i]!
    entries[entry + 7] = count
  }

  /** Builds the key of a short word and returns its bucket. */
  private bucketOf(bytes: Uint8Array, view: DataView, start: number, end: number): number {
    const { key } = this
    const length = end - start
    let from = start
    let source = view
    if (start + 16 > bytes.length) {
      for (let i = 0; i < length; i++) this.tail[i] = bytes[start + i]!
      from = 0
      source = this.tailView
    }
    for (let word = 0; word < KEY_INTS; word++) {
      const kept = length - word * 4
      const mask = kept >= 4 ? -1 : kept <= 0 ? 0 : (1 << (kept * 8)) - 1
      key[word] = mask === 0 ? 0 : source.getInt32(from + word * 4, true) & mask
    }
    key[3]! |= length << 24
    let hash = Math.imul(key[0]!, 0x9e3779b1) ^ Math.imul(key[1]!, 0x85ebca6b)
    hash ^= Math.imul(key[2]!, 0xc2b2ae35) ^ Math.imul(key[3]!, 0x27d4eb2f)
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    return (hash >>> this.bucketShift) * ENTRY_INTS * WAYS
  }

  private findLong(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): number {
    if (end - start > LONG_LIMIT) return -1
    const { slots, arena } = this
    const hash = hashOf(bytes, start, end)
    for (let probe = 0; probe < LONG_PROBES; probe++) {
      const slot = ((hash + probe) & (LONG_SLOTS - 1)) * 4
      if (slots[slot] === 0) return -1
      if (slots[slot] !== hash || slots[slot + 2] !== end - start) continue
      const offset = slots[slot + 1]!
      if (!this.holds(offset, bytes, start, end)) continue
      const count = slots[slot + 3]!
      const from = offset + end - start
      for (let i = 0; i < count; i++) out[at + i] = arena[from + i]!
      return count
    }
    return -1
  }

  private holds(offset: number, bytes: Uint8Array, start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (this.arena[offset + i - start] !== bytes[i]) return false
    return true
  }

  private addLong(bytes: Uint8Array, start: number, end: number, ids: Uint32Array, count: number): void {
    const length = end - start
    if (length > LONG_LIMIT) return
    if (this.arenaEnd + length + count > this.arena.length) {
      this.slots.fill(0)
      this.arenaEnd = 0
    }
    const { slots, arena } = this
    const hash = hashOf(bytes, start, end)
    let slot = 0
    for (let probe = 0; probe < LONG_PROBES; probe++) {
      slot = ((hash + probe) & (LONG_SLOTS - 1)) * 4
      if (slots[slot] === 0) break
    }
    slots.set([hash, this.arenaEnd, length, count], slot)
    for (let i = start; i < end; i++) arena[this.arenaEnd++] = bytes[i]!
    for (let i = 0; i < count; i++) arena[this.arenaEnd++] = ids[i]!
  }
}

/** Never 0, which marks an empty slot. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  hash ^= hash >>> 15
  return hash | 0 || 1
}
