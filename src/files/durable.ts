/**
 * Makes files and their names survive a power cut: a rename is safe only when the folder was flushed after it. And the
 * smaller changes of a folder, whose failure names the file like that of any other.
 */
import { constants } from 'node:fs'
import { cp, mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { toPenstockError } from '../errors.js'

/** Makes a folder and those above it, if they are not there. @throws FILE_UNWRITABLE */
export async function makeFolder(path: string): Promise<void> {
  await changing(path, () => mkdir(path, { recursive: true }))
}

/** Removes a file, if it is there. @throws FILE_UNWRITABLE */
export function removeFile(path: string): Promise<void> {
  return changing(path, () => rm(path, { force: true }))
}

/** Removes a folder with all that is in it, if it is there. @throws FILE_UNWRITABLE */
export function removeFolder(path: string): Promise<void> {
  return changing(path, () => rm(path, { recursive: true, force: true }))
}

/**
 * Writes a file over what may be there: at every moment the old one or the new one is whole. A device or a pipe keeps its
 * name, and gets the content.
 * @throws FILE_UNWRITABLE
 */
export async function writeOver(path: string, content: string | Uint8Array): Promise<void> {
  const part = `${path}.part`
  const stats = await stat(path).catch(() => undefined)
  if (stats !== undefined && !stats.isFile()) return changing(path, () => writeFile(path, content))
  try {
    const handle = await open(part, 'w')
    try {
      await handle.writeFile(content)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(part, path)
    await syncFolder(dirname(path))
  } catch (error) {
    // Room for others, when it was room that lacked; the error is the first one.
    await rm(part, { force: true }).catch(() => {})
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  }
}

/** Copies a file over what may be there, in the way of `writeOver`. @throws FILE_UNREADABLE, FILE_UNWRITABLE */
export async function copyOver(from: string, to: string): Promise<void> {
  const content = await readFile(from).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: from })
  })
  await writeOver(to, content)
}

/** Copies a folder to a name that is free: it appears there whole. @throws FILE_UNWRITABLE */
export function copyFolder(from: string, to: string): Promise<void> {
  return changing(to, async () => {
    const partial = join(dirname(to), `.${basename(to)}.partial`)
    await rm(partial, { recursive: true, force: true })
    await cp(from, partial, { recursive: true, mode: constants.COPYFILE_FICLONE })
    for (const entry of await readdir(partial, { recursive: true, withFileTypes: true })) {
      const path = join(entry.parentPath ?? entry.path, entry.name)
      await (entry.isDirectory() ? syncFolder(path) : syncFile(path))
    }
    await syncFolder(partial)
    await rename(partial, to)
    await syncFolder(dirname(to))
  })
}

/** Does a change of a file or folder. @throws FILE_UNWRITABLE that names it */
export async function changing<T>(file: string, change: () => Promise<T>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file })
  }
}

/** The same where nothing can be waited for. @throws FILE_UNWRITABLE */
export function changingSync(file: string, change: () => void): void {
  try {
    change()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file })
  }
}

export async function syncFile(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

/** Windows cannot open a folder, and keeps its names by itself. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform !== 'win32') {
    await syncFile(folder)
  }
}
