/**
 * Ranges of compressed files. Frames of .zst and members of BGZF are found by their headers and processed in parallel, as is a
 * small file as a whole. Text that cannot be divided is decompressed as one stream, whose lines are then processed in
 * parallel.
 */

import { readFully } from '../../files/read-at.js'
import { releaseMemory } from '../../files/release-memory.js'
import { requireText } from '../../files/source-format.js'
import { ZstdFrameWalker } from '../../formats/archives/zstd-frames.js'
import { decompressGzip } from '../decompression/decompress-gzip.js'
import { decompressZstd } from '../decompression/decompress-zstd.js'
import { BGZF_HEADER_BYTES, bgzfMemberBytes, MAX_BGZF_TEXT_BYTES } from '../decompression/gzip-members.js'
import { type CutLines, LineCutter } from './line-cutter.js'
import type { PlannedFile, PlannedRange, SourcePosition, StreamPosition } from './planned-range.js'
import type { Codec } from './range-task.js'

/** Most text that one worker decompresses for a range; larger frames are streamed. */
const MAX_FRAME_TEXT_BYTES = 8 << 20
/** A larger .gz is streamed: how much text it has is known only at its end. */
const MAX_WHOLE_GZIP_BYTES = 4 << 20
const STREAM_READ_BYTES = 1 << 20
/** Read at once to find headers; the page cache then has the bytes for the worker. */
const MAX_WINDOW_BYTES = 256 << 10

export async function* planFrames(file: PlannedFile, codec: Codec, from: SourcePosition): AsyncGenerator<PlannedRange> {
  const { path, handle, stats, maxLineBytes } = file
  const maxTextBytes = Math.min(MAX_FRAME_TEXT_BYTES, maxLineBytes)
  if (from.stream !== undefined) return yield* planStream(file, codec, from.stream)
  const endOf = codec === 'zstd' ? endOfFrames : endOfMembers
  const headers = new HeaderReader(file)
  try {
    for (let start = from.byteOffset; start === 0 || start < stats.size; ) {
      const end = await endOf(file, start, maxTextBytes, headers)
      if (end === undefined) return yield* planStream(file, codec, streamFrom(start))
      const place = { codec, descriptor: handle.fd, file: path, fileBytes: stats.size, start, end }
      yield { part: { kind: 'frames', ...place, maxLineBytes, maxTextBytes }, next: { byteOffset: end } }
      // An empty file: the worker reports it.
      if (end === start) return
      start = end
    }
  } finally {
    headers.release()
  }
}

/** The line that a stream of frames begins in belongs to the frames before. */
export const streamFrom = (start: number): StreamPosition => ({ from: start, skip: 0, isInLine: start > 0 })

/**
 * End of the frames from `start` on that have enough text for a range. Damage is left to the worker.
 * @returns undefined when the first frame may be larger than allowed
 */
async function endOfFrames(
  file: PlannedFile,
  start: number,
  maxTextBytes: number,
  headers: HeaderReader,
): Promise<number | undefined> {
  const { size } = file.stats
  const walker = new ZstdFrameWalker(start)
  let end = start
  for (let textBytes = 0; textBytes < file.rangeBytes && walker.position < size; ) {
    if (!walker.step(await headers.at(walker.position, ZstdFrameWalker.READ_BYTES))) return size
    if (textBytes + walker.maxContentBytes > maxTextBytes) return end > start ? end : undefined
    if (walker.frameEnd === end) continue
    end = walker.frameEnd
    textBytes += walker.maxContentBytes
    walker.maxContentBytes = 0
  }
  return walker.position >= size ? size : end
}

/** As `endOfFrames`, for the members of BGZF, and for a small .gz as a whole. */
async function endOfMembers(
  file: PlannedFile,
  start: number,
  maxTextBytes: number,
  headers: HeaderReader,
): Promise<number | undefined> {
  const { size } = file.stats
  let end = start
  for (let textBytes = 0; textBytes < file.rangeBytes && end < size; textBytes += MAX_BGZF_TEXT_BYTES) {
    const memberBytes = bgzfMemberBytes(await headers.at(end, BGZF_HEADER_BYTES))
    if (memberBytes === undefined) {
      const isSmall = size - start <= Math.min(MAX_WHOLE_GZIP_BYTES, maxTextBytes)
      return isSmall && (await claimedTextBytes(file)) <= maxTextBytes ? size : undefined
    }
    end += memberBytes
  }
  return Math.min(end, size)
}

/** Size of the text of the last member, if the file is not damaged. */
async function claimedTextBytes(file: PlannedFile): Promise<number> {
  const bytes = await bytesAt(file, Math.max(0, file.stats.size - 4), 4)
  return bytes.reduce((sum, byte, index) => sum + byte * 256 ** index, 0)
}

/**
 * Reads headers of a file, many at once: a read of its own for each block was a third of the garbage of a run over many
 * small files, and a call of Node's thread pool per 128 KiB of text.
 */
class HeaderReader {
  private readonly file: PlannedFile
  private readonly window: Uint8Array
  private start = 0
  private length = 0

  constructor(file: PlannedFile) {
    this.file = file
    this.window = new Uint8Array(Math.min(MAX_WINDOW_BYTES, file.stats.size))
  }

  /** The bytes are valid until the next call; fewer than `byteLength` only at the end of the file. */
  async at(position: number, byteLength: number): Promise<Uint8Array> {
    if (position < this.start || position + byteLength > this.start + this.length) {
      this.start = position
      this.length = await readFully(this.file, this.window, position)
    }
    const first = position - this.start
    return this.window.subarray(first, Math.min(first + byteLength, this.length))
  }

  release(): void {
    releaseMemory([this.window])
  }
}

async function bytesAt({ path, handle }: PlannedFile, position: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length)
  return bytes.subarray(0, await readFully({ path, handle }, bytes, position))
}

/** The rest of a file, decompressed by another thread. */
async function* planStream(file: PlannedFile, codec: Codec, stream: StreamPosition): AsyncGenerator<PlannedRange> {
  const { path, maxLineBytes, rangeBytes } = file
  const { from } = stream
  let { skip } = stream
  let byteOffset = from
  async function* compressed(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const bytes = await bytesAt(file, byteOffset, STREAM_READ_BYTES)
      if (bytes.byteLength === 0) return
      byteOffset += bytes.byteLength
      yield bytes
    }
  }
  const rangeOf = (lines: CutLines): PlannedRange => {
    skip += lines.skippedBytes + lines.byteLength
    const next = { byteOffset, stream: { from, skip, isInLine: lines.overlongBytes > 0 } }
    return { part: { kind: 'text', file: path, maxLineBytes, ...lines }, next }
  }
  const decompress = codec === 'zstd' ? decompressZstd : decompressGzip
  const cutter = new LineCutter(rangeBytes, maxLineBytes, stream.isInLine, file.newMemory)
  let toSkip = skip
  let isStart = from === 0
  for await (const text of decompress(path, compressed(), from)) {
    if (isStart) requireText(path, text, true)
    isStart = false
    const skipped = Math.min(toSkip, text.byteLength)
    toSkip -= skipped
    for (const lines of cutter.push(text.subarray(skipped))) yield rangeOf(lines)
  }
  for (const lines of cutter.finish()) yield rangeOf(lines)
}
