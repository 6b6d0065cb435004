/** Positional reads. Errors name the file and the offset, which those of Node do not. */
import { constants, readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { type PenstockError, toPenstockError } from '../errors.js'

const MIN_CHUNK_BYTES = 64 << 10
/** Linux reads at most 2 GiB at once. */
const MAX_CHUNK_BYTES = 1 << 30

export interface OpenFile {
  readonly path: string
  /** A file handle of Node, or a remote file. */
  readonly handle: {
    read(
      into: Uint8Array,
      offset: number,
      length: number,
      position: number | null,
    ): Promise<{ readonly bytesRead: number }>
  }
}

const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
/** Nothing has the name, or a link or a socket has it. */
const NOT_A_FILE = new Set(['ENOENT', 'ENOTDIR', 'ELOOP', 'EMLINK', 'ENXIO'])

/**
 * Opens a file to read, but not through a link; never waits, as for a pipe. Undefined if there is none. It may still be a
 * folder or a device.
 * @throws FILE_UNREADABLE
 */
export async function openPlain(path: string): Promise<FileHandle | undefined> {
  return open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch((error: NodeJS.ErrnoException) => {
    if (NOT_A_FILE.has(error.code ?? '')) return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
}

/**
 * Reads up to `into.byteLength` bytes; 0 at the end of the file.
 * @param position in bytes; null continues after the previous read, as a pipe requires
 * @throws FILE_UNREADABLE
 */
export async function readAt({ path, handle }: OpenFile, into: Uint8Array, position: number | null): Promise<number> {
  try {
    return (await handle.read(into, 0, into.byteLength, position)).bytesRead
  } catch (error) {
    throw unreadable(error, path, position)
  }
}

/**
 * Synchronous variant: a read from the page cache takes a few microseconds, less than the promise and its thread.
 * @throws FILE_UNREADABLE
 */
export function readAtSync(
  { path, fd }: { readonly path: string; readonly fd: number },
  into: Uint8Array,
  position: number,
): number {
  try {
    return readSync(fd, into, 0, into.byteLength, position)
  } catch (error) {
    throw unreadable(error, path, position)
  }
}

/** Fills `into`, with as many reads as needed; returns fewer bytes only at the end of the file. @throws FILE_UNREADABLE */
export async function readFully(file: OpenFile, into: Uint8Array, position: number): Promise<number> {
  let done = 0
  while (done < into.byteLength) {
    const read = await readAt(file, into.subarray(done), position + done)
    if (read === 0) break
    done += read
  }
  return done
}

/** Synchronous variant of `readFully`. @throws FILE_UNREADABLE */
export function readFullySync(
  file: { readonly path: string; readonly fd: number },
  into: Uint8Array,
  position: number,
): number {
  let done = 0
  while (done < into.byteLength) {
    const read = readAtSync(file, into.subarray(done), position + done)
    if (read === 0) break
    done += read
  }
  return done
}

/**
 * Reads a whole file, of any kind. Unlike `readFile` of node:fs/promises, which returns what a short read has left of a
 * file as all of it, reads on until the end. Throws the errors of the system.
 */
export async function readAll(path: string): Promise<Buffer<ArrayBuffer>> {
  const handle = await open(path, 'r')
  try {
    const { size } = await handle.stat()
    const chunks: Buffer[] = []
    for (;;) {
      // One byte more than expected, so that the second read finds the end.
      const chunk = Buffer.allocUnsafeSlow(Math.min(MAX_CHUNK_BYTES, chunks.length === 0 ? size + 1 : MIN_CHUNK_BYTES))
      const { bytesRead } = await handle.read(chunk, 0, chunk.length, null)
      if (bytesRead === 0) return Buffer.concat(chunks)
      chunks.push(chunk.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
}

/** Reads a whole file. @throws FILE_MISSING, FILE_UNREADABLE */
export async function readWhole(path: string): Promise<Buffer> {
  return readAll(path).catch((error: NodeJS.ErrnoException) => {
    throw toPenstockError(error, error.code === 'ENOENT' ? 'FILE_MISSING' : 'FILE_UNREADABLE', { file: path })
  })
}

function unreadable(error: unknown, file: string, position: number | null): PenstockError {
  return toPenstockError(error, 'FILE_UNREADABLE', position === null ? { file } : { file, byteOffset: position })
}
