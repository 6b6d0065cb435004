/** Opening a file that is read from end to end, and telling when it changes meanwhile. */
import type { Stats } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'

/** Reading at odd offsets costs up to a factor of four. */
export const PAGE_BYTES = 4096

/** Whether a file's ending tells of compression: its bytes are then no lines. */
export const isPackedName = (path: string): boolean => /\.(gz|zst)$/.test(path)

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

const CHECK_MS = 500

/** `checkUnchanged` for a loop: does nothing when the last check is not long ago, unless it has to be `now`. */
export function regularCheck(path: string, handle: FileHandle, before: Stats): (now?: boolean) => Promise<void> {
  let checked = performance.now()
  return async (now = false) => {
    if (!now && performance.now() - checked < CHECK_MS) return
    checked = performance.now()
    await checkUnchanged(path, handle, before)
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
