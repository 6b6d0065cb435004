/**
 * Processes the lines of a range one at a time: used to retry a task after a worker died, and for tokenizers whose time
 * per line is unbounded. Announces each line on the heartbeat and skips poison lines.
 */
import type { ErrorCode } from '../../errors.js'
import type { Documents } from '../../formats/documents.js'
import { scanLine } from '../../formats/json-scan.js'
import { LINE_STATUSES, type LineKernel, type ScannedLines } from '../../tokenizer/kernel/scan-lines.js'
import type { PackedLines, PackedTexts } from '../../tokenizer/pack-lines.js'
import type { Heartbeat } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import type { LoadedRange } from './load-range.js'

/** Status of a valid line that was skipped because it kills workers. */
export const POISONED = 0xff

const LF = 0x0a
const NO_TOKENS = new Uint8Array(0)

/** Processing of one range: validate, or validate and tokenize. */
export interface RangeKernel {
  readonly lines: LineKernel
  work(range: LoadedRange, retry: RetryMode, heartbeat: Heartbeat): WorkedRange
  /**
   * Valid until the kernel's next call; the tokens may be at the start of `memory`. Absent where lines are only validated.
   */
  readonly workTexts?: (
    texts: Documents,
    retry: RetryMode,
    heartbeat: Heartbeat,
    memory: SharedArrayBuffer,
  ) => PackedTexts
}

/** The processed lines, valid until the kernel's next call, and the range with its current buffer. */
export interface WorkedRange {
  readonly range: LoadedRange
  readonly lines: ScannedLines | PackedLines
}

/** Copies a range out of the kernel's memory, which is then used for single lines. */
export const copyRange = (range: LoadedRange): LoadedRange => ({ ...range, bytes: range.bytes.slice() })

/** Copies results so that they outlive the kernel's next call. */
export function copyLines({ lineStarts, lineEnds, statuses }: ScannedLines): ScannedLines {
  return { lineStarts: lineStarts.slice(), lineEnds: lineEnds.slice(), statuses: statuses.slice() }
}

/** @param work called with bytes [start, end), one line with its line feed; its result must outlive the next call */
export function processLineByLine<Lines extends ScannedLines>(
  range: LoadedRange,
  { poison }: RetryMode,
  heartbeat: Heartbeat,
  work: (bytes: Uint8Array, start: number, end: number) => Lines,
): Lines[] {
  const { bytes, first, stop } = range
  const skipped = new Set(poison.map(({ record }) => record))
  const parts: Lines[] = []
  for (let start = first; start < stop; ) {
    const line = parts.length
    const feed = bytes.indexOf(LF, start)
    const end = feed < 0 || feed >= stop ? stop : feed + 1
    if (skipped.has(line)) {
      parts.push(skippedLine(bytes, start, feed < 0 || feed >= stop ? stop : feed) as PackedLines & Lines)
    } else {
      heartbeat.begin(line, end - start)
      parts.push(work(bytes, start, end))
    }
    start = end
  }
  return parts
}

function skippedLine(bytes: Uint8Array, start: number, end: number): PackedLines {
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

/** @param work encodes one text; its result must outlive the next call */
export function processTextByText(
  { bytes, offsets }: Documents,
  { poison }: RetryMode,
  heartbeat: Heartbeat,
  work: (bytes: Uint8Array, offsets: Uint32Array) => PackedTexts,
): PackedTexts[] {
  const skipped = new Set(poison.map(({ record }) => record))
  return Array.from(offsets.subarray(1), (end, record) => {
    const start = offsets[record]!
    if (skipped.has(record)) {
      return { tokens: NO_TOKENS, lengths: Uint32Array.of(0), statuses: Uint8Array.of(POISONED) }
    }
    heartbeat.begin(record, end - start)
    return work(bytes.subarray(start, end), Uint32Array.of(0, end - start))
  })
}

export function joinScanned(parts: readonly ScannedLines[]): ScannedLines {
  return {
    lineStarts: Uint32Array.from(parts.flatMap(part => [...part.lineStarts])),
    lineEnds: Uint32Array.from(parts.flatMap(part => [...part.lineEnds])),
    statuses: Uint8Array.from(parts.flatMap(part => [...part.statuses])),
  }
}

export function joinPacked(parts: readonly PackedLines[], width: 1 | 2 | 4): PackedLines {
  return { ...joinScanned(parts), ...joinTexts(parts, width) }
}

export function joinTexts(parts: readonly PackedTexts[], width: 1 | 2 | 4): PackedTexts {
  const count = parts.reduce((sum, { tokens }) => sum + tokens.length, 0)
  const tokens = width === 1 ? new Uint8Array(count) : width === 2 ? new Uint16Array(count) : new Uint32Array(count)
  let at = 0
  for (const part of parts) {
    tokens.set(part.tokens, at)
    at += part.tokens.length
  }
  return { tokens, ...joinLengths(parts) }
}

export function joinLengths(parts: readonly Omit<PackedTexts, 'tokens'>[]): Omit<PackedTexts, 'tokens'> {
  return {
    lengths: Uint32Array.from(parts.flatMap(part => [...part.lengths])),
    statuses: Uint8Array.from(parts.flatMap(part => [...part.statuses])),
  }
}
