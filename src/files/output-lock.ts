/**
 * `<path>.lock` beside an output: it names the process that writes it, so that two runs never write one file at once and
 * the lock of a run that died holds nobody up.
 */
import { open, readFile, rename } from 'node:fs/promises'
import { PenstockError, toPenstockError } from '../errors.js'
import { removeFile } from './durable.js'

/** A process that has just made its lock needs a moment to put its name into it. */
const NAMELESS_MS = 100

/**
 * Takes the lock of an output, also from a run that died.
 * @throws FILE_LOCKED when a living process holds it, FILE_UNWRITABLE
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

/** Frees an output, also of a lock that a run was killed or failed at removing. @throws FILE_UNWRITABLE */
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

/** Empty where nobody holds it, or one without a name. */
async function holderOf(file: string): Promise<string> {
  const holder = await readMark(file)
  if (holder !== '') return holder ?? ''
  await new Promise(resolve => setTimeout(resolve, NAMELESS_MS))
  return (await readMark(file)) ?? ''
}

/** @returns undefined when there is no such lock. @throws FILE_UNREADABLE: whose it is must be known */
async function readMark(file: string): Promise<string | undefined> {
  return readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  })
}

/** Another run may do the same at this moment: what is moved aside is looked at again before it goes. */
async function removeStale(file: string, holder: string): Promise<void> {
  const aside = staleNameOf(file)
  if (!(await isMoved(file, aside))) return
  if ((await readMark(aside)) === holder) await removeFile(aside)
  else await isMoved(aside, file)
}

/** @returns whether the file was there. @throws FILE_UNWRITABLE */
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
 * A process by its number and, where /proc tells it, the time of its start: a number is used again after a while. A
 * process that has ended but was not yet asked for by its parent has no mark.
 */
async function processMark(pid: number): Promise<string> {
  const status = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (status === undefined) return `${pid}`
  // The name in parentheses may hold spaces; the state follows it, the start time is the twentieth field from there.
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
