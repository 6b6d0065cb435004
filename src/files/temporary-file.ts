/**
 * Temporary files of an output. They are created exclusively and never through a link; what has their name already is
 * removed only if the lock file proves that a run of the same output created it.
 */
import { constants } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { removeFile } from './durable.js'
import type { OutputLock } from './output-lock.js'

const { O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants
const DEFAULT_MODE = 0o666

export interface TemporaryFile {
  readonly handle: FileHandle
  readonly inode: number
}

/** @throws FILE_EXISTS for a file of somebody else under this name, FILE_UNWRITABLE, FILE_LOCKED */
export async function createTemporary(lock: OutputLock, path: string, mode = DEFAULT_MODE): Promise<TemporaryFile> {
  await removeTemporary(lock, path, 'refuse')
  const handle = await open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode).catch(
    (error: NodeJS.ErrnoException) => {
      throw error.code === 'EEXIST' ? foreign(path) : toPenstockError(error, 'FILE_UNWRITABLE', { file: lock.output })
    },
  )
  try {
    const { ino: inode } = await handle.stat()
    await lock.record(path, inode)
    return { handle, inode }
  } catch (error) {
    await handle.close().catch(() => {})
    await removeFile(path).catch(() => {})
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: lock.output })
  }
}

/** Opens the temporary file of an interrupted run, if it is still the one with this inode. @throws FILE_CHANGED, FILE_UNWRITABLE */
export async function openTemporary(lock: OutputLock, path: string, inode: number): Promise<TemporaryFile> {
  try {
    await lock.ensureHeld()
    const handle = await open(path, O_RDWR | O_NOFOLLOW | O_NONBLOCK)
    const stats = await handle.stat()
    if (stats.isFile() && stats.ino === inode && stats.nlink === 1) {
      await lock.record(path, inode)
      return { handle, inode }
    }
    await handle.close()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: lock.output })
  }
  throw new PenstockError('FILE_CHANGED', 'this temporary file was replaced', { file: path })
}

/**
 * Removes a temporary file if it exists.
 * @param ifForeign what to do with a file that no run of this output created
 * @returns whether it was removed
 * @throws FILE_EXISTS, FILE_UNWRITABLE, FILE_LOCKED
 */
export async function removeTemporary(lock: OutputLock, path: string, ifForeign: 'keep' | 'refuse'): Promise<boolean> {
  await lock.ensureHeld()
  const stats = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  })
  if (stats === undefined) return false
  if (lock.owns(path, stats)) {
    await removeFile(path)
    return true
  }
  if (ifForeign === 'refuse') throw foreign(path)
  return false
}

function foreign(path: string): PenstockError {
  const message =
    'this file has the name of a temporary file and was not created by a run of this output: move it, or choose another output'
  return new PenstockError('FILE_EXISTS', message, { file: path })
}
