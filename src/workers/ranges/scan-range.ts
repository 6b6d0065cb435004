/**
 * The good case of checking a range: read piece by piece into the same memory, so that a piece is still in the
 * processor's second cache when it is checked. Whatever is out of the ordinary is left to the way that has the whole
 * range in memory (`load-range.ts`) and can say what is wrong.
 */

import { PAGE_BYTES } from '../../files/source-file.js'
import type { LineKernel } from '../../tokenizer/kernel/scan-lines.js'
import { type FileRange, LOOK_AHEAD_BYTES, readFully } from './load-range.js'

const PIECE_BYTES = 512 << 10
/** In front of a piece, for what the one before had of a line that goes on. */
const CARRIED_BYTES = 128 << 10
const LF = 0x0a

/** The lines of a range, all valid. */
export interface CheckedLines {
  /** What the places are counted from: an offset in the file. */
  readonly origin: number
  readonly lineCount: number
  readonly byteLength: number
}

/**
 * @param starts where the places of the lines go, those of `ends` as well
 * @returns undefined when a line is faulty, or when lines are too long or too many
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
  const memory = kernel.input(CARRIED_BYTES + PIECE_BYTES + LOOK_AHEAD_BYTES)
  let lineCount = 0
  let byteLength = 0
  let carried = 0
  for (let at = origin; ; at += PIECE_BYTES) {
    const isLast = end - at <= PIECE_BYTES
    const length = isLast ? Math.min(fileBytes, end + LOOK_AHEAD_BYTES) - at : PIECE_BYTES
    const bytes = memory.subarray(0, CARRIED_BYTES + length)
    readFully(range, bytes.subarray(CARRIED_BYTES), at)
    /** Where bytes[0] would stand in the file. */
    const zero = at - CARRIED_BYTES
    const isBegun = at > origin || start === 0
    const first = isBegun ? CARRIED_BYTES - carried : bytes.indexOf(LF, start - 1 - zero) + 1
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
