// The second part of the word cache: words of 16 bytes and more, and the arena, which also stores the tokens of shorter words
// with many tokens.
//
// 16 to 31 bytes: an entry of 64 bytes, in one of two lines.
//   0  key: the word's bytes, zeros, and in byte 31 the length minus 16
//   32 value: tokens in output format
//   62 u16 count of tokens, 0 if the line is free
// Longer words, and those with more tokens: in the arena, found through a hash table (memory.ts).
import {
  ARENA, ARENA_END, LENGTH_MASKS, LONG_MASK, LONG_WORDS, MEDIUM_SHIFT, MEDIUM_WORDS, NOWHERE,
} from './memory'
import { hashOf, mergeWord } from './whole-words'

const MEDIUM_LIMIT: u32 = 31
/** Longer words are not cached. */
const LONG_LIMIT: u32 = 4096
const LONG_PROBES: u32 = 8

let arenaUsed: usize = 0
/** Number of times the arena was cleared. */
export let arenaAge: u32 = 0
/** Hash of the last word searched. */
export let longHash: u64 = 0

export function clearLongWords(): void {
  memory.fill(MEDIUM_WORDS, 0, <usize>64 << <usize>(64 - MEDIUM_SHIFT))
  clearArena()
}

function clearArena(): void {
  memory.fill(LONG_WORDS, 0, (<usize>LONG_MASK + 1) << 4)
  arenaUsed = 0
  arenaAge++
}

/** Line that may hold a word; sets `longHash`. */
export function findLongWord(word: usize, length: u32): usize {
  longHash = 0
  if (length > LONG_LIMIT) return NOWHERE
  longHash = hashOf(word, length)
  return length <= MEDIUM_LIMIT ? mediumLine(longHash) : longSlot(longHash, 0)
}

export function encodeLongWord<T>(word: usize, length: u32, hash: u64, out: usize): u32 {
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

/** Second half of the key of a word of 16 to 31 bytes. */
// @ts-ignore: decorator
@inline
function endOfKey(word: usize, length: u32): v128 {
  const masks = LENGTH_MASKS + (<usize>(length - 16) << 4)
  return v128.or(v128.and(v128.load(word, 16), v128.load(masks)), v128.load(masks, 272))
}

// @ts-ignore: decorator
@inline
export function holds(entry: usize, key: v128): bool {
  return i8x16.bitmask(i8x16.eq(key, v128.load(entry))) == 0xffff
}

/** Token count of the word, or 0 if it is not cached. */
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

/** Allocates bytes in the arena, plus the slack that copyTokens writes; clears the arena if it is full. */
export function takeArena(bytes: usize): usize {
  if (ARENA + arenaUsed + bytes + 16 > ARENA_END) clearArena()
  const taken = ARENA + arenaUsed
  arenaUsed += (bytes + 7) & ~7
  return taken
}

/** Copies 16 bytes at a time, so up to 15 more than needed. */
export function copyTokens<T>(from: usize, count: u32, to: usize): u32 {
  const bytes = <usize>count * sizeof<T>()
  for (let at: usize = 0; at < bytes; at += 16) v128.store(to + at, v128.load(from + at))
  return count
}
