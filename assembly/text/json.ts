// Strict validation of JSONL records and extraction of one text field; TypeScript twin: src/formats/json-scan.ts. A line feed
// after the record is the sentinel that ends every loop; the host appends one to its input.
import { CLOSE_BRACE, CLOSE_BRACKET, COLON, COMMA, LINE_FEED, MINUS, OPEN_BRACE, OPEN_BRACKET, QUOTE } from './json-bytes'
import { copiedEnd, copyString } from './json-copy'
import { skipString, wrongAt } from './json-strings'
import { beginRecord, isRecordUtf8 } from './json-utf8'
import { CONTAINERS, PATH } from './memory'

export const OK: i32 = 0
export const JSON_INVALID: i32 = 1
export const UTF8_INVALID: i32 = 2
export const LINE_BLANK: i32 = 3
export const FIELD_MISSING: i32 = 4
export const FIELD_NOT_TEXT: i32 = 5
export const DOCUMENT_EMPTY: i32 = 6

const DEPTH_LIMIT: i32 = 65536
const TRUE: u32 = 0x65757274
const NULL: u32 = 0x6c6c756e
const FALS: u32 = 0x736c6166

const KEY: u32 = 0
const INDEX: u32 = 1

/** Address of the line feed after the last scanned record. */
export let lineEnd: usize = 0
/** Length of the text that `scanRecord` last extracted. */
export let textLength: usize = 0

/** Address where scanning stopped. */
let stopped: usize = 0

/**
 * Scans the record at `start`, whose line feed is at `end` or earlier. With pathLength >= 0, writes the text at the path
 * to `text`, which needs room for the length of the record plus 128 bytes.
 */
export function scanRecord(start: usize, end: usize, pathLength: i32, text: usize): i32 {
  beginRecord(start)
  const status = scanSyntax(start, pathLength, text)
  lineEnd = status == JSON_INVALID ? findLineFeed(stopped, end) : stopped
  if (status != OK && status < FIELD_MISSING) return status
  return isRecordUtf8(lineEnd) ? status : UTF8_INVALID
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
  // Number of outermost open containers that the path leads through; -1 if no field is wanted.
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
        at = copyString(at + 1, text)
        textLength = copiedEnd - text
        field = OK
      } else at = skipString(at + 1)
      if (at == 0) return invalidAt(wrongAt)
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
    // Closes containers, and reads the separator before the next value.
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
    if (at == 0) return invalidAt(wrongAt)
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

/** Whether the raw key [start, end) equals this part of the path. `scratch` has room for it unescaped. */
function keyIs(part: usize, start: usize, end: usize, scratch: usize): bool {
  const length: usize = load<u32>(part, 4)
  const wanted: usize = load<u32>(part, 8)
  if (end - start == length) return memory.compare(start, wanted, length) == 0
  // An escape is never shorter than the text it stands for.
  if (end - start < length) return false
  copyString(start, scratch)
  return copiedEnd - scratch == length && memory.compare(scratch, wanted, length) == 0
}

/** The address after the number at `at`, or 0. */
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
