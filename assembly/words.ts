// Looks words up in the cache and merges those that are new. Words come in groups: first their keys and buckets, then
// the look-ups, so that the loads of many words are under way at once and the loop that emits has no call in it.
//
// Up to 15 bytes: an entry of 32 bytes, two in a bucket of 64, in one of two buckets that its key determines.
//   0  key: the word's bytes, zeros, and in byte 15 the length
//   16 value: seven tokens of 16 bits or four of 24 bits
//   30 u16 count of tokens, or ELSEWHERE: then the value is their address, their count and the arena's age, u32 each
// 16 to 31 bytes: an entry of 64 bytes, in one of two lines.
//   0  key: the word's bytes, zeros, and in byte 31 the length beyond 16
//   32 value: tokens as they are put out
//   62 u16 count of tokens
// Longer ones and those with more tokens: in the arena, behind a hash table of slots (memory.ts).
import {
  ARENA, ARENA_END, KEYS, LENGTH_MASKS, LONG_MASK, LONG_WORDS, MEDIUM_SHIFT, MEDIUM_WORDS, NOWHERE, STARTS, WORD_SHIFT,
  WORDS,
} from './memory'
import { HASH, merge, NONE } from './merge'

const HASH2: u64 = 0xd6e8feb86659fd93
const ELSEWHERE: u32 = 0xffff
const SHORT_LIMIT: usize = 15
const MEDIUM_LIMIT: u32 = 31
/** Longer words are merged each time. */
const LONG_LIMIT: u32 = 4096
const LONG_PROBES: u32 = 8

let arenaUsed: usize = 0
/** How often the arena was emptied. */
let arenaAge: u32 = 0
let evictions: u32 = 0

/** Words in a group; a pre-tokenizer may find up to 64 more before it hands them over. */
export const GROUP: i32 = 256

/** Writes base + each bit of `starts` to `to`, four at a time, and returns their end; what is beyond is overwritten or not read. */
// @ts-ignore: decorator
@inline
export function writeStarts(starts: u64, base: usize, to: usize): usize {
  const end = to + (<usize>popcnt(starts) << 2)
  let bits = starts
  for (let at = to; at < end; at += 16) {
    store<u32>(at, <u32>base + <u32>ctz(bits))
    bits &= bits - 1
    store<u32>(at, <u32>base + <u32>ctz(bits), 4)
    bits &= bits - 1
    store<u32>(at, <u32>base + <u32>ctz(bits), 8)
    bits &= bits - 1
    store<u32>(at, <u32>base + <u32>ctz(bits), 12)
    bits &= bits - 1
  }
  return end
}

export function clearWords(): void {
  memory.fill(WORDS, 0, <usize>64 << <usize>(64 - WORD_SHIFT))
  memory.fill(MEDIUM_WORDS, 0, <usize>64 << <usize>(64 - MEDIUM_SHIFT))
  clearArena()
}

function clearArena(): void {
  memory.fill(LONG_WORDS, 0, (<usize>LONG_MASK + 1) << 4)
  arenaUsed = 0
  arenaAge++
}

/** Encodes the words that begin at STARTS[0..count) and end where the next begins; returns the end of the tokens. */
export function encodeWords<T>(count: i32, out: usize): usize {
  findBuckets(count)
  let key = KEYS
  const end = KEYS + (<usize>count << 5)
  while (key < end) {
    do {
      const bucket: usize = load<u32>(key, 16)
      const wanted = v128.load(key)
      const first = i8x16.bitmask(i8x16.eq(wanted, v128.load(bucket)))
      const second = i8x16.bitmask(i8x16.eq(wanted, v128.load(bucket, 32)))
      const entry = select<usize>(bucket, bucket + 32, first == 0xffff)
      const tokens = <u32>load<u16>(entry, 30)
      v128.store(out, unpack<T>(v128.load(entry, 16)))
      if (select<i32>(first, second, first == 0xffff) != 0xffff || tokens == ELSEWHERE) break
      out += <usize>tokens * sizeof<T>()
      key += 32
    } while (key < end)
    if (key >= end) break
    const start: usize = load<u32>(key, 20)
    const stop: usize = load<u32>(key, 52)
    out += <usize>encodeRareWord<T>(start, <u32>(stop - start), key, out) * sizeof<T>()
    key += 32
  }
  return out
}

// @ts-ignore: decorator
@inline
function unpack<T>(value: v128): v128 {
  if (sizeof<T>() == 2) return value
  return i8x16.swizzle(value, i8x16(0, 1, 2, -1, 3, 4, 5, -1, 6, 7, 8, -1, 9, 10, 11, -1))
}

// @ts-ignore: decorator
@inline
function pack<T>(tokens: v128): v128 {
  if (sizeof<T>() == 2) return tokens
  return i8x16.swizzle(tokens, i8x16(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1))
}

/** For each word its key, the address of its bucket, its start and, if it is long, its hash: 32 bytes each at KEYS. */
function findBuckets(count: i32): void {
  // Locals: the compiler reads a global anew after each store.
  const words = WORDS
  const shift = WORD_SHIFT
  const lengthMasks = LENGTH_MASKS
  let key = KEYS
  let start: usize = load<u32>(STARTS)
  const end = STARTS + (<usize>count << 2)
  for (let at = STARTS; at < end; at += 4) {
    const stop: usize = load<u32>(at, 4)
    const length = stop - start
    store<u32>(key, <u32>start, 20)
    if (length <= SHORT_LIMIT) {
      const masks = lengthMasks + (length << 4)
      const word = v128.or(v128.and(v128.load(start), v128.load(masks)), v128.load(masks, 272))
      const bucket = <u32>words + (<u32>(hashOfKey(word) >> shift) << 6)
      v128.store(key, word)
      store<u32>(key, bucket, 16)
      store<u32>(at, bucket)
    } else {
      store<u32>(at, <u32>findLongBucket(start, <u32>length, key))
    }
    key += 32
    start = stop
  }
  store<u32>(key, <u32>start, 20)
  // Apart from the work above, so that the processor sees many of these loads at once: they bring the buckets into the
  // cache. The store keeps them from being optimized away.
  let touched: u32 = 0
  for (let at = STARTS; at < end; at += 4) touched ^= load<u32>(load<u32>(at))
  store<u32>(KEYS - 16, touched)
}

// @ts-ignore: decorator
@inline
function hashOfKey(key: v128): u64 {
  const hash = <u64>i64x2.extract_lane(key, 1) * HASH2 ^ <u64>i64x2.extract_lane(key, 0)
  return (hash ^ (hash >> 32)) * HASH
}

/** Sees to it that the loop that emits leaves the word out, and returns where it may be. */
function findLongBucket(word: usize, length: u32, key: usize): usize {
  v128.store(key, i64x2.splat(-1))
  store<u32>(key, <u32>NOWHERE, 16)
  if (length > LONG_LIMIT) return NOWHERE
  const hash = hashOf(word, length)
  store<u64>(key, hash, 24)
  return length <= MEDIUM_LIMIT ? mediumLine(hash) : longSlot(hash, 0)
}

/** A word that is not where the loop looks, is long, or has many tokens. */
function encodeRareWord<T>(word: usize, length: u32, key: usize, out: usize): u32 {
  if (length > <u32>SHORT_LIMIT) return encodeLongWord<T>(word, length, load<u64>(key, 24), out)
  const wanted = v128.load(key)
  const bucket: usize = load<u32>(key, 16)
  let entry = entryOf(bucket, wanted)
  const free = entry == 0 ? freeIn(bucket) : 0
  // A word is kept in its other bucket only when this one is full.
  if (entry == 0 && free == 0) entry = fetchEntry(bucket, wanted)
  if (entry == 0) entry = free != 0 ? free : freeEntry(bucket, wanted)
  else {
    const count = <u32>load<u16>(entry, 30)
    if (count != ELSEWHERE) {
      v128.store(out, unpack<T>(v128.load(entry, 16)))
      return count
    }
    if (load<u32>(entry, 24) == arenaAge) return copyTokens<T>(load<u32>(entry, 16), load<u32>(entry, 20), out)
  }
  const count = mergeWord<T>(word, length, out)
  const fits = <usize>count * sizeof<T>() <= (sizeof<T>() == 2 ? 14 : 16)
  if (fits) v128.store(entry, pack<T>(v128.load(out)), 16)
  else {
    const kept = takeArena(<usize>count * sizeof<T>())
    copyTokens<T>(out, count, kept)
    store<u32>(entry, <u32>kept, 16)
    store<u32>(entry, count, 20)
    store<u32>(entry, arenaAge, 24)
  }
  store<u16>(entry, fits ? count : ELSEWHERE, 30)
  v128.store(entry, wanted)
  return count
}

// @ts-ignore: decorator
@inline
function holds(entry: usize, key: v128): bool {
  return i8x16.bitmask(i8x16.eq(key, v128.load(entry))) == 0xffff
}

// @ts-ignore: decorator
@inline
function isFree(entry: usize): bool {
  return load<u8>(entry, 15) == 0
}

/** Address of the bucket's entry with this key, or 0. */
function entryOf(bucket: usize, key: v128): usize {
  return holds(bucket, key) ? bucket : holds(bucket + 32, key) ? bucket + 32 : 0
}

/** Address of a free entry of the bucket, or 0. */
function freeIn(bucket: usize): usize {
  return isFree(bucket) ? bucket : isFree(bucket + 32) ? bucket + 32 : 0
}

/** The other bucket where a key may be: one in the same page, whose address is translated already. */
function otherBucket(bucket: usize, key: v128): usize {
  const lines = <usize>(hashOfKey(key) >> (WORD_SHIFT - 6)) & 63
  return WORDS + ((bucket - WORDS) ^ (max<usize>(lines, 1) << 6))
}

/** Brings an entry from its other bucket to this full one if room can be made; returns where it is, 0: nowhere. */
function fetchEntry(bucket: usize, key: v128): usize {
  const found = entryOf(otherBucket(bucket, key), key)
  if (found == 0) return 0
  const entry = emptiedEntry(bucket)
  if (entry == 0) return found
  moveEntry(found, entry)
  return entry
}

/** An entry of the full bucket, made free by moving what it holds to its other bucket, or 0. */
function emptiedEntry(bucket: usize): usize {
  for (let entry = bucket + 32; entry >= bucket; entry -= 32) {
    const other = freeIn(otherBucket(bucket, v128.load(entry)))
    if (other == 0) continue
    moveEntry(entry, other)
    return entry
  }
  return 0
}

function moveEntry(from: usize, to: usize): void {
  v128.store(to, v128.load(from))
  v128.store(to, v128.load(from, 16), 16)
  v128.store(from, i64x2.splat(0))
}

/** A free entry for a new key whose bucket is full; where all are taken, one that is given up. */
function freeEntry(bucket: usize, key: v128): usize {
  let entry = freeIn(otherBucket(bucket, key))
  if (entry == 0) entry = emptiedEntry(bucket)
  return entry == 0 ? bucket + (<usize>(++evictions & 1) << 5) : entry
}

function encodeLongWord<T>(word: usize, length: u32, hash: u64, out: usize): u32 {
  if (length > LONG_LIMIT) return mergeWord<T>(word, length, out)
  if (length <= MEDIUM_LIMIT) {
    const known = encodeMediumWord<T>(word, length, hash, out)
    if (known != 0) return known
  }
  for (let probe: u32 = 0; probe < LONG_PROBES; probe++) {
    const slot = longSlot(hash, probe)
    const found = load<u64>(slot)
    if (found == 0) break
    if (found != hash || load<u16>(slot, 12) != <u16>length) continue
    const text = ARENA + load<u32>(slot, 8)
    if (memory.compare(text, word, length) != 0) continue
    return copyTokens<T>(text + ((length + 7) & ~7), load<u16>(slot, 14), out)
  }
  const count = mergeWord<T>(word, length, out)
  const isKept = length <= MEDIUM_LIMIT && addMediumWord<T>(word, length, hash, out, count)
  if (!isKept) addLongWord<T>(word, length, hash, out, count)
  return count
}

// @ts-ignore: decorator
@inline
function mediumLine(hash: u64): usize {
  return MEDIUM_WORDS + (<usize>(hash >> MEDIUM_SHIFT) << 6)
}

/** Second half of a key of 16 to 31 bytes. */
// @ts-ignore: decorator
@inline
function endOfKey(word: usize, length: u32): v128 {
  const masks = LENGTH_MASKS + (<usize>(length - 16) << 4)
  return v128.or(v128.and(v128.load(word, 16), v128.load(masks)), v128.load(masks, 272))
}

/** Count of its tokens, or 0 when it is not known. */
function encodeMediumWord<T>(word: usize, length: u32, hash: u64, out: usize): u32 {
  const start = v128.load(word)
  const end = endOfKey(word, length)
  let line = mediumLine(hash)
  if (!holds(line, start) || !holds(line + 16, end)) {
    line = MEDIUM_WORDS + ((line - MEDIUM_WORDS) ^ 64)
    if (!holds(line, start) || !holds(line + 16, end)) return 0
  }
  v128.store(out, v128.load(line, 32))
  v128.store(out, v128.load(line, 48), 16)
  return load<u16>(line, 62)
}

/** Whether there was room for the word and its tokens. */
function addMediumWord<T>(word: usize, length: u32, hash: u64, tokens: usize, count: u32): bool {
  let line = mediumLine(hash)
  if (load<u16>(line, 62) != 0) line = MEDIUM_WORDS + ((line - MEDIUM_WORDS) ^ 64)
  if (load<u16>(line, 62) != 0 || <usize>count * sizeof<T>() > 30) return false
  v128.store(line, v128.load(word))
  v128.store(line, endOfKey(word, length), 16)
  v128.store(line, v128.load(tokens), 32)
  v128.store(line, v128.load(tokens, 16), 48)
  store<u16>(line, count, 62)
  return true
}

// @ts-ignore: decorator
@inline
function longSlot(hash: u64, probe: u32): usize {
  return LONG_WORDS + (<usize>((<u32>(hash >> 20) + probe) & LONG_MASK) << 4)
}

function addLongWord<T>(word: usize, length: u32, hash: u64, tokens: usize, count: u32): void {
  const textBytes = <usize>((length + 7) & ~7)
  const text = takeArena(textBytes + <usize>count * sizeof<T>())
  let slot: usize = 0
  for (let probe: u32 = 0; probe < LONG_PROBES; probe++) {
    slot = longSlot(hash, probe)
    if (load<u64>(slot) == 0) break
  }
  memory.copy(text, word, length)
  copyTokens<T>(tokens, count, text + textBytes)
  store<u64>(slot, hash)
  store<u32>(slot, <u32>(text - ARENA), 8)
  store<u16>(slot, length, 12)
  store<u16>(slot, count, 14)
}

/** Room for so many bytes in the arena, and for what copyTokens writes beyond; empties it when it is full. */
function takeArena(bytes: usize): usize {
  if (ARENA + arenaUsed + bytes + 16 > ARENA_END) clearArena()
  const taken = ARENA + arenaUsed
  arenaUsed += (bytes + 7) & ~7
  return taken
}

/** Copies 16 bytes at a time, so up to 15 too many. */
function copyTokens<T>(from: usize, count: u32, to: usize): u32 {
  const bytes = <usize>count * sizeof<T>()
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, v128.load(from + at))
  return count
}

/** Merges a word, unless merges are ignored for it because it is a token as it is. */
function mergeWord<T>(word: usize, length: u32, out: usize): u32 {
  const token = wholeWords == 0 ? NONE : wholeWord(word, length)
  if (token == NONE) return merge<T>(word, length, out)
  store<T>(out, <T>token)
  return 1
}

// Whole words lie in an open-addressing table of u32: the word's number and over it bits of its hash, all ones when
// empty. A vocabulary whose merges are not to be ignored has none: finding out which of its words their merges make one
// token takes as long as merging them when they come.
let wholeWords: usize = 0
let wholeShift: u64 = 0
let wholeMask: u32 = 0
let numberMask: u32 = 0
let wholeTexts: usize = 0
let wholeOffsets: usize = 0
let wholeIds: usize = 0

/**
 * Takes the vocabulary, word i at texts + offsets[i] up to offsets[i + 1], token ids[i]; they have to stay. `table` has
 * room for 2^slotBits slots, more than there are words.
 */
export function setWholeWords(texts: usize, offsets: usize, ids: usize, count: u32, table: usize, slotBits: u32): void {
  memory.fill(table, 0xff, <usize>4 << slotBits)
  wholeWords = table
  wholeShift = 64 - <u64>slotBits
  wholeMask = (1 << slotBits) - 1
  numberMask = (1 << (32 - clz(count))) - 1
  wholeTexts = texts
  wholeOffsets = offsets
  wholeIds = ids
  for (let number: u32 = 0; number < count; number++) {
    const start = load<u32>(offsets + (<usize>number << 2))
    const length = load<u32>(offsets + (<usize>number << 2), 4) - start
    if (length == 0) continue
    const hash = hashOf(texts + start, length)
    let slot = <u32>(hash >> wholeShift)
    while (load<u32>(table + (<usize>slot << 2)) != NONE) slot = (slot + 1) & wholeMask
    store<u32>(table + (<usize>slot << 2), wholeBits(hash) | number)
  }
}

// @ts-ignore: decorator
@inline
function wholeBits(hash: u64): u32 {
  return <u32>(hash >> (wholeShift - 32)) & ~numberMask
}

function wholeWord(word: usize, length: u32): u32 {
  const hash = hashOf(word, length)
  let slot = <u32>(hash >> wholeShift)
  while (true) {
    const entry = load<u32>(wholeWords + (<usize>slot << 2))
    if (entry == NONE) return NONE
    const number = entry & numberMask
    if (number == (entry ^ wholeBits(hash))) {
      const at = <usize>number << 2
      const start = load<u32>(wholeOffsets + at)
      const isSame = load<u32>(wholeOffsets + at, 4) - start == length && memory.compare(wholeTexts + start, word, length) == 0
      if (isSame) return load<u32>(wholeIds + at)
    }
    slot = (slot + 1) & wholeMask
  }
}

/** Never 0, which marks an empty slot. */
function hashOf(word: usize, length: u32): u64 {
  let hash: u64 = length
  let at: u32 = 0
  for (; at + 8 <= length; at += 8) {
    hash = (hash ^ load<u64>(word + at)) * HASH
    hash ^= hash >> 32
  }
  if (at < length) {
    hash = (hash ^ (load<u64>(word + at) << (<u64>(8 - (length - at)) << 3))) * HASH
    hash ^= hash >> 32
  }
  hash *= HASH2
  hash ^= hash >> 29
  return hash == 0 ? 1 : hash
}
