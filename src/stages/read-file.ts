/**
 * Source of a file's bytes, in chunks at page-aligned offsets (reading at odd offsets costs up to a factor of four).
 * `.gz` and `.zst` are decompressed on the way. A file that changes while it is read is an error, not a silent mixture.
 */
import { createReadStream, type Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip } from 'node:zlib'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import type { LineCursor } from '../formats/batches.js'
import { type SourceStage, type StageContext, source } from './stage.js'
import { zstdDecompressed } from './zstd.js'

/** Reading at odd offsets costs up to a factor of four. */
const PAGE_BYTES = 4096

export const readFileOptions = z.strictObject({
  path: z.string().min(1).describe('the file; - reads standard input'),
  compression: z
    .enum(['auto', 'none', 'gzip', 'zstd'])
    .default('auto')
    .describe('how the bytes are packed; auto goes by the ending .gz or .zst'),
  chunk_bytes: z
    .int()
    .min(4096)
    .max(64 << 20)
    .default(1 << 20)
    .describe('bytes read at once'),
})
export type ReadFileOptions = z.input<typeof readFileOptions>

/** @throws FILE_MISSING, FILE_UNREADABLE, FILE_CHANGED */
export function readFile(options: ReadFileOptions): SourceStage<Uint8Array> {
  const { path, compression, chunk_bytes } = readFileOptions.parse(options)
  return source('read-file', context => {
    const { byteOffset: from = 0 } = context.journal?.cursor<LineCursor>() ?? {}
    context.stats.bytesOut = from
    const bytes = (start: number) => (path === '-' ? standardInput() : fileBytes(path, chunk_bytes, start, context))
    const packed = () => bytes(0)
    const packing = compression === 'auto' ? packingOf(path) : compression
    // What is packed has no places to go on from: it is unpacked again up to there.
    if (packing === 'gzip') {
      const unzipped = pipeline(packed, createGunzip({ chunkSize: 1 << 18 }), () => {})
      return withoutHead(unpacked(path, unzipped), from)
    }
    if (packing === 'zstd') return withoutHead(unpacked(path, zstdDecompressed(path, packed)), from)
    const start = from - (from % PAGE_BYTES)
    return withoutHead(bytes(start), from - start)
  })
}

/** Opens a file for reading and says in our own words why that fails. */
export async function openSource(path: string): Promise<{ handle: FileHandle; stats: Stats }> {
  try {
    const handle = await open(path, 'r')
    const stats = await handle.stat()
    if (stats.isDirectory()) {
      await handle.close()
      throw new PenstockError('FILE_UNREADABLE', 'a folder, where a file is expected', { file: path })
    }
    return { handle, stats }
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new PenstockError('FILE_MISSING', 'no such file', { file: path }, error)
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
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
    let position = start
    for (;;) {
      const chunk = Buffer.allocUnsafeSlow(chunkBytes)
      // A pipe has no positions: it is read where it stands.
      const { bytesRead } = await handle.read(chunk, 0, chunkBytes, stats.isFile() ? position : null)
      if (bytesRead === 0) break
      position += bytesRead
      yield chunk.subarray(0, bytesRead)
    }
    await checkUnchanged(path, handle, stats, position)
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    await handle.close()
  }
}

/** @throws FILE_CHANGED when the file is not the one that was opened, or not as it was then. */
export async function checkUnchanged(
  path: string,
  handle: FileHandle,
  before: Stats,
  bytesRead?: number,
): Promise<void> {
  if (!before.isFile()) return
  const after = await handle.stat()
  const named = await stat(path).catch(() => undefined)
  const changes = [
    bytesRead !== undefined && bytesRead !== before.size ? `${bytesRead} bytes read, ${before.size} expected` : '',
    after.size === before.size ? '' : `its size went from ${before.size} to ${after.size} bytes`,
    after.mtimeMs === before.mtimeMs ? '' : 'it was written to',
    named?.ino === before.ino && named.dev === before.dev ? '' : 'another file took its name',
  ].filter(change => change !== '')
  if (changes.length > 0) {
    throw new PenstockError('FILE_CHANGED', `the file changed while it was read: ${changes.join('; ')}`, { file: path })
  }
}

async function* standardInput(): AsyncGenerator<Uint8Array> {
  yield* createReadStream('', { fd: 0, autoClose: false })
}

const packingOf = (path: string): string => (path.endsWith('.gz') ? 'gzip' : path.endsWith('.zst') ? 'zstd' : 'none')

/** A damaged archive is told with the file's name. */
async function* unpacked(path: string, bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}
