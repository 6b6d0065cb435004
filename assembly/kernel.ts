// The kernel: what the host calls. Built to dist/tokenizer/kernel.wasm; src/tokenizer/kernel.ts is the host's side.
// The TypeScript twins in src/ give the same results and are the place to read first.
import { encodeGpt2 } from './gpt2'
import { lineEnd, OK, scanRecord, textLength } from './json'
import { FIRST_BYTES, STAGE_COUNT, STARTS } from './memory'
import { encodePattern } from './pattern'
import { encodeWords } from './words'

export { firstUsableAddress, setFree, setTables } from './memory'
export { setMerges } from './merge'
export { clearWords, setWholeWords } from './words'

/** How words are found. */
const WHOLE: i32 = 0
const GPT2: i32 = 1

let splitter: i32 = WHOLE
let isWide: bool = false
/** Bytes from this one on make a document the host's business, who has to normalize it; 256: none do. */
let hostByte: u32 = 256
let hasAddedTokens: bool = false

export function configure(howToSplit: i32, wide: bool, firstHostByte: u32, addedTokens: bool): void {
  splitter = howToSplit
  isWide = wide
  hostByte = firstHostByte
  hasAddedTokens = addedTokens
}

/** Encodes the bytes [start, end), without added tokens, to `out`; returns the address behind the tokens. */
export function encode(start: usize, end: usize, out: usize): usize {
  if (start >= end) return out
  return isWide ? encodeTo<u32>(start, end, out) : encodeTo<u16>(start, end, out)
}

// @ts-ignore: decorator
@inline
function encodeTo<T>(start: usize, end: usize, out: usize): usize {
  if (splitter == GPT2) return encodeGpt2<T>(start, end, out)
  if (STAGE_COUNT > 0) return encodePattern<T>(start, end, out)
  store<u32>(STARTS, <u32>start)
  store<u32>(STARTS, <u32>end, 4)
  return encodeWords<T>(1, out)
}

/** Where `scanLines` and `packLines` stopped: the start of the next line. */
export let resumeAt: usize = 0

/**
 * Scans the lines of [start, end), whose last byte is followed by a line feed, until `capacity` of them are done. Writes
 * the start and the end of each, relative to `origin`, and its status. Returns how many.
 */
export function scanLines(
  start: usize, end: usize, origin: usize, capacity: i32, starts: usize, ends: usize, statuses: usize,
): i32 {
  let count: i32 = 0
  let at = start
  while (at < end && count < capacity) {
    const status = scanRecord(at, end, -1, 0)
    store<u32>(starts + (<usize>count << 2), <u32>(at - origin))
    store<u32>(ends + (<usize>count << 2), <u32>(lineEnd - origin))
    store<u8>(statuses + <usize>count, status)
    count++
    at = lineEnd + 1
  }
  resumeAt = at
  return count
}

/** Scans one line and extracts the field; returns its status. The text's length is `extractedLength`. */
export function extract(start: usize, end: usize, pathLength: i32, text: usize): i32 {
  const status = scanRecord(start, end, pathLength, text)
  extractedLength = status == OK ? textLength : 0
  nextLine = lineEnd
  return status
}

export let extractedLength: usize = 0
export let nextLine: usize = 0

/** Whether the host has to look at a text before it is encoded: it may have an added token or need normalization. */
export function needsHost(start: usize, end: usize): bool {
  for (let at = start; at < end; at++) {
    const byte = <u32>load<u8>(at)
    if (byte >= hostByte || (hasAddedTokens && load<u8>(FIRST_BYTES + byte) != 0)) return true
  }
  return false
}
