// Reads the two long lists of a tokenizer.json, vocabulary and merges, directly from its text. Only their plain form is
// supported; otherwise the result is NOT_PLAIN. The TypeScript twin src/tokenizer/kernel/model-lists.ts fills the same tables.
//
// The text ends with a zero byte, which stops every loop: JSON never contains one.
import { BACKSLASH, CLOSE_BRACE, CLOSE_BRACKET, COLON, COMMA, OPEN_BRACE, OPEN_BRACKET, QUOTE, SPACE } from './json-bytes'

const NOT_PLAIN: i32 = -1
/** An id that no token has. */
const UNKNOWN: u32 = 0xffffffff
const NO_BYTE: u32 = 0xffff

/** Current address in the text; after a list once it was read. */
export let listEnd: usize = 0
/** Address of the next code unit, u16. */
let unitsEnd: usize = 0
let lastId: u32 = 0

/** The vocabulary: token i is units[offsets[i], offsets[i + 1]) and has the id ids[i]. */
let units: usize = 0
let offsets: usize = 0
let ids: usize = 0
/** Its hash index with open addressing: token number + 1, or 0; and the hash of each token. */
let slots: usize = 0
let slotMask: u32 = 0
let hashes: usize = 0

/** Reads the object whose brace is at `from` into the tables; returns the number of tokens. */
export function readVocabulary(from: usize, unitTable: usize, offsetTable: usize, idTable: usize): i32 {
  units = unitTable
  offsets = offsetTable
  ids = idTable
  unitsEnd = units
  listEnd = from
  if (!expect(OPEN_BRACE)) return NOT_PLAIN
  let count: i32 = 0
  let more = hasItem(CLOSE_BRACE, count)
  for (; more > 0; more = hasItem(CLOSE_BRACE, count)) {
    store<u32>(offsets + (<usize>count << 2), <u32>((unitsEnd - units) >> 1))
    if (!readString() || !expect(COLON) || !readId()) return NOT_PLAIN
    store<u32>(ids + (<usize>count << 2), lastId)
    count++
  }
  store<u32>(offsets + (<usize>count << 2), <u32>((unitsEnd - units) >> 1))
  return more < 0 ? NOT_PLAIN : count
}

/** Builds the index of the vocabulary in 2^slotBits zeroed slots; returns whether all tokens differ. */
export function indexVocabulary(count: i32, hashTable: usize, slotTable: usize, slotBits: i32): bool {
  hashes = hashTable
  slots = slotTable
  slotMask = (1 << slotBits) - 1
  let differ = true
  for (let number: i32 = 0; number < count; number++) {
    const start = units + (<usize>load<u32>(offsets + (<usize>number << 2)) << 1)
    const end = units + (<usize>load<u32>(offsets + (<usize>number << 2), 4) << 1)
    const hash = hashOf(start, end)
    const slot = slotOf(start, end, hash)
    if (load<u32>(slot) != 0) differ = false
    store<u32>(hashes + (<usize>number << 2), hash)
    store<u32>(slot, number + 1)
  }
  return differ
}

/** Reads the list whose bracket is at `from` into tables of ids; returns the number of merges. */
export function readMerges(from: usize, left: usize, right: usize, result: usize): i32 {
  const scratch = unitsEnd
  listEnd = from
  if (!expect(OPEN_BRACKET)) return NOT_PLAIN
  let count: i32 = 0
  let more = hasItem(CLOSE_BRACKET, count)
  for (; more > 0; more = hasItem(CLOSE_BRACKET, count)) {
    unitsEnd = scratch
    const middle = load<u8>(listEnd) == QUOTE ? readPairInOne(scratch) : readPair()
    if (middle == 0) return NOT_PLAIN
    const leftId = idOf(scratch, middle)
    const rightId = idOf(middle, unitsEnd)
    const resultId = idOf(scratch, unitsEnd)
    if (leftId == UNKNOWN || rightId == UNKNOWN || resultId == UNKNOWN) return NOT_PLAIN
    store<u32>(left + (<usize>count << 2), leftId)
    store<u32>(right + (<usize>count << 2), rightId)
    store<u32>(result + (<usize>count << 2), resultId)
    count++
  }
  unitsEnd = scratch
  return more < 0 ? NOT_PLAIN : count
}

/**
 * Writes the tokens spelled in the byte alphabet as bytes, and sets one bit for each pair of bytes that a token contains next
 * to each other; returns the number of words. `bytesOfUnits` holds the byte of each of the first code units, u16, or
 * NO_BYTE.
 */
export function packWords(
  count: i32,
  bytesOfUnits: usize,
  unitCount: u32,
  texts: usize,
  wordOffsets: usize,
  wordIds: usize,
  innerPairs: usize,
): i32 {
  let words: i32 = 0
  let end = texts
  store<u32>(wordOffsets, 0)
  for (let number: i32 = 0; number < count; number++) {
    const first = units + (<usize>load<u32>(offsets + (<usize>number << 2)) << 1)
    const last = units + (<usize>load<u32>(offsets + (<usize>number << 2), 4) << 1)
    let out = end
    let at = first
    for (; at < last; at += 2) {
      const unit = <u32>load<u16>(at)
      const byte: u32 = unit < unitCount ? load<u16>(bytesOfUnits + (<usize>unit << 1)) : NO_BYTE
      if (byte == NO_BYTE) break
      store<u8>(out++, <u8>byte)
    }
    if (at < last) continue
    for (let i = end + 1; i < out; i++) {
      const pair = <u32>load<u16>(i - 1)
      const place = innerPairs + (pair >> 3)
      store<u8>(place, load<u8>(place) | (<u8>1 << <u8>(pair & 7)))
    }
    store<u32>(wordIds + (<usize>words << 2), load<u32>(ids + (<usize>number << 2)))
    words++
    store<u32>(wordOffsets + (<usize>words << 2), <u32>(out - texts))
    end = out
  }
  return words
}

/** Reads two tokens separated by a space; stores them back to back and returns the start of the second, or 0. */
function readPairInOne(scratch: usize): usize {
  if (!readString()) return 0
  let middle = scratch
  while (middle < unitsEnd && load<u16>(middle) != SPACE) middle += 2
  if (middle == unitsEnd) return 0
  unitsEnd -= 2
  for (let at = middle; at < unitsEnd; at += 2) {
    const unit = load<u16>(at, 2)
    if (unit == SPACE) return 0
    store<u16>(at, unit)
  }
  return middle
}

function readPair(): usize {
  if (!expect(OPEN_BRACKET)) return 0
  let middle: usize = 0
  let count: i32 = 0
  let more = hasItem(CLOSE_BRACKET, count)
  for (; more > 0; more = hasItem(CLOSE_BRACKET, count)) {
    if (count == 1) middle = unitsEnd
    if (!readString()) return 0
    count++
  }
  return more < 0 || count != 2 ? 0 : middle
}

/** Whether another item follows the `count` ones already read, -1 for a syntax error; skips the separator or closing bracket. */
function hasItem(close: u32, count: i32): i32 {
  skipSpaces()
  const byte: u32 = load<u8>(listEnd)
  if (byte != close && count == 0) return 1
  if (byte != close && byte != COMMA) return NOT_PLAIN
  listEnd++
  if (byte == close) return 0
  skipSpaces()
  return 1
}

function expect(byte: u32): bool {
  skipSpaces()
  if (load<u8>(listEnd) != byte) return false
  listEnd++
  skipSpaces()
  return true
}

// @ts-ignore: decorator
@inline
function skipSpaces(): void {
  let byte: u32 = load<u8>(listEnd)
  while (byte == SPACE || byte == 9 || byte == 10 || byte == 13) byte = load<u8>(++listEnd)
}

function readId(): bool {
  const start = listEnd
  let id: u32 = 0
  for (let digit: u32 = load<u8>(listEnd) - 48; digit <= 9; digit = load<u8>(listEnd) - 48) {
    id = id * 10 + digit
    listEnd++
  }
  lastId = id
  const digits = listEnd - start
  return digits > 0 && digits < 10 && (load<u8>(start) != 48 || digits == 1)
}

/** Appends the code units of a string. */
function readString(): bool {
  let at = listEnd
  let out = unitsEnd
  if (load<u8>(at) != QUOTE) return false
  at++
  for (let byte: u32 = load<u8>(at); byte != QUOTE; byte = load<u8>(at)) {
    if (byte < SPACE) return false
    if (byte == BACKSLASH) {
      const letter: u32 = load<u8>(at, 1)
      const unit = letter == 0x75 ? hexadecimal(at + 2) : escaped(letter)
      if (unit == UNKNOWN) return false
      store<u16>(out, <u16>unit)
      out += 2
      at += letter == 0x75 ? 6 : 2
    } else if (byte < 0x80) {
      store<u16>(out, <u16>byte)
      out += 2
      at++
    } else {
      const codePoint = codePointAt(at, byte)
      if (codePoint == UNKNOWN) return false
      if (codePoint < 0x10000) store<u16>(out, <u16>codePoint)
      else {
        store<u16>(out, <u16>(0xd7c0 + (codePoint >> 10)))
        out += 2
        store<u16>(out, <u16>(0xdc00 | (codePoint & 0x3ff)))
      }
      out += 2
      at += codePoint < 0x800 ? 2 : codePoint < 0x10000 ? 3 : 4
    }
  }
  listEnd = at + 1
  unitsEnd = out
  return true
}

/** Code point of the multi-byte sequence at `at`; UNKNOWN if it is invalid UTF-8. */
function codePointAt(at: usize, lead: u32): u32 {
  const second: u32 = load<u8>(at, 1) ^ 0x80
  if (second > 0x3f) return UNKNOWN
  if (lead < 0xe0) return lead < 0xc2 ? UNKNOWN : ((lead & 0x1f) << 6) | second
  const third: u32 = load<u8>(at, 2) ^ 0x80
  if (third > 0x3f) return UNKNOWN
  if (lead < 0xf0) {
    const codePoint = ((lead & 0x0f) << 12) | (second << 6) | third
    return codePoint < 0x800 || (codePoint >= 0xd800 && codePoint < 0xe000) ? UNKNOWN : codePoint
  }
  const fourth: u32 = load<u8>(at, 3) ^ 0x80
  if (fourth > 0x3f || lead > 0xf4) return UNKNOWN
  const codePoint = ((lead & 0x07) << 18) | (second << 12) | (third << 6) | fourth
  return codePoint < 0x10000 || codePoint > 0x10ffff ? UNKNOWN : codePoint
}

function escaped(letter: u32): u32 {
  if (letter == QUOTE || letter == BACKSLASH || letter == 0x2f) return letter
  if (letter == 0x6e) return 10
  if (letter == 0x74) return 9
  if (letter == 0x72) return 13
  if (letter == 0x62) return 8
  return letter == 0x66 ? 12 : UNKNOWN
}

function hexadecimal(at: usize): u32 {
  let value: u32 = 0
  for (let i: usize = 0; i < 4; i++) {
    const byte: u32 = load<u8>(at + i)
    const letter = (byte | 0x20) - 0x61
    if (byte - 48 <= 9) value = (value << 4) | (byte - 48)
    else if (letter <= 5) value = (value << 4) | (letter + 10)
    else return UNKNOWN
  }
  return value
}

/** Id of the token with this spelling, or UNKNOWN. */
function idOf(start: usize, end: usize): u32 {
  const number = load<u32>(slotOf(start, end, hashOf(start, end)))
  return number == 0 ? UNKNOWN : load<u32>(ids + (<usize>(number - 1) << 2))
}

/** The slot of the token with this spelling, or the empty slot for it. */
function slotOf(start: usize, end: usize, hash: u32): usize {
  let slot = hash & slotMask
  while (true) {
    const at = slots + (<usize>slot << 2)
    const number = load<u32>(at) - 1
    if (number == UNKNOWN) return at
    if (load<u32>(hashes + (<usize>number << 2)) == hash) {
      const from = load<u32>(offsets + (<usize>number << 2))
      const length = (<usize>(load<u32>(offsets + (<usize>number << 2), 4) - from)) << 1
      if (length == end - start && memory.compare(units + (<usize>from << 1), start, length) == 0) return at
    }
    slot = (slot + 1) & slotMask
  }
}

/** The hash of src/tokenizer/engine/vocabulary.ts, which uses this index. */
function hashOf(start: usize, end: usize): u32 {
  let hash = <u32>((end - start) >> 1)
  for (let at = start; at < end; at += 2) hash = (hash ^ <u32>load<u16>(at)) * 0x01000193
  hash = (hash ^ (hash >> 15)) * 0x2c1b3c6d
  return hash ^ (hash >> 13)
}
