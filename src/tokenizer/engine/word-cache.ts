/**
 * Caches the tokens of words: in running text 99 % of the words have occurred before. Short words with few tokens are stored
 * inline in a two-way table, the others in an arena with a hash table.
 */

const KEY_INTS = 4
const ENTRY_INTS = 8
const WAYS = 2
const SHORT_LIMIT = 15
const INLINE_TOKENS = 3
/** Longer words are not cached. */
const LONG_LIMIT = 4096
const LONG_SLOTS = 1 << 17
const SLOT_INTS = 5
const LONG_PROBES = 8

/** Four masks per length that keep that many bytes of a key. */
const KEY_MASKS = new Int32Array((SHORT_LIMIT + 1) * KEY_INTS).map((_, index) => {
  const kept = Math.floor(index / KEY_INTS) - (index % KEY_INTS) * 4
  return kept >= 4 ? -1 : kept <= 0 ? 0 : (1 << (kept * 8)) - 1
})

export class WordCache {
  /** Buckets of two entries: key (bytes 0-14 and the length in byte 15), then three tokens and their count. */
  private readonly entries: Int32Array
  private readonly bucketShift: number
  private readonly key = new Int32Array(KEY_INTS)
  private readonly tail = new Uint8Array(16)
  private readonly tailView = new DataView(this.tail.buffer)
  /** Per slot: hash (0: empty), start and length of its text, start and number of its tokens. */
  private readonly slots = new Int32Array(LONG_SLOTS * SLOT_INTS)
  private readonly texts = new Uint8Array(1 << 22)
  private readonly tokens = new Uint32Array(1 << 20)
  private textEnd = 0
  private tokenEnd = 0
  private replaced = 0

  constructor(bits = 17) {
    this.entries = new Int32Array((ENTRY_INTS * WAYS) << bits)
    this.bucketShift = 32 - bits
  }

  clear(): void {
    this.entries.fill(0)
    this.clearLong()
  }

  private clearLong(): void {
    this.slots.fill(0)
    this.textEnd = 0
    this.tokenEnd = 0
  }

  /** Copies the tokens of bytes[start, end) to out[at...] and returns their number, or -1 if the word is not cached. */
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
    // Unrolled: a loop over the four takes a third of the whole encoder's time.
    const mask = length * KEY_INTS
    const word0 = source.getInt32(from, true) & KEY_MASKS[mask]!
    const word1 = source.getInt32(from + 4, true) & KEY_MASKS[mask + 1]!
    const word2 = source.getInt32(from + 8, true) & KEY_MASKS[mask + 2]!
    const word3 = (source.getInt32(from + 12, true) & KEY_MASKS[mask + 3]!) | (length << 24)
    key[0] = word0
    key[1] = word1
    key[2] = word2
    key[3] = word3
    let hash = Math.imul(word0, 0x9e3779b1) ^ Math.imul(word1, 0x85ebca6b)
    hash ^= Math.imul(word2, 0xc2b2ae35) ^ Math.imul(word3, 0x27d4eb2f)
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d)
    return (hash >>> this.bucketShift) * ENTRY_INTS * WAYS
  }

  private findLong(bytes: Uint8Array, start: number, end: number, out: Uint32Array, at: number): number {
    if (end - start > LONG_LIMIT) return -1
    const { slots, tokens } = this
    const hash = hashOf(bytes, start, end)
    for (let probe = 0; probe < LONG_PROBES; probe++) {
      const slot = slotOf(hash, probe)
      if (slots[slot] === 0) return -1
      if (slots[slot] !== hash || slots[slot + 2] !== end - start) continue
      if (!this.holds(slots[slot + 1]!, bytes, start, end)) continue
      const from = slots[slot + 3]!
      const count = slots[slot + 4]!
      for (let i = 0; i < count; i++) out[at + i] = tokens[from + i]!
      return count
    }
    return -1
  }

  private holds(offset: number, bytes: Uint8Array, start: number, end: number): boolean {
    for (let i = start; i < end; i++) if (this.texts[offset + i - start] !== bytes[i]) return false
    return true
  }

  private addLong(bytes: Uint8Array, start: number, end: number, ids: Uint32Array, count: number): void {
    const length = end - start
    if (length > LONG_LIMIT) return
    const { slots, texts, tokens } = this
    if (this.textEnd + length > texts.length || this.tokenEnd + count > tokens.length) this.clearLong()
    const hash = hashOf(bytes, start, end)
    let slot = 0
    for (let probe = 0; probe < LONG_PROBES; probe++) {
      slot = slotOf(hash, probe)
      if (slots[slot] === 0) break
    }
    slots.set([hash, this.textEnd, length, this.tokenEnd, count], slot)
    for (let i = start; i < end; i++) texts[this.textEnd++] = bytes[i]!
    for (let i = 0; i < count; i++) tokens[this.tokenEnd++] = ids[i]!
  }
}

function slotOf(hash: number, probe: number): number {
  return ((hash + probe) & (LONG_SLOTS - 1)) * SLOT_INTS
}

/** Never 0, which marks an empty slot. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193)
  hash ^= hash >>> 15
  return hash | 0 || 1
}
