// Looks words up in the cache and merges new ones. Words are processed in groups: first all keys and buckets, then the
// look-ups, so that many loads are in flight at once and the emitting loop has no call.
//
// Up to 15 bytes: an entry of 32 bytes, two per bucket of 64, in one of two buckets that the key determines.
//   0  key: the word's bytes, zeros, and in byte 15 the length
//   16 value: seven tokens of 16 bits or four of 24 bits
//   30 u16 count of tokens, or ELSEWHERE: then the value is their address, count and arena age, u32 each
// Longer words, and tokens stored elsewhere: long-words.ts.
import { DETOURS, EVICTIONS, FETCHING, HASHING, LONG_WORDS, note, noteWords, RARE_WORDS, SPLITTING, stopsAt } from './instrument'
import { arenaAge, clearLongWords, copyTokens, encodeLongWord, findLongWord, holds, longHash, takeArena } from './long-words'
import { doubleWords, KEYS, LEAST_WORD_SHIFT, LENGTH_MASKS, NOWHERE, STARTS, WORD_SHIFT, WORDS } from './memory'
import { HASH, HASH2 } from './merge'
import { mergeWord } from './whole-words'

const ELSEWHERE: u32 = 0xffff
const SHORT_LIMIT: usize = 15

// Since the last review of the cache's size.
let wordsSeen: u32 = 0
let evictions: u32 = 0
/** Words found in their other bucket. */
let detours: u32 = 0

/** Words between two reviews. */
const REVIEW_WORDS: u32 = 1 << 20
/** Words that could be looked up while an evicted word is merged again, in detours. */
const EVICTION_COST: u32 = 8
/** The cache grows when more than one word in this many takes a detour. */
const FEW: u32 = 16

/** Words per group; a pre-tokenizer may find up to 64 more before it passes them on. */
export const GROUP: i32 = 256

/** Writes base + each set bit of `starts` to `to`, four at a time, and returns their end; extra entries are ignored. */
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

/** log2 of the number of buckets. */
export function wordBits(): i32 {
  return <i32>(64 - WORD_SHIFT)
}

export function clearWords(): void {
  memory.fill(WORDS, 0, <usize>64 << <usize>(64 - WORD_SHIFT))
  clearLongWords()
}

/** Doubles the cache if the words since the last review would have been faster with it, and its memory is allowed. */
// @ts-ignore: decorator
@inline
export function reviewWords(): void {
  if (wordsSeen < REVIEW_WORDS) return
  if (WORD_SHIFT > LEAST_WORD_SHIFT && (evictions * EVICTION_COST + detours) * FEW > wordsSeen) growWords()
  wordsSeen = 0
  evictions = 0
  detours = 0
}

/**
 * The buckets of an entry move up, or stay, so the last buckets are moved first. An entry added below is moved again later;
 * one without room is forgotten.
 */
function growWords(): void {
  const buckets = <usize>1 << <usize>(64 - WORD_SHIFT)
  // Written as a whole before it is read: see writeCache in kernel-engine.ts.
  memory.fill(WORDS + (buckets << 6), 0, buckets << 6)
  doubleWords()
  for (let bucket = WORDS + (buckets - 1 << 6); bucket >= WORDS; bucket -= 64) {
    const first = v128.load(bucket)
    const firstValue = v128.load(bucket, 16)
    const second = v128.load(bucket, 32)
    const secondValue = v128.load(bucket, 48)
    memory.fill(bucket, 0, 64)
    addEntry(first, firstValue)
    addEntry(second, secondValue)
  }
}

function addEntry(key: v128, value: v128): void {
  if (!v128.any_true(key)) return
  const bucket = bucketOf(key)
  const home = freeIn(bucket)
  const entry = home != 0 ? home : freeIn(otherBucket(bucket, key))
  if (entry == 0) return
  v128.store(entry, key)
  v128.store(entry, value, 16)
}

/** Encodes the words that start at STARTS[0..count), each ending at the next start; returns the end of the tokens. */
export function encodeWords<T>(count: i32, out: usize): usize {
  wordsSeen += count
  noteWords(count)
  if (stopsAt(SPLITTING)) return out
  findBuckets(count)
  if (stopsAt(HASHING) || stopsAt(FETCHING)) return out
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
    note(RARE_WORDS)
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

/**
 * For each word: its key, bucket address, start and, if it is long, its hash, 32 bytes each at KEYS. The addresses
 * also replace the starts, except the last.
 */
function findBuckets(count: i32): void {
  // Locals: the compiler reloads globals after each store.
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
  if (stopsAt(HASHING)) return
  // A separate loop, so that the processor issues many of these loads at once and brings the buckets into the cache. The
  // store keeps the loads from being optimized away.
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

function bucketOf(key: v128): usize {
  return WORDS + (<usize>(hashOfKey(key) >> WORD_SHIFT) << 6)
}

/** Makes the emitting loop skip the word, and returns the line that may hold it. */
function findLongBucket(word: usize, length: u32, key: usize): usize {
  const place = findLongWord(word, length)
  v128.store(key, i64x2.splat(-1))
  store<u32>(key, <u32>NOWHERE, 16)
  store<u64>(key, longHash, 24)
  return place
}

/** A word that is not in its first bucket, is long, or has many tokens. */
function encodeRareWord<T>(word: usize, length: u32, key: usize, out: usize): u32 {
  if (length > <u32>SHORT_LIMIT) note(LONG_WORDS)
  if (length > <u32>SHORT_LIMIT) return encodeLongWord<T>(word, length, load<u64>(key, 24), out)
  const wanted = v128.load(key)
  const bucket: usize = load<u32>(key, 16)
  let entry = entryOf(bucket, wanted)
  const free = entry == 0 ? freeIn(bucket) : 0
  // A word is stored in its other bucket only if this one is full.
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

/** The alternative bucket of a key, in the same page, so that its address translation is cached. */
function otherBucket(bucket: usize, key: v128): usize {
  const lines = <usize>(hashOfKey(key) >> (WORD_SHIFT - 6)) & 63
  return WORDS + ((bucket - WORDS) ^ (max<usize>(lines, 1) << 6))
}

/** Moves an entry from its other bucket to this full one if room can be made; returns its address, or 0 if it is absent. */
function fetchEntry(bucket: usize, key: v128): usize {
  const found = entryOf(otherBucket(bucket, key), key)
  if (found == 0) return 0
  detours++
  note(DETOURS)
  const entry = emptiedEntry(bucket)
  if (entry == 0) return found
  moveEntry(found, entry)
  return entry
}

/** An entry of the full bucket, freed by moving its content to the other bucket, or 0. */
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

/** A free entry for a new key whose bucket is full; evicts one if all are in use. */
function freeEntry(bucket: usize, key: v128): usize {
  let entry = freeIn(otherBucket(bucket, key))
  if (entry == 0) entry = emptiedEntry(bucket)
  if (entry == 0) note(EVICTIONS)
  return entry == 0 ? bucket + (<usize>(++evictions & 1) << 5) : entry
}
