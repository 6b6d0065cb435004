/**
 * Makes files and their names survive a power cut: a rename is safe only when the folder was flushed after it. And the
 * smaller changes of a folder, whose failure names the file like that of any other.
 */
import { copyFile, mkdir, open, rm } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'

/** Makes a folder and those above it, if they are not there. @throws FILE_UNWRITABLE */
export function makeFolder(path: string): Promise<void> {
  return changing(path, () => mkdir(path, { recursive: true }))
}

/** Removes a file, if it is there. @throws FILE_UNWRITABLE */
export function removeFile(path: string): Promise<void> {
  return changing(path, () => rm(path, { force: true }))
}

/** Copies a file over what may be there. @throws FILE_UNWRITABLE */
export function copyOver(from: string, to: string): Promise<void> {
  return changing(to, () => copyFile(from, to))
}

async function changing(file: string, change: () => Promise<unknown>): Promise<void> {
  try {
    await change()
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
