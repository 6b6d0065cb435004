/**
 * The lines of a range, each given to a kernel by itself: for a task at which a worker died, and for tokenizers whose
 * time for a line nobody can tell. The heartbeat shows each line before it is begun; the poisoned are left out.
 */
import type { ErrorCode } from '../../errors.js'
import { scanLine } from '../../formats/json-scan.js'
import { LINE_STATUSES, type LineKernel, type ScannedLines } from '../../tokenizer/kernel/scan-lines.js'
import type { PackedLines } from '../../tokenizer/pack-lines.js'
import type { Heartbeat } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import type { LoadedRange } from './load-range.js'

/** Status of a line that was left out although it is valid JSON. */
export const POISONED = 0xff

const LF = 0x0a
const NO_TOKENS = new Uint8Array(0)

/** What a worker does to the ranges of its file. */
export interface RangeKernel {
  readonly lines: LineKernel
  work(range: LoadedRange, retry: RetryMode, heartbeat: Heartbeat): WorkedRange
}

/** The lines of a range, valid until the kernel's next call, and where its bytes lie now. */
export interface WorkedRange {
  readonly range: LoadedRange
  readonly lines: ScannedLines | PackedLines
}

/** Out of the kernel's memory, which is used for single lines then. */
export const copied = (range: LoadedRange): LoadedRange => ({ ...range, bytes: range.bytes.slice() })

/** For longer than to the kernel's next call. */
export function kept({ lineStarts, lineEnds, statuses }: ScannedLines): ScannedLines {
  return { lineStarts: lineStarts.slice(), lineEnds: lineEnds.slice(), statuses: statuses.slice() }
}

/** @param work is given bytes [start, end): one line with its line feed; its reply must outlive the next call */
export function lineByLine<Lines extends ScannedLines>(
  range: LoadedRange,
  { poison }: RetryMode,
  heartbeat: Heartbeat,
  work: (bytes: Uint8Array, start: number, end: number) => Lines,
): Lines[] {
  const { bytes, first, stop } = range
  const leftOut = new Set(poison.map(({ piece }) => piece))
  const parts: Lines[] = []
  for (let start = first; start < stop; ) {
    const line = parts.length
    const feed = bytes.indexOf(LF, start)
    const end = feed < 0 || feed >= stop ? stop : feed + 1
    if (leftOut.has(line)) {
      parts.push(leftOutLine(bytes, start, feed < 0 || feed >= stop ? stop : feed) as PackedLines & Lines)
    } else {
      heartbeat.begin(line, end - start)
      parts.push(work(bytes, start, end))
    }
    start = end
  }
  return parts
}

function leftOutLine(bytes: Uint8Array, start: number, end: number): PackedLines {
  const result = scanLine(bytes, start, end)
  const codes: readonly (ErrorCode | undefined)[] = LINE_STATUSES
  return {
    lineStarts: Uint32Array.of(start),
    lineEnds: Uint32Array.of(end),
    statuses: Uint8Array.of(result.ok ? POISONED : codes.indexOf(result.code)),
    tokens: NO_TOKENS,
    lengths: Uint32Array.of(0),
  }
}

export function joinScanned(parts: readonly ScannedLines[]): ScannedLines {
  return {
    lineStarts: Uint32Array.from(parts.flatMap(part => [...part.lineStarts])),
    lineEnds: Uint32Array.from(parts.flatMap(part => [...part.lineEnds])),
    statuses: Uint8Array.from(parts.flatMap(part => [...part.statuses])),
  }
}

export function joinPacked(parts: readonly PackedLines[], width: 1 | 2 | 4): PackedLines {
  const count = parts.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const tokens = width === 1 ? new Uint8Array(count) : width === 2 ? new Uint16Array(count) : new Uint32Array(count)
  let at = 0
  for (const part of parts) {
    tokens.set(part.tokens, at)
    at += part.tokens.length
  }
  return { ...joinScanned(parts), tokens, lengths: Uint32Array.from(parts.flatMap(part => [...part.lengths])) }
}
