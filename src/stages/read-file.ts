/**
 * Source: the bytes of a file, read at page-aligned offsets (unaligned reads are up to four times slower). `.gz` and
 * `.zst` files are decompressed. A file that changes while it is read is an error.
 */
import { createReadStream } from 'node:fs'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import * as z from 'zod'
import { toPenstockError } from '../errors.js'
import { checkUnchanged, openSource, PAGE_BYTES, regularCheck } from '../files/source-file.js'
import { zstdDecompressed } from '../files/zstd.js'
import type { LineCursor } from '../formats/batches.js'
import { type SourceStage, type StageContext, source } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const readFileOptions = z.strictObject({
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
})
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
  const { path, compression, chunk_bytes } = parseOptions(readFileOptions, options, 'read-file')
  return source('read-file', context => {
    const { byteOffset: from = 0 } = context.journal?.cursor<LineCursor>() ?? {}
    context.stats.bytesOut = from
    const bytes = (start: number) => (path === '-' ? standardInput() : fileBytes(path, chunk_bytes, start, context))
    const packed = () => bytes(0)
    const packing = compression === 'auto' ? packingOf(path) : compression
    // Compressed files cannot be read from the middle: a resumed run decompresses from the start and discards the
    // beginning.
    if (packing === 'gzip') {
      const unzipped = pipeline(packed, createGunzip({ chunkSize: 1 << 18 }), () => {})
      return withoutHead(unpacked(path, unzipped), from)
    }
    if (packing === 'zstd') return withoutHead(unpacked(path, zstdDecompressed(path, packed)), from)
    const start = from - (from % PAGE_BYTES)
    return withoutHead(bytes(start), from - start)
  })
}

async function* withoutHead(bytes: AsyncIterable<Uint8Array>, head: number): AsyncGenerator<Uint8Array> {
  let left = head
  for await (const chunk of bytes) {
    if (left < chunk.byteLength) yield left === 0 ? chunk : chunk.subarray(left)
    left = Math.max(0, left - chunk.byteLength)
  }
}

async function* fileBytes(
  path: string,
  chunkBytes: number,
  start: number,
  context: StageContext,
): AsyncGenerator<Uint8Array> {
  const { handle, stats } = await openSource(path)
  if (stats.isFile()) context.stats.counts.totalBytes = stats.size
  try {
    const check = regularCheck(path, handle, stats)
    let position = start
    for (;;) {
      const chunk = Buffer.allocUnsafeSlow(chunkBytes)
      // A pipe is not seekable: read from the current position.
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, stats.isFile() ? position : null)
      if (bytesRead === 0) break
      position += bytesRead
      context.stats.counts.readBytes = position
      await check()
      yield chunk.subarray(0, bytesRead)
    }
    await checkUnchanged(path, handle, stats, position)
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    await handle.close()
  }
}

async function* standardInput(): AsyncGenerator<Uint8Array> {
  yield* createReadStream('', { fd: 0, autoClose: false })
}

const packingOf = (path: string): string => (path.endsWith('.gz') ? 'gzip' : path.endsWith('.zst') ? 'zstd' : 'none')

/** Adds the file's name to decompression errors. */
async function* unpacked(path: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}
