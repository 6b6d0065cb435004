/**
 * Streaming gzip decompression, in Node's thread pool. Damage is an error with a byte offset in the compressed file. Zeros
 * after the last member are padding; other bytes there are an error, of which Node reports only some.
 */
import { createGunzip } from 'node:zlib'
import { PenstockError } from '../../errors.js'

const OUTPUT_BYTES = 256 << 10
const TRAILING_BYTES = 'bytes after the last gzip member that are not a member'

/**
 * @param file name for errors
 * @param offset in the file of the first compressed byte
 * @throws FILE_UNREADABLE
 */
export async function* decompressGzip(
  file: string,
  compressed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  offset = 0,
): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: OUTPUT_BYTES })
  const feeding = feed(file, compressed, offset, gunzip)
  feeding.catch(error => gunzip.destroy(error))
  try {
    yield* gunzip
    await feeding
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const where = { file, byteOffset: offset + gunzip.bytesWritten }
    throw new PenstockError('FILE_UNREADABLE', reasonOf(error as Error, gunzip.bytesWritten), where, error)
  } finally {
    gunzip.destroy()
    await feeding.catch(() => {})
  }
}

function reasonOf({ message }: Error, bytesBefore: number): string {
  if (message === 'incorrect header check') return bytesBefore === 0 ? 'not a gzip file' : TRAILING_BYTES
  if (message === 'incorrect data check') return 'the checksum of a gzip member does not match its content'
  return message === 'unexpected end of file' ? 'a gzip member ends early' : `damaged gzip data: ${message}`
}

async function feed(
  file: string,
  compressed: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  offset: number,
  gunzip: ReturnType<typeof createGunzip>,
): Promise<void> {
  let inputBytes = 0
  for await (const bytes of compressed) {
    const start = inputBytes
    inputBytes += bytes.byteLength
    // The decoder takes no bytes after the padding begins.
    if (gunzip.bytesWritten === start) await written(gunzip, bytes)
    const end = gunzip.bytesWritten
    const stray = bytes.subarray(Math.max(0, end - start)).findIndex(byte => byte !== 0)
    if (stray >= 0) throw trailingBytes(file, offset + Math.max(start, end) + stray)
  }
  if (inputBytes === 0) throw new PenstockError('FILE_UNREADABLE', 'the file is empty', { file, byteOffset: offset })
  gunzip.end()
}

/** A stream that is destroyed while its output is full does not call back. */
function written(gunzip: ReturnType<typeof createGunzip>, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(new PenstockError('STOPPED', 'decompression was stopped'))
    gunzip.once('close', stop)
    gunzip.write(bytes, error => {
      gunzip.off('close', stop)
      if (error instanceof Error) reject(error)
      else resolve()
    })
  })
}

/** The error for bytes after the last member. */
export function trailingBytes(file: string, byteOffset: number): PenstockError {
  return new PenstockError('FILE_UNREADABLE', TRAILING_BYTES, { file, byteOffset })
}
