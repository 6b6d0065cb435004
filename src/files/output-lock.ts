/**
 * The lock file of an output, `<path>.lock`. It names the process that writes the output, so that two runs never write the
 * same file and the lock of a dead process can be removed.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { removeFile } from './durable.js'

/** Time that a process gets to write its identity into a lock file it has just created. */
const EMPTY_LOCK_GRACE_MS = 100

/**
 * Locks an output; the lock of a dead process is replaced.
 * @throws FILE_LOCKED when a running process holds it, FILE_UNWRITABLE
 */
export async function lockOutput(path: string): Promise<void> {
  const file = `${path}.lock`
  while (!(await make(file, path))) {
    const holder = await holderOf(file)
    const pid = Number.parseInt(holder, 10)
    if (isAlive(pid) && holder === (await processMark(pid))) {
      throw new PenstockError('FILE_LOCKED', `process ${pid} is writing this output (${file})`, { file: path })
    }
    await removeStale(file, holder)
  }
}

/** Unlocks an output, and removes a stale lock that a killed run had renamed. @throws FILE_UNWRITABLE */
export async function unlockOutput(path: string): Promise<void> {
  const file = `${path}.lock`
  await removeFile(staleNameOf(file))
  await removeFile(file)
}

const staleNameOf = (file: string): string => `${file}.stale`

async function make(file: string, path: string): Promise<boolean> {
  try {
    const mark = await processMark(process.pid)
    const handle = await open(file, 'wx')
    await handle.writeFile(mark)
    await handle.close()
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  }
}

/** Identity of the process that holds a lock; empty if there is no lock or no identity in it. */
async function holderOf(file: string): Promise<string> {
  const holder = await readMark(file)
  if (holder !== '') return holder ?? ''
  await new Promise(resolve => setTimeout(resolve, EMPTY_LOCK_GRACE_MS))
  return (await readMark(file)) ?? ''
}

/** @returns undefined when there is no such lock. @throws FILE_UNREADABLE, since the holder must be known */
async function readMark(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  })
}

/** Another run may do the same concurrently: the lock is renamed and read again before it is removed. */
async function removeStale(file: string, holder: string): Promise<void> {
  const stale = staleNameOf(file)
  if (!(await isMoved(file, stale))) return
  if ((await readMark(stale)) === holder) await removeFile(stale)
  else await isMoved(stale, file)
}

/** @returns whether the file existed. @throws FILE_UNWRITABLE */
async function isMoved(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: from })
  }
}

/**
 * Identity of a process: its pid and, where /proc exists, its start time, since pids are reused. Empty for a zombie.
 */
async function processMark(pid: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (status === undefined) return `${pid}`
  // The name in parentheses may contain spaces; after it come the state and, as the twentieth field, the start time.
  const fields = status.slice(status.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' ? '' : `${pid} ${fields[19]}`
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
