// Copies and unescapes JSON strings. TypeScript twin: src/formats/json-scan.ts.
import { BACKSLASH, QUOTE } from './json-bytes'
import { bytesLike, escapesAndEnds, hasHighBytes, hexAt, isControl, isEscape, setWrong, upToFirst } from './json-strings'
import { keepNoted, note, notedEnd } from './json-utf8'
import { ESCAPES } from './memory'
import { bitmask64 } from './utf8'

const ALL: u64 = 0xffffffffffffffff

/** End of the text that `copyString` wrote. */
export let copiedEnd: usize = 0

/** For each mask of dropped bytes among eight: the positions of the kept ones. */
const KEPT: usize = memory.data(256 << 3, 64)
for (let dropped: u32 = 0; dropped < 256; dropped++) {
  let to = KEPT + (<usize>dropped << 3)
  for (let place: u32 = 0; place < 8; place++) if (((dropped >> place) & 1) == 0) store<u8>(to++, <u8>place)
}

/**
 * Like skipString, and writes the unescaped text to `target`, plus up to 64 meaningless bytes after it. As there, a block
 * branches only for rare cases.
 */
export function copyString(start: usize, target: usize): usize {
  const quote = i8x16.splat(<i8>QUOTE)
  const backslash = i8x16.splat(<i8>BACKSLASH)
  const letterN = i8x16.splat(0x6e)
  /** Whether the last byte of the previous block escapes the first byte of the next. */
  let carry: u64 = 0
  let noted = notedEnd
  let at = start
  let to = target
  while (true) {
    const v0 = v128.load(at)
    const v1 = v128.load(at, 16)
    const v2 = v128.load(at, 32)
    const v3 = v128.load(at, 48)
    noted = note(at, hasHighBytes(v0, v1, v2, v3), noted)
    const allQuotes = bytesLike(quote, v0, v1, v2, v3)
    const backslashes = bytesLike(backslash, v0, v1, v2, v3)
    const newLines = bytesLike(letterN, v0, v1, v2, v3)
    const escapes = escapesAndEnds(backslashes, carry)
    const escaped = escapes ^ (backslashes | carry)
    const quotes = allQuotes & ~escaped
    // Quotes and backslashes stand for themselves.
    const letters = escaped & ~(allQuotes | backslashes)
    const others = letters & ~newLines & upToFirst(quotes)
    const hasControls = i8x16.bitmask(isControl(i8x16.min_u(i8x16.min_u(v0, v1), i8x16.min_u(v2, v3)))) != 0
    if (
      (hasControls && (upToFirst(quotes) & bitmask64(isControl(v0), isControl(v1), isControl(v2), isControl(v3))) != 0) ||
      (others != 0 && (others & ~bitmask64(isSwapped(v0), isSwapped(v1), isSwapped(v2), isSwapped(v3))) != 0)
    ) {
      // Includes the backslash before the first byte, for which nothing was written.
      at = copyPieces(at - <usize>carry, to)
      if (at == 0) return 0
      to = copiedEnd
      if (isClosed) {
        keepNoted(noted)
        return at
      }
      carry = 0
      continue
    }
    const dropped = escapes & backslashes
    carry = dropped >> 63
    if ((dropped | letters) == 0) copy64(at, to)
    else {
      let next = copyKept(swapped(v0, <u32>letters), <u32>dropped, to)
      next = copyKept(swapped(v1, <u32>(letters >> 16)), <u32>(dropped >> 16), next)
      next = copyKept(swapped(v2, <u32>(letters >> 32)), <u32>(dropped >> 32), next)
      copyKept(swapped(v3, <u32>(letters >> 48)), <u32>(dropped >> 48), next)
    }
    if (quotes != 0) {
      const length = <usize>ctz(quotes)
      copiedEnd = to + length - <usize>popcnt(dropped & upToFirst(quotes))
      keepNoted(noted)
      return at + length + 1
    }
    to += 64 - <usize>popcnt(dropped)
    at += 64
  }
}

/** Characters after a backslash that `swapped` handles: all simple escapes except \b, whose low nibble another one has. */
// @ts-ignore: decorator
@inline
function isSwapped(block: v128): v128 {
  return v128.andnot(isEscape(block), i8x16.eq(block, i8x16.splat(0x62)))
}

/** The block with each byte whose bit in `letters` is set replaced by the character its escape means. */
// @ts-ignore: decorator
@inline
function swapped(block: v128, letters: u32): v128 {
  const places = i8x16(1, 2, 4, 8, 16, 32, 64, -128, 1, 2, 4, 8, 16, 32, 64, -128)
  const byLow = i8x16(0, 0, 0x0d, 0, 0x09, 0, 0x0c, 0, 0, 0, 0, 0, 0, 0, 0x0a, 0x2f)
  const bits = i16x8.splat(<i16>letters)
  const spread = v128.and(i8x16.shuffle(bits, bits, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1), places)
  const meanings = i8x16.swizzle(byLow, v128.and(block, i8x16.splat(15)))
  return v128.bitselect(meanings, block, i8x16.eq(spread, places))
}

/** Writes the bytes of a block that are not dropped; returns the address after them. */
// @ts-ignore: decorator
@inline
function copyKept(block: v128, dropped: u32, to: usize): usize {
  const low = <usize>(dropped & 0xff)
  const high = <usize>((dropped >> 8) & 0xff)
  v128.store64_lane(to, i8x16.swizzle(block, v128.load64_zero(KEPT + (low << 3))), 0)
  const next = to + 8 - <usize>popcnt(<u32>low)
  v128.store64_lane(next, i8x16.swizzle(block, v128.or(v128.load64_zero(KEPT + (high << 3)), i8x16.splat(8))), 0)
  return next + 8 - <usize>popcnt(<u32>high)
}

/** Whether `copyPieces` reached the closing quote. */
let isClosed: bool = false

/**
 * Copies 64 bytes from `start`, plus the rest of an escape that starts in them, one special byte at a time. Returns the
 * address after the copied input, including the closing quote, or 0; the output ends at `copiedEnd`.
 */
function copyPieces(start: usize, target: usize): usize {
  const v0 = v128.load(start)
  const v1 = v128.load(start, 16)
  const v2 = v128.load(start, 32)
  const v3 = v128.load(start, 48)
  const end = start + 64
  isClosed = false
  copy64(start, target)
  let specials = bitmask64(isSpecial(v0), isSpecial(v1), isSpecial(v2), isSpecial(v3))
  let to = target
  // Input from here on has also been copied to `to`.
  let from = start
  while (specials != 0) {
    const special = start + <usize>ctz(specials)
    to += special - from
    const byte = <u32>load<u8>(special)
    if (byte == QUOTE) {
      isClosed = true
      copiedEnd = to
      return special + 1
    }
    const length = byte == BACKSLASH ? escapeLength(special) : 0
    from = special + length
    if (length == 2) store<u8>(to++, load<u8>(ESCAPES + load<u8>(special, 1)))
    else if (length == 6) {
      const unit = hexAt(special + 2)
      const low = (unit & 0xfc00) == 0xd800 && load<u16>(special, 6) == 0x755c ? hexAt(special + 8) : 0
      if (low - 0xdc00 < 0x400) {
        to = putCodePoint(0x10000 + ((unit & 0x3ff) << 10) + (low & 0x3ff), to)
        from += 6
      } else to = putCodePoint((unit & 0xf800) == 0xd800 ? 0xfffd : unit, to)
    } else return setWrong(special)
    copy64(from, to)
    specials = from < end ? specials & (ALL << <u64>(from - start)) : 0
  }
  copiedEnd = from < end ? to + (end - from) : to
  return max(from, end)
}

/** Length of the escape at `at` including its backslash, or 0. */
// @ts-ignore: decorator
@inline
function escapeLength(at: usize): usize {
  const letter = <u32>load<u8>(at, 1)
  if (load<u8>(ESCAPES + letter) != 0) return 2
  return letter == 0x75 && hexAt(at + 2) <= 0xffff ? 6 : 0
}

/** Bytes that end a run of plain text in a string: quote, backslash, control characters. */
// @ts-ignore: decorator
@inline
function isSpecial(block: v128): v128 {
  const isQuote = i8x16.eq(block, i8x16.splat(<i8>QUOTE))
  const isBackslash = i8x16.eq(block, i8x16.splat(<i8>BACKSLASH))
  return v128.or(v128.or(isQuote, isBackslash), isControl(block))
}

// @ts-ignore: decorator
@inline
function copy64(from: usize, to: usize): void {
  v128.store(to, v128.load(from))
  v128.store(to, v128.load(from, 16), 16)
  v128.store(to, v128.load(from, 32), 32)
  v128.store(to, v128.load(from, 48), 48)
}

function putCodePoint(codePoint: u32, to: usize): usize {
  if (codePoint < 0x80) {
    store<u8>(to, codePoint)
    return to + 1
  }
  if (codePoint < 0x800) {
    store<u8>(to, 0xc0 | (codePoint >> 6))
    store<u8>(to, 0x80 | (codePoint & 0x3f), 1)
    return to + 2
  }
  if (codePoint < 0x10000) {
    store<u8>(to, 0xe0 | (codePoint >> 12))
    store<u8>(to, 0x80 | ((codePoint >> 6) & 0x3f), 1)
    store<u8>(to, 0x80 | (codePoint & 0x3f), 2)
    return to + 3
  }
  store<u8>(to, 0xf0 | (codePoint >> 18))
  store<u8>(to, 0x80 | ((codePoint >> 12) & 0x3f), 1)
  store<u8>(to, 0x80 | ((codePoint >> 6) & 0x3f), 2)
  store<u8>(to, 0x80 | (codePoint & 0x3f), 3)
  return to + 4
}
