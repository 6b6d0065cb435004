/**
 * The user's cache folder. Optional components are installed into subfolders, each by one process at a time.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'

export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'penstock')
}

/**
 * Locks a folder before it is created; replaces the lock of a process that no longer exists.
 * @returns a function that releases the lock
 * @throws FILE_LOCKED while another process holds it
 */
export function lockFolder(folder: string): () => void {
  const lock = `${folder}.lock`
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw error
    }
    const owner = Number(readFileSync(lock, 'utf8'))
    if (isRunning(owner)) {
      throw new PenstockError(
        'FILE_LOCKED',
        `process ${owner} is installing into this folder; wait until it has finished`,
        { file: lock },
      )
    }
    rmSync(lock, { force: true })
    return lockFolder(folder)
  }
  return () => rmSync(lock, { force: true })
}

function isRunning(pid: number): boolean {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
