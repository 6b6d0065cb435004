// JSON strings, 64 bytes per step. TypeScript twin: src/formats/json-scan.ts.
import { BACKSLASH, QUOTE } from './json-bytes'
import { keepNoted, note, notedEnd } from './json-utf8'
import { bitmask64 } from './utf8'

/** Address of the error that the last failed call found. */
export let wrongAt: usize = 0

export function setWrong(at: usize): usize {
  wrongAt = at
  return 0
}

/** The address after the closing quote of the string that starts at `start`, or 0. */
export function skipString(start: usize): usize {
  const quote = i8x16.splat(<i8>QUOTE)
  const backslash = i8x16.splat(<i8>BACKSLASH)
  // Most keys end here. Signed comparison: bytes above 0x7f count as less than a space, too.
  const block = v128.load(start)
  const isOther = i8x16.lt_s(block, i8x16.splat(0x20))
  const specials = i8x16.bitmask(v128.or(v128.or(i8x16.eq(block, quote), i8x16.eq(block, backslash)), isOther))
  const special = start + <usize>ctz(specials)
  if (specials != 0 && load<u8>(special) == QUOTE) return special + 1
  return skipLongString(start, quote, backslash)
}

/**
 * A block branches only for rare cases: line ends are unpredictable in running text, and each mispredicted branch costs as
 * much as half a block.
 */
// @ts-ignore: decorator
@inline
function skipLongString(start: usize, quote: v128, backslash: v128): usize {
  const letterN = i8x16.splat(0x6e)
  /** Whether the last byte of the previous block escapes the first byte of the next. */
  let carry: u64 = 0
  let noted = notedEnd
  let at = start
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
    carry = (escapes & backslashes) >> 63
    const quotes = allQuotes & ~escaped
    // Rare, and mostly the line feed after the record; bytes after it do not matter.
    if (i8x16.bitmask(isControl(i8x16.min_u(i8x16.min_u(v0, v1), i8x16.min_u(v2, v3)))) != 0) {
      const controls = upToFirst(quotes) & bitmask64(isControl(v0), isControl(v1), isControl(v2), isControl(v3))
      if (controls != 0) {
        return setWrong(at + <usize>ctz(controls))
      }
    }
    // Nearly all are quotes, backslashes and line feeds.
    let others = escaped & ~(allQuotes | backslashes | newLines)
    if (others != 0) {
      // The other simple escapes are matched at once; the remaining ones must be \u and four digits.
      others &= upToFirst(quotes) & ~bitmask64(isEscape(v0), isEscape(v1), isEscape(v2), isEscape(v3))
      for (; others != 0; others &= others - 1) {
        const letter = at + <usize>ctz(others)
        if (load<u8>(letter) == 0x75 && hexAt(letter + 1) <= 0xffff) continue
        return setWrong(letter)
      }
    }
    if (quotes != 0) {
      keepNoted(noted)
      return at + <usize>ctz(quotes) + 1
    }
    at += 64
  }
}

/** One bit for each byte of a block that equals the one in all lanes of the second operand. */
// @ts-ignore: decorator
@inline
export function bytesLike(byte: v128, v0: v128, v1: v128, v2: v128, v3: v128): u64 {
  return bitmask64(i8x16.eq(v0, byte), i8x16.eq(v1, byte), i8x16.eq(v2, byte), i8x16.eq(v3, byte))
}

// @ts-ignore: decorator
@inline
export function hasHighBytes(v0: v128, v1: v128, v2: v128, v3: v128): bool {
  return i8x16.bitmask(v128.or(v128.or(v0, v1), v128.or(v2, v3))) != 0
}

/** All bits up to and including the lowest set bit; all bits if none is set. */
// @ts-ignore: decorator
@inline
export function upToFirst(bits: u64): u64 {
  return bits ^ (bits - 1)
}

const ODD_BITS: u64 = 0xaaaaaaaaaaaaaaaa

/**
 * The escaping backslashes of each run, plus the byte after the run if its last backslash escapes it; `carry` if the first
 * byte is escaped (G. Langdale and D. Lemire, "Parsing gigabytes of JSON per second", 2019; the newer form in simdjson). A
 * backslash or carried bit outside this mask is escaped, and so is any other byte inside it.
 */
// @ts-ignore: decorator
@inline
export function escapesAndEnds(backslashes: u64, carry: u64): u64 {
  const candidates = backslashes & ~carry
  return (((candidates << 1) | ODD_BITS) - candidates) ^ ODD_BITS
}

// @ts-ignore: decorator
@inline
export function isControl(block: v128): v128 {
  return i8x16.eq(i8x16.min_u(block, i8x16.splat(0x1f)), block)
}

/** Characters that form a complete escape after a backslash: the bits that the tables of both nibbles share. */
// @ts-ignore: decorator
@inline
export function isEscape(block: v128): v128 {
  const byLow = i8x16(0, 0, 13, 0, 8, 0, 4, 0, 0, 0, 0, 0, 2, 0, 4, 1)
  const byHigh = i8x16(0, 0, 1, 0, 0, 2, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0)
  const low = i8x16.swizzle(byLow, v128.and(block, i8x16.splat(15)))
  const both = v128.and(low, i8x16.swizzle(byHigh, i8x16.shr_u(block, 4)))
  return i8x16.ne(both, i64x2.splat(0))
}

/** Value of four hexadecimal digits, or more than 0xffff. */
export function hexAt(at: usize): u32 {
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
