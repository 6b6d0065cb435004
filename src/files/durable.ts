/**
 * File operations that survive a power cut: a rename is durable only after an fsync of its folder. Failures of all
 * operations, including removals, name the file.
 */
import { constants } from 'node:fs'
import { cp, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { toPenstockError } from '../errors.js'

/** Creates a folder and its missing parents. @throws FILE_UNWRITABLE */
export async function makeFolder(path: string): Promise<void> {
  await changing(path, () => mkdir(path, { recursive: true }))
}

/** Removes a file if it exists. @throws FILE_UNWRITABLE */
export function removeFile(path: string): Promise<void> {
  return changing(path, () => rm(path, { force: true }))
}

/** Removes a folder and its contents if it exists. @throws FILE_UNWRITABLE */
export function removeFolder(path: string): Promise<void> {
  return changing(path, () => rm(path, { recursive: true, force: true }))
}

/** Copies a folder to an unused name, where it appears atomically; until then it is `.NAME.partial`. @throws FILE_UNWRITABLE */
export function copyFolder(from: string, to: string): Promise<void> {
  return changing(to, async () => {
    const partial = join(dirname(to), `.${basename(to)}.partial`)
    await mkdir(partial)
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

/** Runs an operation on a file or folder. @throws FILE_UNWRITABLE, naming it, for any failure */
export async function changing<T>(file: string, change: () => Promise<T>): Promise<T> {
  try {
    return await change()
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file })
  }
}

/** Synchronous variant of `changing`. @throws FILE_UNWRITABLE */
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

/** Does nothing on Windows, which cannot open a folder and makes renames durable without it. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform !== 'win32') {
    await syncFile(folder)
  }
}
