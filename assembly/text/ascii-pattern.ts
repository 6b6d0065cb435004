// Splits ASCII text for the cl100k family of patterns (src/tokenizer/patterns/ascii-pattern.ts) with bit masks, 64 bytes per
// step. A step starts at a token start and does not depend on earlier text. The last token of a step may be incomplete, so the
// next step starts at it. TypeScript twin: the automaton of the same pattern.
import { bitmask64, isDigit, isLetter, isWhiteSpace } from './utf8'

const ALL: u64 = 0xffffffffffffffff
/** Shorter input is left to the automaton. */
const LEAST: u64 = 8

// Flags of a stage: the variant of the pattern. 0 for a pattern outside the family.
/** Digits in groups of three instead of one by one. */
const BY_THREES: u32 = 2
/** A capital after a small letter starts a word; contractions belong to their word; slashes may follow the line ends after punctuation. */
const BY_CASE: u32 = 4

/** Whether the last call of `plainStarts` reached the end of the text, so that it found all token starts. */
export let sawEnd: bool = false

/**
 * Starts of the tokens after the one at `at`, one bit per byte, up to the first that depends on non-ASCII characters or on
 * bytes after the step.
 */
export function plainStarts(at: usize, end: usize, flags: u32): u64 {
  const v0 = v128.load(at)
  const v1 = v128.load(at, 16)
  const v2 = v128.load(at, 32)
  const v3 = v128.load(at, 48)
  const high = bitmask64(v0, v1, v2, v3)
  const size = min<u64>(<u64>ctz(high), min<u64>(<u64>(end - at), 64))
  sawEnd = at + <usize>size == end
  if (size < LEAST) {
    sawEnd = false
    return 0
  }
  const inside = ALL >> (64 - size)
  const letters = bitmask64(isLetter(v0), isLetter(v1), isLetter(v2), isLetter(v3)) & inside
  const digits = bitmask64(isDigit(v0), isDigit(v1), isDigit(v2), isDigit(v3)) & inside
  const spaces = bitmask64(isWhiteSpace(v0), isWhiteSpace(v1), isWhiteSpace(v2), isWhiteSpace(v3)) & inside
  const breaks = bitmask64(isBreak(v0), isBreak(v1), isBreak(v2), isBreak(v3)) & inside
  const blanks = equal64(v0, v1, v2, v3, 0x20)
  const others = inside & ~(letters | digits | spaces)
  const gaps = spaces & ~breaks

  // `[^\s\p{L}\p{N}]+[\r
  // ]*` or `[\r
  // /]*`: the token includes the line ends that follow.
  const seeds = breaks & (others << 1)
  let taken: u64 = 0
  if (seeds != 0) {
    const through = (flags & BY_CASE) == 0 ? breaks : breaks | equal64(v0, v1, v2, v3, 0x2f)
    taken = (through & ~(through + seeds)) | seeds
  }
  const marks = others & ~taken
  // The end of each token is the start of the next.
  let starts = (taken << 1) & ~taken
  // ` ?[^\s\p{L}\p{N}]+`: a space joins the punctuation after it. Otherwise a single mark joins the letters after it.
  const markRuns = marks & ~(marks << 1) & ~(blanks << 1)
  const prefixes = markRuns & (letters >> 1)
  starts |= markRuns
  // `[^\r\n\p{L}\p{N}]?\p{L}+`
  starts |= letters & ~(letters << 1) & ~(gaps << 1) & ~(prefixes << 1)
  // `\s*[\r
  // ]+|\s+(?!\S)|\s+`: a run is cut after its last line end, or before its last character if it has none.
  starts |= spaces & ~(spaces << 1) & ~taken
  starts |= gaps & ~(spaces >> 1) & (inside >> 1)
  const openBreaks = breaks & ~taken
  starts |= gaps & (openBreaks << 1)
  for (let inner = breaks & (gaps << 1); inner != 0; inner &= inner - 1) {
    const below = (inner & (0 - inner)) - 1
    const run = gaps & below & ~(ALL >> <u64>clz(~gaps & below))
    starts &= ~(run & (openBreaks << 1))
  }
  starts |= (flags & BY_THREES) != 0 ? startsOfThrees(digits) : digits
  let limit = sawEnd ? ALL : certainBelow(gaps, size)
  const apostrophes = equal64(v0, v1, v2, v3, 0x27)
  if ((flags & BY_CASE) != 0) {
    const capitals = bitmask64(isCapital(v0), isCapital(v1), isCapital(v2), isCapital(v3)) & inside
    starts |= capitals & ((letters & ~capitals) << 1)
  }
  const edge: u64 = sawEnd ? 0 : (<u64>1) << (size - 1)
  let candidates = apostrophes & ((flags & BY_CASE) == 0 ? prefixes : (letters << 1) & ((letters >> 1) | edge))
  let contracted: u64 = 64
  for (; candidates != 0; candidates &= candidates - 1) {
    const bit = <u64>ctz(candidates)
    if (bit + 3 > size && !sawEnd) {
      limit &= ((<u64>1) << bit) - 1
      break
    }
    const length = contractionLength(at + <usize>bit, end)
    if (length == 0) continue
    if ((flags & BY_CASE) != 0) {
      // The word already has one contraction; a second starts a new word.
      if (bit == contracted) continue
      starts &= ~((((<u64>1) << length) - 1) << bit)
    }
    contracted = bit + length
    if (contracted < 64) starts |= (<u64>1) << contracted
  }
  return starts & limit & inside & ~1
}

// @ts-ignore: decorator
@inline
function isBreak(block: v128): v128 {
  return v128.or(i8x16.eq(block, i8x16.splat(0x0a)), i8x16.eq(block, i8x16.splat(0x0d)))
}

// @ts-ignore: decorator
@inline
function isCapital(block: v128): v128 {
  return i8x16.le_u(i8x16.sub(block, i8x16.splat(65)), i8x16.splat(25))
}

// @ts-ignore: decorator
@inline
function equal64(a: v128, b: v128, c: v128, d: v128, byte: i8): u64 {
  const wanted = i8x16.splat(byte)
  return bitmask64(i8x16.eq(a, wanted), i8x16.eq(b, wanted), i8x16.eq(c, wanted), i8x16.eq(d, wanted))
}

/** First digit of each run and every third digit after it. */
// @ts-ignore: decorator
@inline
function startsOfThrees(digits: u64): u64 {
  const thirds = digits & (digits << 1) & (digits << 2) & (digits << 3)
  let group = digits & ~(digits << 1)
  let starts = group
  while (thirds != 0 && group != 0) {
    group = (group << 3) & thirds
    starts |= group
  }
  return starts
}

/** The low bits of a run of gaps that reaches the edge: their split depends on the following bytes. */
// @ts-ignore: decorator
@inline
function certainBelow(gaps: u64, size: u64): u64 {
  const run = <u64>clz(~(gaps << (64 - size)))
  return run >= size ? 0 : ALL >> (64 - (size - run))
}

/** Length of 's 't 'm 'd 're 've 'll at `at`, ignoring case, or 0. */
// @ts-ignore: decorator
@inline
function contractionLength(at: usize, end: usize): u64 {
  const first = <u32>load<u8>(at, 1) | 0x20
  const second = <u32>load<u8>(at, 2) | 0x20
  if (first == 0x73 || first == 0x74 || first == 0x6d || first == 0x64) return at + 2 <= end ? 2 : 0
  const isPair = (first == 0x72 && second == 0x65) || (first == 0x76 && second == 0x65) || (first == 0x6c && second == 0x6c)
  return isPair && at + 3 <= end ? 3 : 0
}
