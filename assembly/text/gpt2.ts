// GPT-2's pre-tokenizer with bit masks: each step turns 64 bytes into masks of letters, numbers and white space and computes
// the word starts from them. A step is evaluated once the masks of the next 64 bytes are known, which makes look-ahead and
// contractions across the edge exact. TypeScript twin: splitGpt2 in
// src/tokenizer/patterns/pretokenize.ts.
import { GPT2_CLASSES, STARTS } from './memory'
import { bitmask64, codePointAt, isControlSpace, isDigit, isLetter, sequenceLength } from './utf8'
import { encodeWords, GROUP, writeStarts } from './words'

const ALL: u64 = 0xffffffffffffffff
const LETTER: u32 = 1
const NUMBER: u32 = 2
const SPACE: u32 = 3

/** Encodes [start, end) to `out`; returns the end of the tokens. */
export function encodeGpt2<T>(start: usize, end: usize, out: usize): usize {
  const classes = GPT2_CLASSES
  let found: i32 = 0
  // Masks of the 64 bytes at `base`, one bit per byte; all bytes of a character share its class.
  let letters: u64 = 0
  let numbers: u64 = 0
  let spaces: u64 = 0
  let blanks: u64 = 0 // U+0020 only
  let apostrophes: u64 = 0
  let spaces2: u64 = 0 // first bytes of two- and three-byte white space
  let spaces3: u64 = 0
  let trailing: u64 = 0 // continuation bytes
  // The highest bit of the previous masks.
  let letterBefore: u64 = 0
  let numberBefore: u64 = 0
  let spaceBefore: u64 = 0
  let blankBefore: u64 = 0
  let otherBefore: u64 = 0
  // Bits of the next step that a contraction across the edge sets or clears.
  let setNext: u64 = 0
  let clearNext: u64 = 0
  // A character across the edge: its bits in the next step, and its class.
  let overhang: u64 = 0
  let overhangClass: u32 = 0
  let base = start
  for (let ahead = start; ; ahead += 64) {
    const hasMore = ahead < end
    let nextLetters: u64 = 0
    let nextNumbers: u64 = 0
    let nextSpaces: u64 = ALL // the end of the text counts as white space
    let nextBlanks: u64 = 0
    let nextApostrophes: u64 = 0
    let nextSpaces2: u64 = 0
    let nextSpaces3: u64 = 0
    let nextTrailing: u64 = 0
    if (hasMore) {
      const v0 = v128.load(ahead)
      const v1 = v128.load(ahead, 16)
      const v2 = v128.load(ahead, 32)
      const v3 = v128.load(ahead, 48)
      const blank = i8x16.splat(0x20)
      const apostrophe = i8x16.splat(0x27)
      nextLetters = bitmask64(isLetter(v0), isLetter(v1), isLetter(v2), isLetter(v3))
      nextNumbers = bitmask64(isDigit(v0), isDigit(v1), isDigit(v2), isDigit(v3))
      nextSpaces = bitmask64(isControlSpace(v0), isControlSpace(v1), isControlSpace(v2), isControlSpace(v3))
      nextBlanks = bitmask64(i8x16.eq(v0, blank), i8x16.eq(v1, blank), i8x16.eq(v2, blank), i8x16.eq(v3, blank))
      nextApostrophes = bitmask64(
        i8x16.eq(v0, apostrophe), i8x16.eq(v1, apostrophe), i8x16.eq(v2, apostrophe), i8x16.eq(v3, apostrophe),
      )
      nextSpaces |= nextBlanks
      let high = bitmask64(v0, v1, v2, v3)
      const rest = <u64>(end - ahead)
      if (rest < 64) {
        const beyond = ALL << rest
        nextLetters &= ~beyond
        nextNumbers &= ~beyond
        nextBlanks &= ~beyond
        nextApostrophes &= ~beyond
        high &= ~beyond
        nextSpaces |= beyond
      }
      if (overhang != 0) {
        if (overhangClass == LETTER) nextLetters |= overhang
        else if (overhangClass == NUMBER) nextNumbers |= overhang
        else if (overhangClass == SPACE) nextSpaces |= overhang
        nextTrailing |= overhang
        high &= ~overhang
        overhang = 0
      }
      while (high != 0) {
        const bit = ctz(high)
        const at = ahead + <usize>bit
        const lead = <u32>load<u8>(at)
        const length = <u64>sequenceLength(lead)
        const kind = <u32>load<u8>(classes + codePointAt(at, lead))
        const bits = (((<u64>1) << length) - 1) << bit
        const first = (<u64>1) << bit
        nextLetters |= kind == LETTER ? bits : 0
        nextNumbers |= kind == NUMBER ? bits : 0
        if (kind == SPACE) {
          nextSpaces |= bits
          if (length == 2) nextSpaces2 |= first
          else nextSpaces3 |= first
        }
        nextTrailing |= bits & ~first
        high &= ~(bits | first)
        if (bit + length > 64) {
          overhang = ((<u64>1) << (bit + length - 64)) - 1
          overhangClass = kind
        }
      }
    }
    if (ahead > start) {
      const others = ~(letters | numbers | spaces)
      const continues =
        (letters & ((letters << 1) | letterBefore)) |
        (numbers & ((numbers << 1) | numberBefore)) |
        (others & ((others << 1) | otherBefore))
      let starts = ~(spaces | continues | ((blanks << 1) | blankBefore) | trailing)
      // White space starts a word at the first character of a run, and at the last one if text follows.
      const narrow = spaces & ~trailing & ~spaces2 & ~spaces3
      let lastOfRun = narrow & ~((spaces >> 1) | (nextSpaces << 63))
      if ((spaces2 | spaces3) != 0) {
        lastOfRun |= spaces2 & ~((spaces >> 2) | (nextSpaces << 62))
        lastOfRun |= spaces3 & ~((spaces >> 3) | (nextSpaces << 61))
      }
      starts |= (narrow | spaces2 | spaces3) & (~((spaces << 1) | spaceBefore) | lastOfRun)
      starts = (starts & ~clearNext) | setNext
      clearNext = 0
      setNext = 0
      for (let candidates = apostrophes & starts; candidates != 0; candidates &= candidates - 1) {
        const bit = ctz(candidates)
        const length = contractionLength(base + <usize>bit, end)
        if (length == 0) continue
        if (bit + 1 < 64) starts &= ~((<u64>1) << (bit + 1))
        else clearNext = 1
        if (bit + length < 64) starts |= (<u64>1) << (bit + length)
        else setNext = (<u64>1) << (bit + length - 64)
      }
      const rest = <u64>(end - base)
      if (rest < 64) starts &= ~(ALL << rest)
      found = <i32>((writeStarts(starts, base, STARTS + (<usize>found << 2)) - STARTS) >> 2)
      letterBefore = letters >> 63
      numberBefore = numbers >> 63
      spaceBefore = spaces >> 63
      blankBefore = blanks >> 63
      otherBefore = others >> 63
      if (found > GROUP) {
        out = encodeWords<T>(found - 1, out)
        store<u32>(STARTS, load<u32>(STARTS + (<usize>(found - 1) << 2)))
        found = 1
      }
      if (!hasMore) break
    }
    letters = nextLetters
    numbers = nextNumbers
    spaces = nextSpaces
    blanks = nextBlanks
    apostrophes = nextApostrophes
    spaces2 = nextSpaces2
    spaces3 = nextSpaces3
    trailing = nextTrailing
    base = ahead
  }
  store<u32>(STARTS + (<usize>found << 2), <u32>end)
  return encodeWords<T>(found, out)
}

/** Length of 's 't 'm 'd 're 've 'll at `at`, or 0. */
// @ts-ignore: decorator
@inline
function contractionLength(at: usize, end: usize): u64 {
  const first = <u32>load<u8>(at, 1)
  const second = <u32>load<u8>(at, 2)
  if (first == 0x73 || first == 0x74 || first == 0x6d || first == 0x64) return at + 2 <= end ? 2 : 0
  const isPair = (first == 0x72 && second == 0x65) || (first == 0x76 && second == 0x65) || (first == 0x6c && second == 0x6c)
  return isPair && at + 3 <= end ? 3 : 0
}
