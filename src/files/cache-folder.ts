/**
 * The user's cache folder. Optional components are installed into subfolders, each by one process at a time.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { PenstockError } from '../errors.js'
import { describeProcess, isRunning, ownIdentity, type ProcessIdentity, processSchema } from './process-identity.js'

export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'penstock')
}

/**
 * Locks a folder before it is created; replaces the lock of a dead process. Installing blocks the event loop for minutes, so
 * there is no heartbeat: the lock of a process in another container or on another machine has to be removed by hand.
 * @returns a function that releases the lock
 * @throws FILE_LOCKED while another process holds it
 */
export function lockFolder(folder: string): () => void {
  const lock = `${folder}.lock`
  try {
    writeFileSync(lock, JSON.stringify(ownIdentity()), { flag: 'wx' })
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
    const owner = ownerOf(lock)
    if (owner === undefined || isRunning(owner) !== 'no') {
      const name = owner === undefined ? 'another process' : describeProcess(owner)
      const message = `${name} is installing into this folder; wait until it has finished, or remove this file if it has ended`
      throw new PenstockError('FILE_LOCKED', message, { file: lock })
    }
    rmSync(lock, { force: true })
    return lockFolder(folder)
  }
  return () => rmSync(lock, { force: true })
}

function ownerOf(lock: string): ProcessIdentity | undefined {
  try {
    return processSchema.safeParse(JSON.parse(readFileSync(lock, 'utf8'))).data
  } catch {
    return undefined
  }
}
