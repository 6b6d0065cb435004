// Cuts ASCII text for the patterns of the cl100k family (src/tokenizer/patterns/ascii-pattern.ts) with bit masks, 64 bytes a step
// that begins at a token: what lies before it plays no part, so a step needs nothing of the one before. Its last start,
// whose end is not seen yet, begins the next step. Twin: the automaton of the same pattern.
import { bitmask64, isDigit, isLetter, isWhiteSpace } from './utf8'

const ALL: u64 = 0xffffffffffffffff
/** Fewer bytes are not worth a step. */
const LEAST: u64 = 8

// Bits of a stage's flags: how a pattern differs from its relatives. Those of one that is no relative are all 0.
/** Digits go in threes, not one by one. */
const BY_THREES: u32 = 2
/** A capital after a small letter begins a word, contractions belong to their word, slashes may follow punctuation's line ends. */
const BY_CASE: u32 = 4

/** Whether the last call of `plainStarts` saw the text's end: then it found all starts there are. */
export let sawEnd: bool = false

/**
 * Starts of the tokens behind the one that begins at `at`, one bit a byte, as far as they are certain: characters beyond
 * ASCII and the bytes behind the step can be anything.
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

  // `[^\s\p{L}\p{N}]+[\r\n]*` or `[\r\n/]*`: line ends that follow are the token's.
  const seeds = breaks & (others << 1)
  let taken: u64 = 0
  if (seeds != 0) {
    const through = (flags & BY_CASE) == 0 ? breaks : breaks | equal64(v0, v1, v2, v3, 0x2f)
    taken = (through & ~(through + seeds)) | seeds
  }
  const marks = others & ~taken
  // Every token's end is the next one's start.
  let starts = (taken << 1) & ~taken
  // ` ?[^\s\p{L}\p{N}]+`: a blank goes with the marks behind it. Without one, a single mark goes with letters behind it.
  const markRuns = marks & ~(marks << 1) & ~(blanks << 1)
  const prefixes = markRuns & (letters >> 1)
  starts |= markRuns
  // `[^\r\n\p{L}\p{N}]?\p{L}+`
  starts |= letters & ~(letters << 1) & ~(gaps << 1) & ~(prefixes << 1)
  // `\s*[\r\n]+|\s+(?!\S)|\s+`: a run ends behind its last line end, and before its last character if that is none.
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
      // A word has one; a second one is a word.
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

/** First digit of each run and every third behind it. */
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

/** The bits below a run of gaps that reaches the edge: how it is cut depends on what follows. */
// @ts-ignore: decorator
@inline
function certainBelow(gaps: u64, size: u64): u64 {
  const run = <u64>clz(~(gaps << (64 - size)))
  return run >= size ? 0 : ALL >> (64 - (size - run))
}

/** Bytes of 's 't 'm 'd 're 've 'll in any case at `at`, or 0. */
// @ts-ignore: decorator
@inline
function contractionLength(at: usize, end: usize): u64 {
  const first = <u32>load<u8>(at, 1) | 0x20
  const second = <u32>load<u8>(at, 2) | 0x20
  if (first == 0x73 || first == 0x74 || first == 0x6d || first == 0x64) return at + 2 <= end ? 2 : 0
  const isPair = (first == 0x72 && second == 0x65) || (first == 0x76 && second == 0x65) || (first == 0x6c && second == 0x6c)
  return isPair && at + 3 <= end ? 3 : 0
}
