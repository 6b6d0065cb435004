/** Opens input files, and detects changes to them while they are read. */
import { fstatSync, type Stats, statSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { NON_BLOCKING_READ } from './byte-stream.js'
import type { OpenFile } from './read-at.js'
import { isRemote } from './remote/remote-name.js'
import { openRemote } from './remote/remote-sources.js'
import type { RemoteEntry } from './remote/remote-store.js'

/** Unit of aligned reads: unaligned ones are up to four times slower. */
export const PAGE_BYTES = 4096

/** Whether the file extension indicates compression, in which case the raw bytes are not lines. */
export const isPackedName = (path: string): boolean => /\.(gz|zst)$/i.test(path)

/** An open source file: a local file, or one of an object store, the Hub or a web server. */
export type SourceHandle = OpenFile['handle'] & { close(): Promise<void> }

export interface OpenedSource {
  readonly path: string
  readonly size: number
  readonly handle: SourceHandle
  /**
   * Checks that the file is still the one that was opened, at most every 500 ms unless `now` is set. Each request for bytes
   * of a remote file checks that already.
   * @param bytesRead of a file that was read to its end
   * @throws FILE_CHANGED
   */
  check(now?: boolean, bytesRead?: number): Promise<void>
}

/**
 * Opens a local or remote file for reading. The caller closes it with `closeSource`.
 * @param signal ends requests for a remote file
 * @param entry of a remote file that another thread has looked up
 * @throws FILE_MISSING, FILE_UNREADABLE
 */
export async function openAnySource(path: string, signal?: AbortSignal, entry?: RemoteEntry): Promise<OpenedSource> {
  if (isRemote(path)) {
    const handle = await openRemote(path, signal, entry)
    return { path, size: handle.entry.size, handle, check: async () => {} }
  }
  const { handle, stats } = await openSource(path)
  return { path, size: stats.size, handle, check: regularCheck(path, handle, stats) }
}

/** @throws UNSUPPORTED for the name of a remote file */
export function requireLocal(path: string): void {
  if (!isRemote(path)) return
  const tool = path.startsWith('s3:') ? 'aws s3 cp' : path.startsWith('hf:') ? 'hf download' : 'curl -O'
  const message = `remote files are read as text sources only: copy this file to a local folder first, for example with ${tool}`
  throw new PenstockError('UNSUPPORTED', message, { file: path })
}

/** Opens a local file for reading. @throws FILE_MISSING, FILE_UNREADABLE; UNSUPPORTED for the name of a remote file */
export async function openSource(path: string): Promise<{ handle: FileHandle; stats: Stats }> {
  requireLocal(path)
  try {
    const handle = await open(path, NON_BLOCKING_READ)
    const stats = fstatSync(handle.fd)
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
export async function closeSource(path: string, handle: SourceHandle): Promise<void> {
  try {
    await handle.close()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  }
}

const CHECK_MS = 500

/** Rate-limited `checkUnchanged` for a loop: at most one check per 500 ms, unless `now` is set. */
export function regularCheck(
  path: string,
  handle: FileHandle,
  before: Stats,
): (now?: boolean, bytesRead?: number) => Promise<void> {
  let checked = performance.now()
  return async (now = false, bytesRead) => {
    if (!now && performance.now() - checked < CHECK_MS) return
    checked = performance.now()
    await checkUnchanged(path, handle, before, bytesRead)
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
  const after = fstatSync(handle.fd)
  const named = statusOf(path)
  const changes = [
    bytesRead !== undefined && bytesRead !== before.size ? `${bytesRead} bytes read, ${before.size} expected` : '',
    ...modifications(before, after),
    named?.ino === before.ino && named.dev === before.dev ? '' : REPLACED,
  ]
  throwIfChanged(path, changes)
}

/** Synchronous: many small files have more of these calls than reads, and a promise takes ten times as long as a call. */
function statusOf(path: string): Stats | undefined {
  try {
    return statSync(path)
  } catch {
    return undefined
  }
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
