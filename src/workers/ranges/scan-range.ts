/**
 * Fast path of validation: scans a range in 512 KiB chunks read into the same memory, so that each chunk is still in
 * the L2 cache when it is scanned. Returns undefined for anything unusual; the caller then loads the whole range
 * (`load-range.ts`), which can report the fault.
 */

import { PAGE_BYTES } from '../../files/source-file.js'
import type { LineKernel } from '../../tokenizer/kernel/scan-lines.js'
import { LOOK_AHEAD_BYTES, readFully } from './load-range.js'
import type { FileRange } from './range-task.js'

const CHUNK_BYTES = 512 << 10
/** Space before a chunk for the incomplete last line of the previous one. */
const CARRIED_BYTES = 128 << 10
const LF = 0x0a

/** The lines of a range, all valid. */
export interface CheckedLines {
  /** File offset to which the line offsets are relative. */
  readonly origin: number
  readonly lineCount: number
  readonly byteLength: number
}

/**
 * @param starts receives the start offsets of the lines; `ends` the end offsets
 * @returns undefined when a line is faulty or too long, or when there are too many lines
 * @throws FILE_UNREADABLE, FILE_CHANGED
 */
export function scanRangeFast(
  kernel: LineKernel,
  range: FileRange,
  starts: Uint32Array,
  ends: Uint32Array,
): CheckedLines | undefined {
  const { start, end, fileBytes } = range
  const origin = start === 0 ? 0 : start - PAGE_BYTES
  const memory = kernel.input(CARRIED_BYTES + CHUNK_BYTES + LOOK_AHEAD_BYTES)
  let lineCount = 0
  let byteLength = 0
  let carried = 0
  for (let at = origin; ; at += CHUNK_BYTES) {
    const isLast = end - at <= CHUNK_BYTES
    const length = isLast ? Math.min(fileBytes, end + LOOK_AHEAD_BYTES) - at : CHUNK_BYTES
    const bytes = memory.subarray(0, CARRIED_BYTES + length)
    readFully(range, bytes.subarray(CARRIED_BYTES), at)
    /** File offset that corresponds to bytes[0]. */
    const zero = at - CARRIED_BYTES
    const hasLineStart = at > origin || start === 0
    const first = hasLineStart ? CARRIED_BYTES - carried : bytes.indexOf(LF, start - 1 - zero) + 1
    const feed = isLast ? bytes.indexOf(LF, end - 1 - zero) : bytes.lastIndexOf(LF)
    const stop = isLast && feed < 0 && at + length === fileBytes ? bytes.length : feed + 1
    carried = isLast ? 0 : bytes.length - stop
    if (first === 0 || stop <= first || first + zero >= end || carried > CARRIED_BYTES) return undefined
    const { statuses, lineStarts, lineEnds } = kernel.scan(bytes, first, stop)
    if (lineCount + statuses.length > starts.length || !statuses.every(status => status === 0)) return undefined
    for (let line = 0; line < statuses.length; line++, lineCount++) {
      starts[lineCount] = lineStarts[line]! + zero - origin
      ends[lineCount] = lineEnds[line]! + zero - origin
    }
    byteLength += stop - first
    if (isLast) return { origin, lineCount, byteLength }
    bytes.copyWithin(CARRIED_BYTES - carried, stop)
  }
}
