// Sequences: literals to copy, then a match in the output before it (RFC 8878, sections 3.1.1.3.2 and 3.1.1.4).
import { bitsOf, paddingBits } from './bits'
import { copyForward, copyMatch } from './copy'
import { accuracy, buildStates, readShares, setShares } from './fse'

const LENGTHS: i32 = 0
const OFFSETS: i32 = 1
const MATCHES: i32 = 2
/** u64 per state: value without its extra bits u32, number of those u8, bits of the next state u8, its base u16. */
const TABLES: usize = memory.data(3 * (8 << 9))
const TABLE_BYTES: usize = 8 << 9
const STATES: usize = memory.data(4 << 9)

/** u32 per code: the value, number of extra bits << 24. Literals first, then matches; offsets are computed. */
const LITERAL_CODES: usize = memory.data<u32>([
  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x1000010, 0x1000012, 0x1000014, 0x1000016, 0x2000018, 0x200001c,
  0x3000020, 0x3000028, 0x4000030, 0x6000040, 0x7000080, 0x8000100, 0x9000200, 0xa000400, 0xb000800, 0xc001000, 0xd002000,
  0xe004000, 0xf008000, 0x10010000,
])
const MATCH_CODES: usize = memory.data<u32>([
  3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34,
  0x1000023, 0x1000025, 0x1000027, 0x1000029, 0x200002b, 0x200002f, 0x3000033, 0x300003b, 0x4000043, 0x4000053, 0x5000063,
  0x7000083, 0x8000103, 0x9000203, 0xa000403, 0xb000803, 0xc001003, 0xd002003, 0xe004003, 0xf008003, 0x10010003,
])
const LITERAL_SHARES: usize = memory.data<i16>([
  4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1, -1, -1, -1, -1,
])
const OFFSET_SHARES: usize = memory.data<i16>([
  1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1,
])
const MATCH_SHARES: usize = memory.data<i16>([
  1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
  1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1,
])

/** log2 of the number of states of each table; -1 for a table that the frame has not defined. */
let literalBits: i32 = -1
let offsetBits: i32 = -1
let matchBits: i32 = -1
/** The last three offsets, newest first. */
let recent1: u32 = 1
let recent2: u32 = 4
let recent3: u32 = 8

export function beginSequences(): void {
  literalBits = -1
  offsetBits = -1
  matchBits = -1
  recent1 = 1
  recent2 = 4
  recent3 = 8
}

/** The table of a kind. @returns the address after its description, 0 if it is damaged */
function readTable(kind: i32, mode: u32, from: usize, end: usize): usize {
  const table = TABLES + <usize>kind * TABLE_BYTES
  const maxCode: u32 = kind == LENGTHS ? 35 : kind == OFFSETS ? 31 : 52
  if (mode == 3) return bitsOfTable(kind) < 0 ? 0 : from
  if (mode == 1) {
    if (from >= end || load<u8>(from) > maxCode) return 0
    store<u64>(table, entryOf(kind, load<u8>(from)))
    setBits(kind, 0)
    return from + 1
  }
  if (mode == 0) {
    if (kind == LENGTHS) setShares(LITERAL_SHARES, 36, 6)
    else if (kind == OFFSETS) setShares(OFFSET_SHARES, 29, 5)
    else setShares(MATCH_SHARES, 53, 6)
  } else {
    if (from >= end) return 0
    from = readShares(from, end, kind == OFFSETS ? 8 : 9, maxCode)
    if (from == 0) return 0
  }
  if (!buildStates(STATES)) return 0
  const size = <u32>1 << accuracy
  for (let state: u32 = 0; state < size; state++) {
    const next = load<u32>(STATES + (state << 2))
    store<u64>(table + (state << 3), entryOf(kind, next & 255) | (<u64>(next >> 8) << 40))
  }
  setBits(kind, <i32>accuracy)
  return from
}

/** Without the next state. */
function entryOf(kind: i32, code: u32): u64 {
  if (kind == OFFSETS) return ((<u64>1) << code) | (<u64>code << 32)
  const value = load<u32>((kind == LENGTHS ? LITERAL_CODES : MATCH_CODES) + (code << 2))
  return <u64>(value & 0xffffff) | (<u64>(value >> 24) << 32)
}

function bitsOfTable(kind: i32): i32 {
  return kind == LENGTHS ? literalBits : kind == OFFSETS ? offsetBits : matchBits
}

function setBits(kind: i32, bits: i32): void {
  if (kind == LENGTHS) literalBits = bits
  else if (kind == OFFSETS) offsetBits = bits
  else matchBits = bits
}

/**
 * The sequences at [from, end), applied to the literals at [literal, literalEnd).
 * @param first the start of the output, before which no match may begin
 * @returns the end of the output, 0 if the block is damaged or its output does not fit before `limit`
 */
export function applySequences(
  from: usize,
  end: usize,
  literal: usize,
  literalEnd: usize,
  first: usize,
  to: usize,
  limit: usize,
): usize {
  if (from >= end) return 0
  let count = <u32>load<u8>(from++)
  if (count >= 128) {
    if (from + 2 > end) return 0
    if (count < 255) count = ((count - 128) << 8) + load<u8>(from++)
    else {
      count = <u32>load<u16>(from) + 0x7f00
      from += 2
    }
  }
  if (count > 0) {
    if (from >= end) return 0
    const modes = <u32>load<u8>(from++)
    if ((modes & 3) != 0) return 0
    from = readTable(LENGTHS, modes >> 6, from, end)
    if (from != 0) from = readTable(OFFSETS, (modes >> 4) & 3, from, end)
    if (from != 0) from = readTable(MATCHES, (modes >> 2) & 3, from, end)
    if (from == 0 || from >= end) return 0
    const last = <u32>load<u8>(end - 1)
    if (last == 0) return 0
    let at = end - 8
    let word = load<u64>(at)
    let used = paddingBits(last)
    let lengthState = bitsOf(word, used, <u64>literalBits)
    used += <u64>literalBits
    let offsetState = bitsOf(word, used, <u64>offsetBits)
    used += <u64>offsetBits
    let matchState = bitsOf(word, used, <u64>matchBits)
    used += <u64>matchBits
    let offset1 = recent1
    let offset2 = recent2
    let offset3 = recent3
    while (true) {
      const lengthEntry = load<u64>(TABLES + <usize>(lengthState << 3))
      const offsetEntry = load<u64>(TABLES + TABLE_BYTES + <usize>(offsetState << 3))
      const matchEntry = load<u64>(TABLES + 2 * TABLE_BYTES + <usize>(matchState << 3))
      const lengthExtra = (lengthEntry >> 32) & 255
      const offsetExtra = (offsetEntry >> 32) & 255
      const matchExtra = (matchEntry >> 32) & 255
      // A word lasts for 57 bits: up to 26 of the states, and as many others as usual.
      at -= <usize>(used >> 3)
      used &= 7
      if (at + 8 < from) return 0
      word = load<u64>(at)
      let offset = <u32>offsetEntry + <u32>bitsOf(word, used, offsetExtra)
      used += offsetExtra
      const isLong = offsetExtra + matchExtra + lengthExtra > 30
      if (isLong) {
        at -= <usize>(used >> 3)
        used &= 7
        word = load<u64>(at)
      }
      const match = <usize>(<u32>matchEntry + <u32>bitsOf(word, used, matchExtra))
      used += matchExtra
      const literals = <usize>(<u32>lengthEntry + <u32>bitsOf(word, used, lengthExtra))
      used += lengthExtra
      if (offset > 3) {
        offset -= 3
        offset3 = offset2
        offset2 = offset1
        offset1 = offset
      } else {
        if (literals == 0) offset++
        if (offset == 1) offset = offset1
        else if (offset == 2) {
          offset = offset2
          offset2 = offset1
          offset1 = offset
        } else {
          offset = offset == 3 ? offset3 : offset1 - 1
          offset3 = offset2
          offset2 = offset1
          offset1 = offset
        }
      }
      if (literals > literalEnd - literal || literals + match > limit - to) return 0
      copyForward(to, literal, literals)
      literal += literals
      to += literals
      if (offset == 0 || <usize>offset > to - first) return 0
      copyMatch(to, offset, match)
      to += match
      if (--count == 0) break
      if (isLong) {
        at -= <usize>(used >> 3)
        used &= 7
        word = load<u64>(at)
      }
      const lengthNext = (lengthEntry >> 40) & 255
      lengthState = (lengthEntry >> 48) + bitsOf(word, used, lengthNext)
      used += lengthNext
      const matchNext = (matchEntry >> 40) & 255
      matchState = (matchEntry >> 48) + bitsOf(word, used, matchNext)
      used += matchNext
      const offsetNext = (offsetEntry >> 40) & 255
      offsetState = (offsetEntry >> 48) + bitsOf(word, used, offsetNext)
      used += offsetNext
    }
    if (((<i64>at - <i64>from) << 3) + 64 != <i64>used) return 0
    recent1 = offset1
    recent2 = offset2
    recent3 = offset3
  } else if (from != end) return 0
  const rest = literalEnd - literal
  if (rest > limit - to) return 0
  copyForward(to, literal, rest)
  return to + rest
}
