/** Lines of decompressed text: of frames that are decompressed here, or of text in shared memory. */

import { releaseMemory } from '../../files/release-memory.js'
import { requireText } from '../../files/source-format.js'
import type { LineKernel } from '../../tokenizer/kernel/scan-lines.js'
import { decompressGzip } from '../decompression/decompress-gzip.js'
import { gunzipMembers, MEMBER_TOO_LARGE } from '../decompression/gzip-members.js'
import { decodeZstd } from '../decompression/zstd-unit-decoder.js'
import { KeptBuffer } from './kept-buffer.js'
import { type LoadedRange, readFully } from './load-range.js'
import { type FrameRange, type TextRange, TOO_LARGE, type TooLarge } from './range-task.js'

const LF = 0x0a
const READ_BYTES = 1 << 20
/** Enough compressed bytes for the rest of most lines. */
const LOOK_AHEAD_READ_BYTES = 32 << 10

export function loadText(
  kernel: LineKernel,
  { memory, byteLength, skippedBytes, overlongBytes }: TextRange,
): LoadedRange {
  // A copy: line feeds are written behind lines, and decoders of text reject shared memory.
  const bytes = kernel.input(byteLength + overlongBytes)
  bytes.set(new Uint8Array(memory, 0, byteLength + overlongBytes))
  return {
    bytes,
    origin: skippedBytes,
    first: 0,
    stop: byteLength,
    overlong: overlongBytes > 0,
    textBytes: skippedBytes + byteLength,
  }
}

/** Decompressed text, reused for each range. */
const text = new KeptBuffer()

/**
 * The bytes are valid until the next call.
 * @throws FILE_UNREADABLE, FILE_CHANGED, UNSUPPORTED
 */
export async function loadFrames(range: FrameRange): Promise<LoadedRange | TooLarge> {
  if (!(await decompress(range))) return TOO_LARGE
  const { length: textBytes } = text
  if (range.start === 0) requireText(range.file, text.bytes, true)
  const first = range.start === 0 ? 0 : text.bytes.indexOf(LF) + 1
  // No line starts in these frames.
  if (range.start > 0 && first === 0) {
    return { bytes: text.bytes, origin: 0, first: 0, stop: 0, overlong: false, textBytes }
  }
  const lastStart = Math.max(first, text.bytes.lastIndexOf(LF) + 1)
  let stop = textBytes
  if (range.end < range.fileBytes) stop = await appendRestOfLine(range, lastStart)
  const lineBytes = stop - lastStart - (text.bytes[stop - 1] === LF ? 1 : 0)
  const overlong = lineBytes > range.maxLineBytes
  return { bytes: text.bytes, origin: 0, first, stop: overlong ? lastStart : stop, overlong, textBytes }
}

/** @returns whether the text has at most `maxTextBytes` */
async function decompress(range: FrameRange): Promise<boolean> {
  text.clear()
  try {
    for await (const chunk of textOf(range)) {
      if (text.length + chunk.byteLength > range.maxTextBytes) return false
      text.append(chunk)
      releaseMemory([chunk])
    }
  } catch (error) {
    if (error === MEMBER_TOO_LARGE) return false
    throw error
  }
  return true
}

const packed = new KeptBuffer()

/** Memory for compressed bytes; the bytes of the call before are no longer valid. */
function reusedMemory(byteLength: number): Uint8Array {
  packed.clear()
  return packed.reserve(byteLength)
}

function textOf(range: FrameRange): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  const { codec, file, start, end, maxTextBytes } = range
  if (codec === 'zstd') return decodeZstd(file, compressed(range, start, end, READ_BYTES, reusedMemory), start)
  const bytes = reusedMemory(end - start)
  readFully(range, bytes, start)
  return gunzipMembers(file, bytes, start, maxTextBytes)
}

/** Appends the text of the frames after the range up to the next line feed, or until the line is too long. */
async function appendRestOfLine(range: FrameRange, lineStart: number): Promise<number> {
  const { codec, file, end, fileBytes, maxLineBytes } = range
  const following = compressed(range, end, fileBytes, LOOK_AHEAD_READ_BYTES)
  const decode = codec === 'zstd' ? decodeZstd : decompressGzip
  for await (const chunk of decode(file, following, end)) {
    const feed = chunk.indexOf(LF)
    const start = text.length
    text.append(feed < 0 ? chunk : chunk.subarray(0, feed + 1))
    if (feed >= 0 || start + chunk.byteLength - lineStart > maxLineBytes) break
  }
  return text.length
}

function* compressed(
  range: FrameRange,
  start: number,
  end: number,
  size: number,
  memory = (byteLength: number): Uint8Array => new Uint8Array(byteLength),
): Generator<Uint8Array> {
  for (let at = start; at < end; at += size) {
    const bytes = memory(Math.min(size, end - at))
    readFully(range, bytes, at)
    yield bytes
  }
}
