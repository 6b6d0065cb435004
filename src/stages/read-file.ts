/**
 * Source: the bytes of a file, read at page-aligned offsets (unaligned reads are up to four times slower). `.gz` and
 * `.zst` files are decompressed. A file that changes while it is read is an error.
 */
import { statSync } from 'node:fs'
import * as z from 'zod'
import { toPenstockError } from '../errors.js'
import { openByteStream } from '../files/byte-stream.js'
import { isRemote } from '../files/remote/remote-name.js'
import { closeSource, openAnySource, PAGE_BYTES } from '../files/source-file.js'
import type { LineCursor } from '../formats/batches.js'
import { decompressGzip } from '../workers/decompression/decompress-gzip.js'
import { decompressZstd } from '../workers/decompression/decompress-zstd.js'
import { type SourceStage, type StageContext, source } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const readFileOptions = z
  .strictObject({
    path: z.string().min(1).describe('file to read; - for standard input'),
    compression: z
      .enum(['auto', 'none', 'gzip', 'zstd'])
      .default('auto')
      .describe('compression of the file; auto decides by the extension .gz or .zst'),
    chunk_bytes: z
      .int()
      .min(4096)
      .max(64 << 20)
      .default(1 << 20)
      .describe('bytes per read'),
    from: z
      .int()
      .nonnegative()
      .default(0)
      .describe('offset of the first byte to read, at the start of a line of an uncompressed file'),
    to: z.int().nonnegative().optional().describe('offset of the byte to stop before; by default, the end of the file'),
  })
  .refine(({ from, to }) => to === undefined || from <= to, { path: ['to'], message: 'to must not be below from' })
export type ReadFileOptions = z.input<typeof readFileOptions>

export const readFileStage = defineStage({
  name: 'read-file',
  summary: 'reads the bytes of a file, decompressed',
  emits: 'bytes',
  options: readFileOptions,
  resumable: true,
  create: readFile,
  reads: fileOf,
})

/** @throws FILE_MISSING, FILE_UNREADABLE, FILE_CHANGED */
export function readFile(options: ReadFileOptions): SourceStage<Uint8Array> {
  const { path, compression, chunk_bytes, from: first, to } = parseOptions(readFileOptions, options, 'read-file')
  return source('read-file', context => {
    const { byteOffset: from = first } = context.journal?.cursor<LineCursor>() ?? {}
    context.stats.bytesOut = from
    const bytes = (start: number): AsyncIterable<Uint8Array> =>
      isSeekable(path)
        ? fileBytes({ path, chunkBytes: chunk_bytes, start, end: to }, context)
        : streamBytes(path, context.signal)
    const format = compression === 'auto' ? compressionOf(path) : compression
    // Compressed files cannot be read from the middle: a resumed run decompresses from the start and discards the
    // beginning.
    if (format === 'gzip') return withoutHead(decompressGzip(path, bytes(0)), from)
    if (format === 'zstd') return withoutHead(decompressZstd(path, bytes(0)), from)
    const start = isSeekable(path) ? from - (from % PAGE_BYTES) : 0
    return withoutHead(bytes(start), from - start)
  })
}

/** Includes missing files and folders: opening them reports the error. */
function isSeekable(path: string): boolean {
  if (path === '-') return false
  if (isRemote(path)) return true
  const stats = statSync(path, { throwIfNoEntry: false })
  return stats === undefined || stats.isFile() || stats.isDirectory()
}

async function* withoutHead(bytes: AsyncIterable<Uint8Array>, head: number): AsyncGenerator<Uint8Array> {
  let left = head
  for await (const chunk of bytes) {
    if (left < chunk.byteLength) yield left === 0 ? chunk : chunk.subarray(left)
    left = Math.max(0, left - chunk.byteLength)
  }
}

interface ByteRange {
  readonly path: string
  readonly chunkBytes: number
  readonly start: number
  /** Undefined for the end of the file. */
  readonly end: number | undefined
}

async function* fileBytes(
  { path, chunkBytes, start, end = Number.POSITIVE_INFINITY }: ByteRange,
  context: StageContext,
): AsyncGenerator<Uint8Array> {
  const source = await openAnySource(path, context.signal)
  context.stats.counts.totalBytes = Math.min(source.size, end)
  try {
    let position = start
    for (;;) {
      const length = Math.min(chunkBytes, end - position)
      if (length <= 0) break
      const chunk = Buffer.allocUnsafeSlow(length)
      const { bytesRead } = await source.handle.read(chunk, 0, length, position)
      if (bytesRead === 0) break
      position += bytesRead
      context.stats.counts.readBytes = position
      await source.check()
      yield chunk.subarray(0, bytesRead)
    }
    await source.check(true, end === Number.POSITIVE_INFINITY ? position : undefined)
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    await closeSource(path, source.handle)
  }
}

/** Bytes of standard input, a pipe, a terminal or a device. */
function streamBytes(path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  return withFileName(path, openByteStream(path, signal))
}

const compressionOf = (path: string): string => (/\.gz$/i.test(path) ? 'gzip' : /\.zst$/i.test(path) ? 'zstd' : 'none')

/** Adds the file's name to errors of a stream. */
async function* withFileName(path: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}
