/** How large the ranges of a run are, and how many are in flight. */
import { PAGE_BYTES } from '../../files/source-file.js'

/** Maximum size of a range when few workers tokenize: it stays in the caches. `maxLineBytes` must not be smaller. */
export const RANGE_BYTES = 2 << 20
/** With many workers the messages of the main thread become the limit, so ranges grow with the workers, up to a size. */
const RANGE_BYTES_PER_WORKER = 256 << 10
const MAX_RANGE_BYTES = 8 << 20
/** Validation alone is twenty times as fast as tokenizing, so larger ranges amortize the overhead of a task. */
const VALIDATION_RANGE_BYTES = 8 << 20
const MIN_RANGE_BYTES = 256 << 10
const RANGES_PER_WORKER = 4
/** Bytes in flight over all workers: the maximum when lines are only validated, and what the journal's limit allows for. */
const MAX_IN_FLIGHT_BYTES = 32 << 20
/** Finished ranges that may wait for an earlier one while lines are tokenized, per worker. */
const WAITING_PER_WORKER = 1 / 4
/**
 * Read-ahead when lines are only validated; larger before the stage takes over, when nothing has been journalled yet.
 */
const READ_AHEAD_BYTES = 24 << 20
const EARLY_READ_AHEAD_BYTES = 56 << 20
/** Result memory per byte of a range: enough for the tokens and offsets of all but very short lines. */
const SLOT_BYTES_PER_BYTE = 2
/** Size of the largest frames and pages, in ranges. Memory that no result needs is never used. */
const MAX_RATIO = 4
/** The same without tokens: enough for the offsets of lines of at least 32 bytes. */
const VALIDATION_SLOT_BYTES_PER_BYTE = 1 / 4

export interface RangeSizes {
  readonly bytes: number
  readonly slotBytes: number
  readonly workers: number
  /** Ranges that may be under way or done and not taken: before the first is asked for, and then. */
  readonly earlyInFlight: number
  readonly inFlight: number
  /** Bytes in flight beyond those that the journal allows by itself, see `RunJournal.allowReadAhead`. */
  readonly extraBytes: number
}

export interface SizedWork {
  /** Bytes of all files. */
  readonly fileBytes: number
  /** Workers asked for. */
  readonly workers: number
  readonly maxLineBytes: number
  readonly isTokenized: boolean
  /** Whether a file can be divided at any line: if not, ranges may become larger. */
  readonly isDivisible: boolean
}

/** Smaller ranges for many workers that only validate, and where a file is too small to keep all of them busy. */
export function rangeSizes({
  fileBytes,
  workers: asked,
  maxLineBytes,
  isTokenized,
  isDivisible,
}: SizedWork): RangeSizes {
  const share = Math.ceil(fileBytes / (asked * RANGES_PER_WORKER) / PAGE_BYTES) * PAGE_BYTES
  const tokenized = Math.max(RANGE_BYTES, Math.min(MAX_RANGE_BYTES, asked * RANGE_BYTES_PER_WORKER))
  const limit = isTokenized ? tokenized : Math.min(VALIDATION_RANGE_BYTES, MAX_IN_FLIGHT_BYTES / (asked + 1))
  const maxBytes = Math.floor(Math.min(limit, maxLineBytes) / PAGE_BYTES) * PAGE_BYTES
  const bytes = Math.max(MIN_RANGE_BYTES, Math.min(maxBytes, share))
  const workers = Math.max(1, Math.min(asked, Math.ceil(fileBytes / bytes)))
  const perByte = isTokenized ? SLOT_BYTES_PER_BYTE : VALIDATION_SLOT_BYTES_PER_BYTE
  const slotBytes = bytes * perByte * (isDivisible ? 1 : MAX_RATIO)
  const minRanges = workers + 1
  const ranges = (readAhead: number): number => Math.max(minRanges, Math.floor(readAhead / bytes))
  const earlyInFlight = isTokenized ? minRanges : ranges(EARLY_READ_AHEAD_BYTES)
  const inFlight = isTokenized ? minRanges + Math.floor(workers * WAITING_PER_WORKER) : ranges(READ_AHEAD_BYTES)
  const extraBytes = Math.max(0, inFlight * bytes - MAX_IN_FLIGHT_BYTES)
  return { bytes, slotBytes, workers, earlyInFlight, inFlight, extraBytes }
}
