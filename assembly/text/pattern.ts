// Pre-tokenizers by automaton, one stage after the other; twin of patternSplitter in src/tokenizer/patterns/pretokenize.ts
// with the behavior Isolated. Tables: src/tokenizer/patterns/dfa.ts.
import { STAGE_COUNT, STAGES, STARTS } from './memory'
import { plainStarts, sawEnd } from './ascii-pattern'
import { codePointAt, sequenceLength } from './utf8'
import { encodeWords, GROUP, writeStarts } from './words'

const MATCHES: u32 = 1
const RESCAN: u32 = 2
const MATCHED_BEFORE: u32 = 4
const STATE: u32 = 0xffc0
const START_STATE: u32 = 64
const HIGH_BITS: u64 = 0x8080808080808080
/** Bytes for the automaton before the masks are tried again; doubled each time the masks advance less than this. */
const STRETCH: usize = 64
const LONGEST_STRETCH: usize = 1024

/** Address after the last start written, and address of the output. */
let nextStart: usize = 0
let output: usize = 0

/** Encodes [start, end) to `out`; returns the end of the tokens. */
export function encodePattern<T>(start: usize, end: usize, out: usize): usize {
  nextStart = STARTS
  output = out
  split<T>(0, start, end)
  store<u32>(nextStart, <u32>end)
  return encodeWords<T>(<i32>((nextStart - STARTS) >> 2), output)
}

function split<T>(stage: i32, start: usize, end: usize): void {
  const tables = STAGES + ((<usize>stage) << 4)
  const classes: usize = load<u32>(tables)
  const table: usize = load<u32>(tables, 4)
  if (stage == STAGE_COUNT - 1) return splitLast<T>(classes, table, load<u32>(tables, 8), load<u32>(tables, 12), start, end)
  for (let at = start; at < end; ) {
    const stop = pieceEnd(classes, table, at, end)
    split<T>(stage + 1, at, stop)
    at = stop
  }
}

/**
 * With the fused table, a token that ends where the next one starts, or one character earlier, needs no restart, and starts
 * are stored without a branch. Patterns of the cl100k family are split by masks (ascii-pattern.ts) while these advance, and
 * by the automaton for a stretch where they do not.
 */
function splitLast<T>(classes: usize, table: usize, fused: usize, flags: u32, start: usize, end: usize): void {
  const full = STARTS + (<usize>GROUP << 2)
  store<u32>(nextStart, <u32>start)
  let to = nextStart + 4
  let state = START_STATE
  let before = start
  let at = start
  // Range of the automaton: from a start that the masks reached to the first start after its end.
  let stretchStart: usize = 0
  let stretch = STRETCH
  let stretchEnd = flags == 0 ? end : start
  while (true) {
    while (at < end) {
      if (at >= stretchEnd) {
        const token: usize = load<u32>(to - 4)
        if (token == stretchStart) stretchEnd = at + stretch
        else {
          to = writePlainStarts<T>(token, end, flags, to)
          stretchStart = load<u32>(to - 4)
          stretch = stretchStart - token < STRETCH ? min(stretch * 2, LONGEST_STRETCH) : STRETCH
          stretchEnd = stretchStart + stretch
          at = sawEnd ? end : stretchStart
          before = stretchStart
          state = START_STATE
          if (at == end) break
        }
      }
      // Eight ASCII characters at once, without length checks. A rescan among them is handled by the code below.
      while (at + 8 <= end && at < stretchEnd && (load<u64>(at) & HIGH_BITS) == 0) {
        const toBefore = to
        const stateBefore = state
        const characterBefore = before
        let seen: u32 = 0
        for (let character = at; character < at + 8; character++) {
          const transition = <u32>load<u16>(fused + ((state + <u32>load<u8>(classes + load<u8>(character))) << 1))
          state = transition & STATE
          seen |= transition
          store<u32>(to, <u32>before)
          to += transition & MATCHED_BEFORE
          store<u32>(to, <u32>character)
          to += (transition & MATCHES) << 2
          before = character
        }
        if ((seen & RESCAN) != 0) {
          to = toBefore
          state = stateBefore
          before = characterBefore
          break
        }
        at += 8
        if (to > full) {
          output = encodeWords<T>(<i32>((to - STARTS) >> 2) - 1, output)
          store<u32>(STARTS, load<u32>(to - 4))
          to = STARTS + 4
        }
      }
      if (at >= end) break
      const lead = <u32>load<u8>(at)
      const next = at + sequenceLength(lead)
      const transition = <u32>load<u16>(fused + ((state + <u32>load<u8>(classes + codePointAt(at, lead))) << 1))
      state = transition & STATE
      store<u32>(to, <u32>before)
      to += transition & MATCHED_BEFORE
      store<u32>(to, <u32>at)
      to += (transition & MATCHES) << 2
      before = at
      at = next
      if ((transition & RESCAN) != 0) {
        at = pieceEnd(classes, table, load<u32>(to - 4), end)
        state = START_STATE
        store<u32>(to, <u32>at)
        to += 4
      }
      if (to > full) {
        output = encodeWords<T>(<i32>((to - STARTS) >> 2) - 1, output)
        store<u32>(STARTS, load<u32>(to - 4))
        to = STARTS + 4
      }
    }
    if (state == START_STATE) break // rescanned: the end of the text ended a token
    at = pieceEnd(classes, table, load<u32>(to - 4), end)
    if (at >= end) break
    state = START_STATE
    store<u32>(to, <u32>at)
    to += 4
  }
  // The end of the text is not a start.
  nextStart = load<u32>(to - 4) >= <u32>end ? to - 4 : to
}

/** Appends the starts after `token` that the masks find; the last token may end at the end of the text (sawEnd). */
function writePlainStarts<T>(token: usize, end: usize, flags: u32, to: usize): usize {
  const full = STARTS + (<usize>GROUP << 2)
  let at = token
  while (true) {
    const starts = plainStarts(at, end, flags)
    if (starts == 0) return to
    to = writeStarts(starts, at, to)
    at = load<u32>(to - 4)
    if (to > full) {
      output = encodeWords<T>(<i32>((to - STARTS) >> 2) - 1, output)
      store<u32>(STARTS, <u32>at)
      to = STARTS + 4
    }
    if (sawEnd) return to
  }
}

/** End of the match at `start`, or of the gap before the next match. */
function pieceEnd(classes: usize, table: usize, start: usize, end: usize): usize {
  const matched = matchEnd(classes, table, start, end)
  if (matched != 0) return matched
  let at = start
  do at += sequenceLength(load<u8>(at))
  while (at < end && matchEnd(classes, table, at, end) == 0)
  return min(at, end)
}

/** End of the match that starts at `start`, or 0. */
function matchEnd(classes: usize, table: usize, start: usize, end: usize): usize {
  let state = START_STATE
  let matched: usize = 0
  let at = start
  while (true) {
    const lead = <u32>load<u8>(at)
    const kind = at < end ? <u32>load<u8>(classes + codePointAt(at, lead)) : 0
    const transition = <u32>load<u16>(table + ((state + kind) << 1))
    if ((transition & MATCHES) != 0) matched = at
    state = transition & STATE
    if (state == 0) return matched
    at += sequenceLength(lead)
  }
}
