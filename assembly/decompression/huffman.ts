// Literals in Huffman codes of up to 11 bits (RFC 8878, section 4.2). A look-up of 11 bits gives one or two literals, and
// four streams are decoded side by side, since each waits for its last look-up.
import { highestBit, paddingBits } from './bits'
import { accuracy, buildStates, readShares } from './fse'

const TABLE_BITS: u32 = 11
const UNUSED: u64 = 64 - TABLE_BITS
/** u16 per 11 bits: literal | bits << 8. */
const SINGLES: usize = memory.data(2 << 11)
/** u32 per 11 bits: two literals | bits << 16 | how many of them << 24. */
const PAIRS: usize = memory.data(4 << 11)
/** u8 per literal: its weight, at most 12. */
const WEIGHTS: usize = memory.data(256)
const STATES: usize = memory.data(4 << 6)
/** u32 per weight: the number of its literals, then where the next one begins in the table. */
const COUNTS: usize = memory.data(4 * 16)

/** Reads a tree at [from, end). @returns the address after it, 0 if it is damaged */
export function readTree(from: usize, end: usize): usize {
  if (from >= end) return 0
  const head = <u32>load<u8>(from++)
  let count: u32
  if (head >= 128) {
    count = head - 127
    if (from + ((count + 1) >> 1) > end) return 0
    for (let index: u32 = 0; index < count; index++) {
      const pair = load<u8>(from + (index >> 1))
      store<u8>(WEIGHTS + index, index & 1 ? pair & 15 : pair >> 4)
    }
    from += (count + 1) >> 1
  } else {
    if (from + head > end) return 0
    count = readWeights(from, from + head)
    if (count == 0) return 0
    from += head
  }
  return buildTables(count) ? from : 0
}

/** Weights in two states of one stream. @returns their number, 0 if they are damaged */
function readWeights(from: usize, end: usize): u32 {
  if (from >= end) return 0
  const start = readShares(from, end, 6, 15)
  if (start == 0 || start >= end || !buildStates(STATES)) return 0
  const last = <u32>load<u8>(end - 1)
  if (last == 0) return 0
  let left = (<i32>(end - start) << 3) - <i32>paddingBits(last)
  let first: u32 = 0
  let second: u32 = 0
  if (left < <i32>(accuracy << 1)) return 0
  left -= <i32>accuracy
  first = bitsAt(start, left, accuracy)
  left -= <i32>accuracy
  second = bitsAt(start, left, accuracy)
  let count: u32 = 0
  // Bits before the start of the stream are zeros; the first state that needs one is the last but one.
  while (count < 254) {
    const state = load<u32>(STATES + (first << 2))
    store<u8>(WEIGHTS + count++, <u8>state)
    const bits = (state >> 8) & 255
    left -= <i32>bits
    if (left < 0) {
      store<u8>(WEIGHTS + count++, <u8>load<u32>(STATES + (second << 2)))
      return count
    }
    first = second
    second = (state >> 16) + bitsAt(start, left, bits)
  }
  return 0
}

/** `count` bits from bit `at` of a short stream on. */
function bitsAt(start: usize, at: i32, count: u32): u32 {
  return (load<u32>(start + (at >> 3)) >> (at & 7)) & ((<u32>1 << count) - 1)
}

function buildTables(count: u32): bool {
  let total: u32 = 0
  memory.fill(COUNTS, 0, 4 * 16)
  for (let index: u32 = 0; index < count; index++) {
    const weight = <u32>load<u8>(WEIGHTS + index)
    if (weight > 12) return false
    total += (<u32>1 << weight) >> 1
    store<u32>(COUNTS + (weight << 2), load<u32>(COUNTS + (weight << 2)) + 1)
  }
  if (total == 0) return false
  const bits = highestBit(total) + 1
  const rest = (<u32>1 << bits) - total
  if (bits > TABLE_BITS || (rest & (rest - 1)) != 0 || count > 255) return false
  // The weight of the last literal is not written: it completes the table.
  const lastWeight = highestBit(rest) + 1
  store<u8>(WEIGHTS + count, <u8>lastWeight)
  store<u32>(COUNTS + (lastWeight << 2), load<u32>(COUNTS + (lastWeight << 2)) + 1)
  const spread = TABLE_BITS - bits
  let place: u32 = 0
  for (let weight: u32 = 1; weight <= bits; weight++) {
    const literals = load<u32>(COUNTS + (weight << 2))
    store<u32>(COUNTS + (weight << 2), place)
    place += (literals << (weight - 1)) << spread
  }
  for (let literal: u32 = 0; literal <= count; literal++) {
    const weight = <u32>load<u8>(WEIGHTS + literal)
    if (weight == 0) continue
    if (weight > bits) return false
    const first = load<u32>(COUNTS + (weight << 2))
    const end = first + ((<u32>1 << (weight - 1)) << spread)
    if (end > <u32>1 << TABLE_BITS) return false
    const entry = <u16>(literal | ((bits + 1 - weight) << 8))
    for (let index = first; index < end; index++) store<u16>(SINGLES + (index << 1), entry)
    store<u32>(COUNTS + (weight << 2), end)
  }
  pairUp()
  return true
}

function pairUp(): void {
  const mask = (<u32>1 << TABLE_BITS) - 1
  for (let index: u32 = 0; index <= mask; index++) {
    const first = <u32>load<u16>(SINGLES + (index << 1))
    const second = <u32>load<u16>(SINGLES + (((index << (first >> 8)) & mask) << 1))
    const bits = (first >> 8) + (second >> 8)
    const entry =
      bits <= TABLE_BITS
        ? (first & 255) | ((second & 255) << 8) | (bits << 16) | (2 << 24)
        : (first & 255) | ((first >> 8) << 16) | (1 << 24)
    store<u32>(PAIRS + (index << 2), entry)
  }
}

// A stream is a word, shifted so that its next bit is the highest, and the word's address. The lowest bit is always set: the
// zeros after it count the bits that were used.

// @ts-ignore: decorator
@inline
function firstWord(end: usize): u64 {
  return (load<u64>(end - 8) | 1) << paddingBits(<u32>load<u8>(end - 1))
}

// @ts-ignore: decorator
@inline
function nextAddress(word: u64, address: usize): usize {
  return address - <usize>(ctz(word) >> 3)
}

// @ts-ignore: decorator
@inline
function nextWord(word: u64, address: usize): u64 {
  return (load<u64>(address) | 1) << (ctz(word) & 7)
}

// @ts-ignore: decorator
@inline
function pairOf(word: u64): u32 {
  return load<u32>(PAIRS + (<usize>(word >> UNUSED) << 2))
}

// @ts-ignore: decorator
@inline
function bitsUsed(pair: u32): u64 {
  return <u64>((pair >> 16) & 255)
}

/** Decodes the rest of a stream, to [to, end). @returns whether it ends with its last literal */
function finishStream(word: u64, address: usize, start: usize, to: usize, end: usize): bool {
  while (to + 8 <= end && address >= start) {
    address = nextAddress(word, address)
    word = nextWord(word, address)
    for (let index = 0; index < 4; index++) {
      const pair = pairOf(word)
      store<u16>(to, <u16>pair)
      word <<= bitsUsed(pair)
      to += pair >> 24
    }
  }
  while (to < end) {
    address = nextAddress(word, address)
    if (address + 8 < start) return false
    word = nextWord(word, address)
    const single = <u32>load<u16>(SINGLES + (<usize>(word >> UNUSED) << 1))
    store<u8>(to++, <u8>single)
    word <<= <u64>(single >> 8)
  }
  return ((<i64>address - <i64>start) << 3) + 64 - <i64>ctz(word) == 0
}

/** One stream at [from, end). @returns whether it holds exactly the literals of [to, stop) */
export function decodeStream(from: usize, end: usize, to: usize, stop: usize): bool {
  if (from >= end || load<u8>(end - 1) == 0) return false
  return finishStream(firstWord(end), end - 8, from, to, stop)
}

/** Four streams at [from, end), with their sizes in front. @returns whether they hold exactly `count` literals */
export function decodeStreams(from: usize, end: usize, to: usize, count: u32): bool {
  if (from + 10 > end || count < 6) return false
  const start1 = from + 6
  const start2 = start1 + <usize>load<u16>(from)
  const start3 = start2 + <usize>load<u16>(from + 2)
  const start4 = start3 + <usize>load<u16>(from + 4)
  if (start4 >= end || start2 == start1 || start3 == start2 || start4 == start3) return false
  if (load<u8>(start2 - 1) == 0 || load<u8>(start3 - 1) == 0 || load<u8>(start4 - 1) == 0 || load<u8>(end - 1) == 0) return false
  const each = (count + 3) >> 2
  const stop = to + count
  if (each * 3 > count) return false
  let to1 = to
  let to2 = to1 + each
  let to3 = to2 + each
  let to4 = to3 + each
  const stop1 = to2
  const stop2 = to3
  const stop3 = to4
  let at1 = start2 - 8
  let at2 = start3 - 8
  let at3 = start4 - 8
  let at4 = end - 8
  let word1 = firstWord(start2)
  let word2 = firstWord(start3)
  let word3 = firstWord(start4)
  let word4 = firstWord(end)
  // The last stream is the shortest, and a stream that runs ahead ends the loop.
  while (to1 + 10 <= stop1 && to2 + 10 <= stop2 && to3 + 10 <= stop3 && to4 + 10 <= stop) {
    if (at1 < start1 || at2 < start2 || at3 < start3 || at4 < start4) break
    at1 = nextAddress(word1, at1)
    at2 = nextAddress(word2, at2)
    at3 = nextAddress(word3, at3)
    at4 = nextAddress(word4, at4)
    word1 = nextWord(word1, at1)
    word2 = nextWord(word2, at2)
    word3 = nextWord(word3, at3)
    word4 = nextWord(word4, at4)
    for (let index = 0; index < 5; index++) {
      const pair1 = pairOf(word1)
      const pair2 = pairOf(word2)
      const pair3 = pairOf(word3)
      const pair4 = pairOf(word4)
      store<u16>(to1, <u16>pair1)
      store<u16>(to2, <u16>pair2)
      store<u16>(to3, <u16>pair3)
      store<u16>(to4, <u16>pair4)
      word1 <<= bitsUsed(pair1)
      word2 <<= bitsUsed(pair2)
      word3 <<= bitsUsed(pair3)
      word4 <<= bitsUsed(pair4)
      to1 += pair1 >> 24
      to2 += pair2 >> 24
      to3 += pair3 >> 24
      to4 += pair4 >> 24
    }
  }
  return (
    finishStream(word1, at1, start1, to1, stop1) &&
    finishStream(word2, at2, start2, to2, stop2) &&
    finishStream(word3, at3, start3, to3, stop3) &&
    finishStream(word4, at4, start4, to4, stop)
  )
}
