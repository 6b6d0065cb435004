// Looks words up in the cache and merges those that are new. Words come in groups: first their keys and buckets, then
// the look-ups, so that the loads of many words are under way at once and the loop that emits has no call in it.
//
// An entry is 32 bytes, two lie in a 64-byte line:
//   0  key: up to 15 bytes of the word, zeros, and in byte 15 the length
//   16 value: seven u16 or three u32 tokens
//   30 u16 count of tokens, or OVERFLOW when there are more: then the word is among the long ones
import {
  ARENA, ARENA_END, KEYS, LENGTH_MASKS, LONG_MASK, LONG_WORDS, STARTS, WORD_SHIFT, WORDS,
} from './memory'
import { HASH, merge, NONE } from './merge'

const HASH2: u64 = 0xd6e8feb86659fd93
const OVERFLOW: u32 = 0xffff
const SHORT_LIMIT: usize = 15
/** Longer words are merged each time. */
const LONG_LIMIT: u32 = 4096
const LONG_PROBES: i32 = 8

let arenaTop: usize = 0
let evictions: u32 = 0

/** Words in a group; a pre-tokenizer may find up to 64 more before it hands them over. */
export const GROUP: i32 = 512

export function clearWords(): void {
  memory.fill(WORDS, 0, <usize>64 << <usize>(64 - WORD_SHIFT))
  clearLongWords()
}

function clearLongWords(): void {
  memory.fill(LONG_WORDS, 0, (<usize>LONG_MASK + 1) << 4)
  arenaTop = ARENA
}

/** Encodes the words that begin at STARTS[0..count) and end where the next begins; returns the end of the tokens. */
export function encodeWords<T>(count: i32, out: usize): usize {
  findBuckets(count)
  let key = KEYS
  const end = KEYS + (<usize>count << 5)
  while (key < end) {
    let bucket: usize
    do {
      bucket = load<u32>(key, 16)
      const wanted = v128.load(key)
      const first = i8x16.bitmask(i8x16.eq(wanted, v128.load(bucket)))
      const second = i8x16.bitmask(i8x16.eq(wanted, v128.load(bucket, 32)))
      const entry = select<usize>(bucket, bucket + 32, first == 0xffff)
      const tokens = <u32>load<u16>(entry, 30)
      v128.store(out, v128.load(entry, 16))
      if (select<i32>(first, second, first == 0xffff) != 0xffff || tokens == OVERFLOW) break
      out += <usize>tokens * sizeof<T>()
      key += 32
    } while (key < end)
    if (key >= end) break
    const start: usize = load<u32>(key, 20)
    const stop: usize = load<u32>(STARTS + ((key - KEYS) >> 3), 4)
    out += <usize>encodeRareWord<T>(start, <u32>(stop - start), key, bucket, out) * sizeof<T>()
    key += 32
  }
  return out
}

/** For each word its key, the address of its bucket and its start, 32 bytes each at KEYS. */
function findBuckets(count: i32): void {
  // Locals: the compiler reads a global anew after each store.
  const words = WORDS
  const shift = WORD_SHIFT
  const lengthMasks = LENGTH_MASKS
  let key = KEYS
  let start: usize = load<u32>(STARTS)
  let touched: u32 = 0
  const end = STARTS + (<usize>count << 2)
  for (let at = STARTS; at < end; at += 4) {
    const stop: usize = load<u32>(at, 4)
    const length = select<usize>(SHORT_LIMIT + 1, stop - start, stop - start > SHORT_LIMIT)
    const masks = lengthMasks + (length << 4)
    const word = v128.or(v128.and(v128.load(start), v128.load(masks)), v128.load(masks, 272))
    let hash = <u64>i64x2.extract_lane(word, 1) * HASH2 ^ <u64>i64x2.extract_lane(word, 0)
    hash ^= hash >> 32
    hash *= HASH
    const bucket = words + (<usize>(hash >> shift) << 6)
    touched ^= load<u32>(bucket)
    v128.store(key, word)
    store<u32>(key, <u32>bucket, 16)
    store<u32>(key, <u32>start, 20)
    key += 32
    start = stop
  }
  // Keeps the loads above from being optimized away: they bring the buckets into the cache.
  store<u32>(KEYS - 16, touched)
}

/** A word that is not in its bucket's first line, is long, or has many tokens. */
function encodeRareWord<T>(word: usize, length: u32, key: usize, bucket: usize, out: usize): u32 {
  if (length > <u32>SHORT_LIMIT) return encodeLongWord<T>(word, length, out)
  const wanted = v128.load(key)
  if (holds(bucket, wanted) || holds(bucket + 32, wanted)) return encodeLongWord<T>(word, length, out)
  // The bucket's neighbour takes what the bucket has no room for; a word found there changes places.
  const neighbour = WORDS + ((bucket - WORDS) ^ 64)
  const found = holds(neighbour, wanted) ? neighbour : holds(neighbour + 32, wanted) ? neighbour + 32 : 0
  if (found != 0) {
    swap(found, bucket + 32)
    v128.store(out, v128.load(bucket, 48))
    const tokens = <u32>load<u16>(bucket, 62)
    return tokens == OVERFLOW ? encodeLongWord<T>(word, length, out) : tokens
  }
  const count = mergeWord<T>(word, length, out)
  const entry = freeEntry(bucket, neighbour)
  const fits = <usize>count * sizeof<T>() <= 14
  if (fits) v128.store(entry, v128.load(out), 16)
  else addLongWord<T>(word, length, hashOf(word, length), out, count)
  store<u16>(entry, fits ? count : OVERFLOW, 30)
  v128.store(entry, wanted)
  return count
}

// @ts-ignore: decorator
@inline
function holds(entry: usize, key: v128): bool {
  return i8x16.bitmask(i8x16.eq(key, v128.load(entry))) == 0xffff
}

function swap(a: usize, b: usize): void {
  const key = v128.load(a)
  const value = v128.load(a, 16)
  v128.store(a, v128.load(b))
  v128.store(a, v128.load(b, 16), 16)
  v128.store(b, key)
  v128.store(b, value, 16)
}

function freeEntry(bucket: usize, neighbour: usize): usize {
  if (load<u8>(bucket, 15) == 0) return bucket
  if (load<u8>(bucket, 47) == 0) return bucket + 32
  if (load<u8>(neighbour, 15) == 0) return neighbour
  if (load<u8>(neighbour, 47) == 0) return neighbour + 32
  evictions++
  return neighbour + (<usize>(evictions & 1) << 5)
}

function encodeLongWord<T>(word: usize, length: u32, out: usize): u32 {
  if (length > LONG_LIMIT) return mergeWord<T>(word, length, out)
  const hash = hashOf(word, length)
  for (let probe = 0; probe < LONG_PROBES; probe++) {
    const slot = LONG_WORDS + (<usize>((<u32>(hash >> 20) + probe) & LONG_MASK) << 4)
    const found = load<u64>(slot)
    if (found == 0) break
    if (found != hash || load<u16>(slot, 12) != <u16>length) continue
    const text = ARENA + load<u32>(slot, 8)
    if (memory.compare(text, word, length) != 0) continue
    const count = <u32>load<u16>(slot, 14)
    memory.copy(out, text + ((length + 7) & ~7), <usize>count * sizeof<T>())
    return count
  }
  const count = mergeWord<T>(word, length, out)
  addLongWord<T>(word, length, hash, out, count)
  return count
}

function addLongWord<T>(word: usize, length: u32, hash: u64, tokens: usize, count: u32): void {
  const textBytes = <usize>((length + 7) & ~7)
  const tokenBytes = (<usize>count * sizeof<T>() + 7) & ~7
  if (arenaTop + textBytes + tokenBytes > ARENA_END) clearLongWords()
  let slot: usize = 0
  for (let probe = 0; probe < LONG_PROBES; probe++) {
    slot = LONG_WORDS + (<usize>((<u32>(hash >> 20) + probe) & LONG_MASK) << 4)
    if (load<u64>(slot) == 0) break
  }
  memory.copy(arenaTop, word, length)
  memory.copy(arenaTop + textBytes, tokens, <usize>count * sizeof<T>())
  store<u64>(slot, hash)
  store<u32>(slot, <u32>(arenaTop - ARENA), 8)
  store<u16>(slot, length, 12)
  store<u16>(slot, count, 14)
  arenaTop += textBytes + tokenBytes
}

/** Merges a word, unless merges are ignored for it because it is a token as it is. */
function mergeWord<T>(word: usize, length: u32, out: usize): u32 {
  const token = wholeWords == 0 ? NONE : wholeWord(word, length)
  if (token == NONE) return merge<T>(word, length, out)
  store<T>(out, <T>token)
  return 1
}

// Whole words lie in an open-addressing table of 16-byte slots: low half of the hash u32, address of the text u32
// (0: empty), length u32, token u32. A vocabulary whose merges are not to be ignored has none: finding out which of its
// words their merges make one token takes as long as merging them when they come.
let wholeWords: usize = 0
let wholeWordMask: u32 = 0

/**
 * Takes the vocabulary, word i at texts + offsets[i] up to offsets[i + 1], token ids[i]. `table` has room for more slots
 * than words, a power of two; the texts have to stay.
 */
export function setWholeWords(texts: usize, offsets: usize, ids: usize, count: u32, table: usize, slots: u32): void {
  memory.fill(table, 0, <usize>slots << 4)
  wholeWords = table
  wholeWordMask = slots - 1
  for (let i: u32 = 0; i < count; i++) {
    const start = load<u32>(offsets + (<usize>i << 2))
    const length = load<u32>(offsets + (<usize>i << 2), 4) - start
    if (length == 0) continue
    const word = texts + start
    const hash = hashOf(word, length)
    let slot = wholeWords + (<usize>(<u32>(hash >> 32) & wholeWordMask) << 4)
    while (load<u32>(slot, 4) != 0) slot = nextWholeWord(slot)
    store<u32>(slot, <u32>hash)
    store<u32>(slot, <u32>word, 4)
    store<u32>(slot, length, 8)
    store<u32>(slot, load<u32>(ids + (<usize>i << 2)), 12)
  }
}

function wholeWord(word: usize, length: u32): u32 {
  const hash = hashOf(word, length)
  let slot = wholeWords + (<usize>(<u32>(hash >> 32) & wholeWordMask) << 4)
  while (true) {
    const text: usize = load<u32>(slot, 4)
    if (text == 0) return NONE
    const isSame = load<u32>(slot) == <u32>hash && load<u32>(slot, 8) == length && memory.compare(text, word, length) == 0
    if (isSame) return load<u32>(slot, 12)
    slot = nextWholeWord(slot)
  }
}

// @ts-ignore: decorator
@inline
function nextWholeWord(slot: usize): usize {
  return wholeWords + ((slot + 16 - wholeWords) & ((<usize>wholeWordMask << 4) | 15))
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
