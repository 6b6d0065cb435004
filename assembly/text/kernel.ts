// Entry points of the kernel. Built to dist/tokenizer/kernel.wasm; host side: src/tokenizer/kernel/kernel-engine.ts.
// The TypeScript twins in src/ give the same results and are easier to read first.
import { encodeChunks } from './chunks'
import { encodeGpt2 } from './gpt2'
import { COPYING, stopsAt } from './instrument'
import { DOCUMENT_EMPTY, lineEnd, OK, scanRecord, textLength } from './json'
import { CHANGING, STAGE_COUNT, STARTS, TEMPLATE, TOKEN_PAIRS } from './memory'
import { encodePattern } from './pattern'
import { codePointAt } from './utf8'
import { encodeWords, reviewWords } from './words'

export { firstUsableAddress, setFree, setTables } from './memory'
export { setMerges } from './merge'
export { indexVocabulary, listEnd, packWords, readMerges, readVocabulary } from './model-lists'
export { segment, setUnigram } from './unigram'
export { leaveWordsToHost, setWholeWords } from './whole-words'
export { clearWords, wordBits } from './words'

/** Pre-tokenizer. */
const WHOLE: i32 = 0
const GPT2: i32 = 1
const CHUNKS: i32 = 3

let splitter: i32 = WHOLE
let isWide: bool = false

/** Tokens are u32 if wide, u16 otherwise. */
export function configure(howToSplit: i32, wide: bool): void {
  splitter = howToSplit
  isWide = wide
}

/** Numbers of tokens at TEMPLATE that precede and follow each text. */
let before: i32 = 0
let after: i32 = 0

export function setTemplate(countBefore: i32, countAfter: i32): void {
  before = countBefore
  after = countAfter
}

/** Encodes the bytes [start, end), without added tokens, to `out`; returns the address after the tokens. */
export function encode(start: usize, end: usize, out: usize): usize {
  if (start >= end) return out
  if (stopsAt(COPYING)) return out
  return isWide ? encodeTo<u32>(start, end, out) : encodeTo<u16>(start, end, out)
}

/** Like `encode`, plus the template tokens. */
export function encodeDocument(start: usize, end: usize, out: usize): usize {
  if (before + after == 0) return encode(start, end, out)
  return writeTemplate(before, after, encode(start, end, writeTemplate(0, before, out)))
}

function writeTemplate(first: i32, count: i32, out: usize): usize {
  for (let i = first; i < first + count; i++) {
    const token = load<u32>(TEMPLATE + (<usize>i << 2))
    if (isWide) store<u32>(out, token)
    else store<u16>(out, <u16>token)
    out += isWide ? 4 : 2
  }
  return out
}

// @ts-ignore: decorator
@inline
function encodeTo<T>(start: usize, end: usize, out: usize): usize {
  reviewWords()
  if (splitter == GPT2) return encodeGpt2<T>(start, end, out)
  if (splitter == CHUNKS) return encodeChunks<T>(start, end, out)
  if (STAGE_COUNT > 0) return encodePattern<T>(start, end, out)
  store<u32>(STARTS, <u32>start)
  store<u32>(STARTS, <u32>end, 4)
  return encodeWords<T>(1, out)
}

/** Tables of lines, one entry per line: starts and ends u32, relative to `origin`, and statuses u8. */
let origin: usize = 0
let lineStarts: usize = 0
let lineEnds: usize = 0
let lineStatuses: usize = 0
/** u32: token count of each document. */
let lineLengths: usize = 0

export function setLineTables(from: usize, starts: usize, ends: usize, statuses: usize, lengths: usize): void {
  origin = from
  lineStarts = starts
  lineEnds = ends
  lineStatuses = statuses
  lineLengths = lengths
}

/** Start of the next line when `scanLines` or `packLines` stopped. */
export let resumeAt: usize = 0

// @ts-ignore: decorator
@inline
function writeLine(line: i32, start: usize, status: i32): void {
  store<u32>(lineStarts + (<usize>line << 2), <u32>(start - origin))
  store<u32>(lineEnds + (<usize>line << 2), <u32>(lineEnd - origin))
  store<u8>(lineStatuses + <usize>line, status)
}

/** Scans the lines of [start, end), numbered from `line`, until `capacity` are done; returns the number of lines done. */
export function scanLines(start: usize, end: usize, line: i32, capacity: i32): i32 {
  let at = start
  while (at < end && line < capacity) {
    const status = scanRecord(at, end, -1, 0)
    writeLine(line++, at, status)
    at = lineEnd + 1
  }
  resumeAt = at
  return line
}

/** Address after the last token written. */
export let tokensEnd: usize = 0
/** Length of the text that `packLines` left to the host, or -1 if none. */
export let hostText: i32 = -1

/**
 * Like `scanLines`, and extracts the field of each record to `text` and encodes it to `out`. A text that needs the host
 * ends the loop; its line is already recorded with length 0. `endOfDocument` (-1: none) follows each document that does not
 * already end with it.
 */
export function packLines(
  start: usize, end: usize, line: i32, capacity: i32, pathLength: i32, text: usize, out: usize, endOfDocument: i32,
): i32 {
  let at = start
  hostText = -1
  while (at < end && line < capacity) {
    let status = scanRecord(at, end, pathLength, text)
    const length = status == OK ? textLength : 0
    let tokens: usize = 0
    if (status == OK && needsHost(text, text + length)) hostText = <i32>length
    else if (status == OK) {
      const stop = finishDocument(out, encodeDocument(text, text + length, out), endOfDocument)
      tokens = (stop - out) >> (isWide ? 2 : 1)
      if (tokens == 0) status = DOCUMENT_EMPTY
      out = stop
    }
    store<u32>(lineLengths + (<usize>line << 2), <u32>tokens)
    writeLine(line++, at, status)
    at = lineEnd + 1
    if (hostText >= 0) break
  }
  resumeAt = at
  tokensEnd = out
  return line
}

/** Appends the end-of-document token to tokens [start, end) unless they are empty or end with it. */
function finishDocument(start: usize, end: usize, endOfDocument: i32): usize {
  if (end == start || endOfDocument < 0) return end
  if (isWide) {
    if (load<i32>(end - 4) == endOfDocument) return end
    store<i32>(end, endOfDocument)
    return end + 4
  }
  if (<i32>load<u16>(end - 2) == endOfDocument) return end
  store<u16>(end, endOfDocument)
  return end + 2
}

// Conditions under which the host handles a text.
/** Every text. */
let hostSeesAll: bool = false
/** Texts with a code point in CHANGING; their first bytes are at least this value; 256: none. */
let hostByte: i32 = 256
/** Texts that may contain an added token: its first byte is in `tokenLeads` (up to four; repeats or unused ones allowed). */
let hasTokens: bool = false
let tokenLeads: u32 = 0
let leadsAreFew: bool = false

export function setHostRules(seesAll: bool, firstByte: i32, tokens: bool, leads: u32, areFew: bool): void {
  hostSeesAll = seesAll
  hostByte = firstByte
  hasTokens = tokens
  tokenLeads = leads
  leadsAreFew = areFew
}

export function needsHost(start: usize, end: usize): bool {
  if (hostSeesAll) return true
  return (hostByte < 256 && hasChanging(start, end)) || mayHaveToken(start, end)
}

/** Whether the text may contain an added token. */
export function mayHaveToken(start: usize, end: usize): bool {
  if (!hasTokens) return false
  if (leadsAreFew) return hasTokenStart(start, end)
  for (let at = start; at < end; at++) if (isTokenStart(at)) return true
  return false
}

function hasChanging(start: usize, end: usize): bool {
  const limit = i8x16.splat(<i8>max(hostByte, 0xc2))
  for (let at = start; at < end; at += 16) {
    // Only lead bytes are above the limit.
    for (let found = <u32>i8x16.bitmask(i8x16.ge_u(v128.load(at), limit)); found != 0; found &= found - 1) {
      const first = at + <usize>ctz(found)
      if (first >= end) return false
      const codePoint = codePointAt(first, load<u8>(first))
      if (((load<u8>(CHANGING + (codePoint >> 3)) >> <u8>(codePoint & 7)) & 1) != 0) return true
    }
  }
  return false
}

function hasTokenStart(start: usize, end: usize): bool {
  const a = i8x16.splat(<i8>tokenLeads)
  const b = i8x16.splat(<i8>(tokenLeads >> 8))
  const c = i8x16.splat(<i8>(tokenLeads >> 16))
  const d = i8x16.splat(<i8>(tokenLeads >> 24))
  for (let at = start; at < end; at += 16) {
    const block = v128.load(at)
    const either = v128.or(v128.or(i8x16.eq(block, a), i8x16.eq(block, b)), v128.or(i8x16.eq(block, c), i8x16.eq(block, d)))
    for (let found = <u32>i8x16.bitmask(either); found != 0; found &= found - 1) {
      const candidate = at + <usize>ctz(found)
      if (candidate < end && isTokenStart(candidate)) return true
    }
  }
  return false
}

// @ts-ignore: decorator
@inline
function isTokenStart(at: usize): bool {
  const pair = <u32>load<u16>(at)
  return ((load<u8>(TOKEN_PAIRS + (pair >> 3)) >> <u8>(pair & 7)) & 1) != 0
}
