/** Reads the lines that start in a range of a file into a kernel's memory. */
import { PenstockError } from '../../errors.js'
import { readFullySync } from '../../files/read-at.js'
import { PAGE_BYTES } from '../../files/source-file.js'
import type { LineKernel } from '../../tokenizer/kernel/scan-lines.js'
import type { FileRange } from './range-task.js'

export interface LoadedRange {
  readonly bytes: Uint8Array
  /** Offset of bytes[0], see `RangeReply.byteOffset`. */
  readonly origin: number
  /** The range's lines are bytes[first, stop). */
  readonly first: number
  readonly stop: number
  /** Whether the next line also starts in the range but exceeds the limit; its first bytes are at bytes[stop]. */
  readonly overlong: boolean
  /** As in the reply. */
  readonly textBytes: number
}

const LF = 0x0a
/** Bytes to read beyond the end of a range in the first read, for its last line. */
export const LOOK_AHEAD_BYTES = 64 << 10
const SEARCH_BYTES = 1 << 20

/**
 * Reads the lines that start in a range, including the part of the last line beyond the range. Reads are page-aligned:
 * unaligned reads are up to four times slower. The end of a long last line is located before the line is loaded, so
 * that a line over the limit takes no memory.
 */
export function loadRange(kernel: LineKernel, range: FileRange): LoadedRange {
  const { start, end, fileBytes, maxLineBytes } = range
  // The byte before the range decides whether a line starts with it.
  const origin = Math.max(0, Math.floor((start - 1) / PAGE_BYTES) * PAGE_BYTES)
  let bytes = load(kernel, range, origin, Math.min(fileBytes, end + LOOK_AHEAD_BYTES))
  const first = start === 0 ? 0 : bytes.indexOf(LF, start - 1 - origin) + 1
  const limit = end - origin
  // No line starts in this range.
  if ((start > 0 && first === 0) || first >= limit) {
    return { bytes, origin, first: limit, stop: limit, overlong: false, textBytes: 0 }
  }
  const lastStart = Math.max(first, bytes.lastIndexOf(LF, limit - 2) + 1)
  const feed = bytes.indexOf(LF, limit - 1)
  let stop = feed < 0 ? bytes.length : feed + 1
  if (feed < 0 && origin + stop < fileBytes) {
    stop = findLineFeed(range, origin + stop, origin + lastStart + maxLineBytes + 1) + 1 - origin
    if (stop - lastStart <= maxLineBytes + 1) bytes = load(kernel, range, origin, origin + stop)
  }
  const lineBytes = stop - lastStart - (bytes[stop - 1] === LF ? 1 : 0)
  return lineBytes <= maxLineBytes
    ? { bytes, origin, first, stop, overlong: false, textBytes: 0 }
    : { bytes, origin, first, stop: lastStart, overlong: true, textBytes: 0 }
}

function load(kernel: LineKernel, range: FileRange, from: number, to: number): Uint8Array {
  const bytes = kernel.input(to - from)
  readFully(range, bytes, from)
  return bytes
}

/** File offset of the first line feed in [from, to]; without one, `to` or the last byte of the file. */
function findLineFeed(range: FileRange, from: number, to: number): number {
  const end = Math.min(range.fileBytes, to + 1)
  const part = new Uint8Array(Math.min(SEARCH_BYTES, end - from))
  for (let at = from; at < end; at += part.length) {
    const bytes = part.subarray(0, Math.min(part.length, end - at))
    readFully(range, bytes, at)
    const found = bytes.indexOf(LF)
    if (found >= 0) return at + found
  }
  return to < range.fileBytes ? to : range.fileBytes - 1
}

/** @throws FILE_UNREADABLE, FILE_CHANGED */
export function readFully(
  { descriptor, file }: { readonly descriptor: number; readonly file: string },
  bytes: Uint8Array,
  position: number,
): void {
  const read = readFullySync({ path: file, fd: descriptor }, bytes, position)
  if (read === bytes.length) return
  throw new PenstockError('FILE_CHANGED', 'the file became shorter while it was read', {
    file,
    byteOffset: position + read,
  })
}
