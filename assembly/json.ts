// Strict check of JSONL records and extraction of one field's text; the twin of src/formats/json-scan.ts. Strings are
// read 16 bytes a step; UTF-8 is checked only in records that have a byte over 0x7f. A line feed behind the record is
// the sentinel that ends every loop: the host puts one behind what it hands over.
import { CONTAINERS, ESCAPES, PATH } from './memory'
import { bitmask64, isUtf8 } from './utf8'

export const OK: i32 = 0
export const JSON_INVALID: i32 = 1
export const UTF8_INVALID: i32 = 2
export const LINE_BLANK: i32 = 3
export const FIELD_MISSING: i32 = 4
export const FIELD_NOT_TEXT: i32 = 5
export const DOCUMENT_EMPTY: i32 = 6

const DEPTH_LIMIT: i32 = 65536
const LINE_FEED: u32 = 0x0a
const QUOTE: u32 = 0x22
const COMMA: u32 = 0x2c
const MINUS: u32 = 0x2d
const COLON: u32 = 0x3a
const OPEN_BRACKET: u32 = 0x5b
const BACKSLASH: u32 = 0x5c
const CLOSE_BRACKET: u32 = 0x5d
const OPEN_BRACE: u32 = 0x7b
const CLOSE_BRACE: u32 = 0x7d
const TRUE: u32 = 0x65757274
const NULL: u32 = 0x6c6c756e
const FALS: u32 = 0x736c6166

const KEY: u32 = 0
const INDEX: u32 = 1

/** Position of the line feed behind the record last scanned. */
export let lineEnd: usize = 0
/** Length of the text that `scanRecord` last extracted. */
export let textLength: usize = 0

/** All bytes of strings since it was cleared, or-ed: whether one of them is over 0x7f. */
let seen: v128 = i64x2.splat(0)
/** Where copyString wrote up to. */
let copied: usize = 0
/** Where scanning stopped. */
let stopped: usize = 0

/**
 * Scans the record at `start`, whose line feed is at `end` or before it. With pathLength >= 0, writes the text at the
 * path to `text`, which has room for the record's length and 128 bytes more.
 */
export function scanRecord(start: usize, end: usize, pathLength: i32, text: usize): i32 {
  seen = i64x2.splat(0)
  const status = scanSyntax(start, pathLength, text)
  lineEnd = status == JSON_INVALID ? findLineFeed(stopped, end) : stopped
  if (status != OK && status < FIELD_MISSING) return status
  if (v128.any_true(v128.and(seen, i8x16.splat(-128))) && !isUtf8(start, lineEnd)) return UTF8_INVALID
  return status
}

function findLineFeed(from: usize, end: usize): usize {
  const lineFeed = i8x16.splat(<i8>LINE_FEED)
  for (let at = from; at < end; at += 16) {
    const found = i8x16.bitmask(i8x16.eq(v128.load(at), lineFeed))
    if (found != 0) return min(at + <usize>ctz(found), end)
  }
  return end
}

// @ts-ignore: decorator
@inline
function skipSpaces(at: usize): usize {
  let byte = <u32>load<u8>(at)
  while (byte == 0x20 || byte == 0x09 || byte == 0x0d) byte = load<u8>(++at)
  return at
}

function scanSyntax(start: usize, pathLength: i32, text: usize): i32 {
  let depth: i32 = 0
  // The outermost `onPath` open containers are those that the path leads through; -1 when nothing is wanted.
  let onPath: i32 = pathLength < 0 ? -1 : 0
  let isOnPath = pathLength >= 0
  let field = FIELD_MISSING
  let at = skipSpaces(start)
  if (load<u8>(at) == LINE_FEED) {
    stopped = at
    return LINE_BLANK
  }
  while (true) {
    // A value.
    const byte = <u32>load<u8>(at)
    let isFirst = false
    const isField = isOnPath && depth == pathLength
    if (isOnPath) field = isField ? FIELD_NOT_TEXT : FIELD_MISSING
    if (byte == QUOTE) {
      if (isField) {
        copied = text
        at = copyString(at + 1)
        textLength = copied - text
        field = OK
      } else at = skipString(at + 1)
      if (at == 0) return JSON_INVALID
    } else if (byte == OPEN_BRACE || byte == OPEN_BRACKET) {
      if (depth == DEPTH_LIMIT) return invalidAt(at)
      store<u32>(CONTAINERS + (<usize>depth << 3), <u32>(byte == OPEN_BRACE))
      store<u32>(CONTAINERS + (<usize>depth << 3), 0, 4)
      depth++
      if (isOnPath && !isField) onPath = depth
      at++
      isFirst = true
    } else if (byte == MINUS || byte - 0x30 < 10) {
      at = skipNumber(at)
      if (at == 0) return JSON_INVALID
    } else {
      const word = load<u32>(at)
      if (word == TRUE || word == NULL) at += 4
      else if (word == FALS && load<u8>(at, 4) == 0x65) at += 5
      else return invalidAt(at)
    }
    // What is complete behind it, and the separator before the next value.
    let container = CONTAINERS + (<usize>(depth - 1) << 3)
    let inObject: u32 = 0
    while (true) {
      at = skipSpaces(at)
      if (depth == 0) {
        stopped = at
        if (load<u8>(at) != LINE_FEED) return JSON_INVALID
        return pathLength < 0 ? OK : field
      }
      inObject = load<u32>(container)
      if (load<u8>(at) != select(CLOSE_BRACE, CLOSE_BRACKET, inObject)) break
      at++
      depth--
      container -= 8
      onPath = min(onPath, depth)
      isFirst = false
    }
    if (!isFirst) {
      if (load<u8>(at) != COMMA) return invalidAt(at)
      at = skipSpaces(at + 1)
      store<u32>(container, load<u32>(container, 4) + 1, 4)
    }
    const part = PATH + (<usize>(depth - 1) << 4)
    isOnPath = onPath == depth && depth <= pathLength
    if (!inObject) {
      if (isOnPath) isOnPath = load<u32>(part) == INDEX && load<u32>(part, 4) == load<u32>(container, 4)
      continue
    }
    // A key.
    if (load<u8>(at) != QUOTE) return invalidAt(at)
    const key = at + 1
    at = skipString(key)
    if (at == 0) return JSON_INVALID
    if (isOnPath) isOnPath = load<u32>(part) == KEY && keyIs(part, key, at - 1, field == OK ? text + textLength : text)
    at = skipSpaces(at)
    if (load<u8>(at) != COLON) return invalidAt(at)
    at = skipSpaces(at + 1)
  }
}

function invalidAt(at: usize): i32 {
  stopped = at
  return JSON_INVALID
}

/** Whether the key [start, end), escaped as it stands, is that of the path's part. `scratch` has room for it. */
function keyIs(part: usize, start: usize, end: usize, scratch: usize): bool {
  const length: usize = load<u32>(part, 4)
  const wanted: usize = load<u32>(part, 8)
  if (end - start == length) return memory.compare(start, wanted, length) == 0
  // An escape is never shorter than what it means.
  if (end - start < length) return false
  copied = scratch
  copyString(start)
  return copied - scratch == length && memory.compare(scratch, wanted, length) == 0
}

/** The address behind the number at `at`, or 0. */
function skipNumber(at: usize): usize {
  let next = at
  if (load<u8>(next) == MINUS) next++
  if (load<u8>(next) == 0x30) next++
  else {
    next = skipDigits(next)
    if (next == 0) return 0
  }
  if (load<u8>(next) == 0x2e) {
    next = skipDigits(next + 1)
    if (next == 0) return 0
  }
  if ((load<u8>(next) | 0x20) == 0x65) {
    next++
    if (load<u8>(next) == 0x2b || load<u8>(next) == MINUS) next++
    next = skipDigits(next)
  }
  return next
}

// @ts-ignore: decorator
@inline
function skipDigits(at: usize): usize {
  let next = at
  while (<u32>load<u8>(next) - 0x30 < 10) next++
  if (next > at) return next
  stopped = at
  return 0
}

/** The address behind the closing quote of the string that starts at `start`, or 0. */
function skipString(start: usize): usize {
  const quote = i8x16.splat(<i8>QUOTE)
  const backslash = i8x16.splat(<i8>BACKSLASH)
  const lowest = i8x16.splat(0x20)
  let all = seen
  /** Whether the next block's first byte is escaped by the last of the one before. */
  let carry: u64 = 0
  let at = start
  while (true) {
    const v0 = v128.load(at)
    const v1 = v128.load(at, 16)
    const v2 = v128.load(at, 32)
    const v3 = v128.load(at, 48)
    all = v128.or(v128.or(all, v128.or(v0, v1)), v128.or(v2, v3))
    let quotes = bitmask64(i8x16.eq(v0, quote), i8x16.eq(v1, quote), i8x16.eq(v2, quote), i8x16.eq(v3, quote))
    const backslashes = bitmask64(
      i8x16.eq(v0, backslash), i8x16.eq(v1, backslash), i8x16.eq(v2, backslash), i8x16.eq(v3, backslash),
    )
    const controls = bitmask64(
      i8x16.lt_u(v0, lowest), i8x16.lt_u(v1, lowest), i8x16.lt_u(v2, lowest), i8x16.lt_u(v3, lowest),
    )
    let escaped: u64 = 0
    if ((backslashes | carry) != 0) {
      escaped = escapedBytes(backslashes, carry)
      carry = (backslashes & ~escaped) >> 63
      quotes &= ~escaped
    }
    // Up to the closing quote, it too; all bits when there is none.
    const inside = quotes ^ (quotes - 1)
    if ((controls & inside) != 0) {
      stopped = at + <usize>ctz(controls & inside)
      return 0
    }
    escaped &= inside
    if (escaped != 0) {
      // Simple escapes are told in one go; what is left has to be \u and four digits.
      let others = escaped & ~bitmask64(isEscape(v0), isEscape(v1), isEscape(v2), isEscape(v3))
      for (; others != 0; others &= others - 1) {
        const letter = at + <usize>ctz(others)
        if (load<u8>(letter) == 0x75 && hexAt(letter + 1) <= 0xffff) continue
        stopped = letter
        return 0
      }
    }
    if (quotes != 0) {
      seen = all
      return at + <usize>ctz(quotes) + 1
    }
    at += 64
  }
}

const EVEN_BITS: u64 = 0x5555555555555555

/**
 * The bytes that an odd number of backslashes stands before; `carry` when one does before the first (G. Langdale and
 * D. Lemire, "Parsing gigabytes of JSON per second", 2019).
 */
// @ts-ignore: decorator
@inline
function escapedBytes(backslashes: u64, carry: u64): u64 {
  const escaping = backslashes & ~carry
  const follows = (escaping << 1) | carry
  const oddStarts = escaping & ~(EVEN_BITS | follows)
  const evenSequences = oddStarts + escaping
  return (EVEN_BITS ^ (evenSequences << 1)) & follows
}

/** Bytes that are a whole escape behind a backslash: the bits that their two halves have in common. */
// @ts-ignore: decorator
@inline
function isEscape(block: v128): v128 {
  const byLow = i8x16(0, 0, 13, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1)
  const byHigh = i8x16(0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0)
  const low = i8x16.swizzle(byLow, v128.and(block, i8x16.splat(15)))
  const both = v128.and(low, i8x16.swizzle(byHigh, i8x16.shr_u(block, 4)))
  return i8x16.ne(both, i64x2.splat(0))
}

/** Length of the escape at `at`, its backslash included, or 0. */
// @ts-ignore: decorator
@inline
function escapeLength(at: usize): usize {
  const letter = <u32>load<u8>(at, 1)
  if (load<u8>(ESCAPES + letter) != 0) return 2
  return letter == 0x75 && hexAt(at + 2) <= 0xffff ? 6 : 0
}

/** Like skipString, and writes the unescaped text to `copied`, which it moves, and up to 64 bytes of no meaning behind. */
function copyString(start: usize): usize {
  let at = start
  let to = copied
  let all = seen
  while (true) {
    const v0 = v128.load(at)
    const v1 = v128.load(at, 16)
    const v2 = v128.load(at, 32)
    const v3 = v128.load(at, 48)
    all = v128.or(v128.or(all, v128.or(v0, v1)), v128.or(v2, v3))
    copy64(at, to)
    let specials = bitmask64(isSpecial(v0), isSpecial(v1), isSpecial(v2), isSpecial(v3))
    const end = at + 64
    // What is from here on has been copied to `to`, too.
    let from = at
    while (specials != 0) {
      const special = at + <usize>ctz(specials)
      to += special - from
      const byte = <u32>load<u8>(special)
      if (byte == QUOTE) {
        seen = all
        copied = to
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
      } else {
        stopped = special
        return 0
      }
      copy64(from, to)
      specials = from < end ? specials & (ALL << <u64>(from - at)) : 0
    }
    if (from < end) to += end - from
    at = max(from, end)
  }
}

const ALL: u64 = 0xffffffffffffffff

/** The bytes that end a run of plain text in a string: quote, backslash, control characters. */
// @ts-ignore: decorator
@inline
function isSpecial(block: v128): v128 {
  const isQuote = i8x16.eq(block, i8x16.splat(<i8>QUOTE))
  const isBackslash = i8x16.eq(block, i8x16.splat(<i8>BACKSLASH))
  return v128.or(v128.or(isQuote, isBackslash), i8x16.lt_u(block, i8x16.splat(0x20)))
}

// @ts-ignore: decorator
@inline
function copy64(from: usize, to: usize): void {
  v128.store(to, v128.load(from))
  v128.store(to, v128.load(from, 16), 16)
  v128.store(to, v128.load(from, 32), 32)
  v128.store(to, v128.load(from, 48), 48)
}

/** Value of four hexadecimal digits, or more than 0xffff. */
function hexAt(at: usize): u32 {
  return (hexDigit(at) << 12) | (hexDigit(at + 1) << 8) | (hexDigit(at + 2) << 4) | hexDigit(at + 3)
}

// @ts-ignore: decorator
@inline
function hexDigit(at: usize): u32 {
  const byte = <u32>load<u8>(at)
  const digit = byte - 0x30
  if (digit < 10) return digit
  const letter = (byte | 0x20) - 0x61
  return letter < 6 ? letter + 10 : 0x7fff0000
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
