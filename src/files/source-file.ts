/** Opens input files, and detects changes to them while they are read. */
import type { Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { NON_BLOCKING_READ } from './byte-stream.js'

/** Unit of aligned reads: unaligned ones are up to four times slower. */
export const PAGE_BYTES = 4096

/** Whether the file extension indicates compression, in which case the raw bytes are not lines. */
export const isPackedName = (path: string): boolean => /\.(gz|zst)$/i.test(path)

/** Opens a file for reading. @throws FILE_MISSING, FILE_UNREADABLE */
export async function openSource(path: string): Promise<{ handle: FileHandle; stats: Stats }> {
  try {
    const handle = await open(path, NON_BLOCKING_READ)
    const stats = await handle.stat()
    if (stats.isDirectory()) {
      await handle.close()
      throw new PenstockError('FILE_UNREADABLE', 'expected a file, found a folder', { file: path })
    }
    return { handle, stats }
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ENOENT') throw new PenstockError('FILE_MISSING', 'no such file', { file: path }, error)
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}

/** Closes a file that was read. @throws FILE_UNREADABLE */
export async function closeSource(path: string, handle: FileHandle): Promise<void> {
  try {
    await handle.close()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}

const CHECK_MS = 500

/** Rate-limited `checkUnchanged` for a loop: at most one check per 500 ms, unless `now` is set. */
export function regularCheck(path: string, handle: FileHandle, before: Stats): (now?: boolean) => Promise<void> {
  let checked = performance.now()
  return async (now = false) => {
    if (!now && performance.now() - checked < CHECK_MS) return
    checked = performance.now()
    await checkUnchanged(path, handle, before)
  }
}

/** @throws FILE_CHANGED when the file was modified or replaced since it was opened */
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
    ...modifications(before, after),
    named?.ino === before.ino && named.dev === before.dev ? '' : REPLACED,
  ]
  throwIfChanged(path, changes)
}

/**
 * Variant for a file that is not kept open.
 * @param after undefined if it no longer exists
 * @throws FILE_CHANGED
 */
export function checkSameFile(path: string, before: Stats, after: Stats | undefined): void {
  const isSame = after?.ino === before.ino && after.dev === before.dev
  throwIfChanged(path, isSame ? modifications(before, after) : [REPLACED])
}

const REPLACED = 'it was replaced by another file'

const modifications = (before: Stats, after: Stats): string[] => [
  after.size === before.size ? '' : `its size changed from ${before.size} to ${after.size} bytes`,
  after.mtimeMs === before.mtimeMs && !isEditedInPlace(before, after) ? '' : 'it was modified',
]

function throwIfChanged(path: string, found: readonly string[]): void {
  const changes = found.filter(change => change !== '')
  if (changes.length === 0) return
  throw new PenstockError('FILE_CHANGED', `the file changed while it was read: ${changes.join('; ')}`, { file: path })
}

/** Whether only the time of the last status change differs although no status did: an edit that restored size and mtime. */
function isEditedInPlace(before: Stats, after: Stats): boolean {
  const isSameStatus =
    after.mode === before.mode && after.uid === before.uid && after.gid === before.gid && after.nlink === before.nlink
  return after.ctimeMs !== before.ctimeMs && isSameStatus
}
