/**
 * A file that appears under its name whole or not at all: written as `<name>.part` in the same folder, flushed to disk,
 * renamed, and the folder flushed, in this order. A `.part` left by a killed run is overwritten by the next one; a lock
 * beside it keeps two runs from writing the same output at once.
 */
import { type FileHandle, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'

/** What to do when an output exists: refuse, leave it and write nothing, or replace it once the new one is whole. */
export const ifExistsOption = z
  .enum(['error', 'skip', 'override'])
  .default('error')
  .describe('what to do when the output exists: error, skip (keep it) or override (replaced when the new one is whole)')
export type IfExists = z.output<typeof ifExistsOption>

const BUFFER_BYTES = 1 << 20

/** Opens an output, or answers undefined when it exists and is to be kept. */
export async function openOutput(path: string, ifExists: IfExists): Promise<OutputFile | undefined> {
  if (ifExists !== 'override' && (await exists(path))) {
    if (ifExists === 'skip') return undefined
    throw new PenstockError('FILE_EXISTS', 'the output exists; choose if_exists: override or skip, or another name', {
      file: path,
    })
  }
  await lock(path)
  try {
    return new OutputFile(path, await open(`${path}.part`, 'w+'))
  } catch (error) {
    await rm(`${path}.lock`, { force: true })
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  }
}

/**
 * Opens an output for `write` and makes it durable when that is done; leaves nothing when it throws, and what is there
 * when that is to be kept.
 */
export async function writeWhole(
  path: string,
  ifExists: IfExists,
  write: (file: OutputFile) => Promise<void>,
): Promise<void> {
  const file = await openOutput(path, ifExists)
  if (file === undefined) return
  try {
    await write(file)
    await file.commit()
  } finally {
    await file.abandon()
  }
}

/** Owns the handle of one output until `commit` or `abandon`. */
export class OutputFile {
  readonly path: string
  /** Bytes appended so far. */
  size = 0
  private readonly handle: FileHandle
  private readonly pending = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  private pendingBytes = 0
  private open = true

  constructor(path: string, handle: FileHandle) {
    this.path = path
    this.handle = handle
  }

  /** Appends; the caller may change `bytes` after the promise resolved. */
  async write(bytes: Uint8Array): Promise<void> {
    if (this.pendingBytes + bytes.byteLength > BUFFER_BYTES) await this.flush()
    if (bytes.byteLength > BUFFER_BYTES) {
      await this.writeAt(bytes, this.size)
    } else {
      this.pending.set(bytes, this.pendingBytes)
      this.pendingBytes += bytes.byteLength
    }
    this.size += bytes.byteLength
  }

  /** Overwrites what was written before at `position`, such as a header whose values are known only at the end. */
  async patch(bytes: Uint8Array, position: number): Promise<void> {
    await this.flush()
    await this.writeAt(bytes, position)
  }

  /** Makes the file durable under its final name. */
  async commit(): Promise<void> {
    try {
      await this.flush()
      await this.handle.sync()
      await this.handle.close()
      this.open = false
      await rename(this.partPath, this.path)
      await syncFolder(dirname(this.path))
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
    }
    await rm(`${this.path}.lock`, { force: true })
  }

  /** Leaves nothing behind; harmless after `commit`. */
  async abandon(): Promise<void> {
    if (!this.open) return
    this.open = false
    await this.handle.close()
    await rm(this.partPath, { force: true })
    await rm(`${this.path}.lock`, { force: true })
  }

  /** Name under which the bytes stand until `commit`. */
  get partPath(): string {
    return `${this.path}.part`
  }

  /** Hands everything written so far to the file. */
  async flush(): Promise<void> {
    const bytes = this.pending.subarray(0, this.pendingBytes)
    const position = this.size - this.pendingBytes
    this.pendingBytes = 0
    await this.writeAt(bytes, position)
  }

  private async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.byteLength - done, position + done)
        done += bytesWritten
      }
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
    }
  }
}

/** Flushes a folder, so that a rename in it survives a power cut. Windows cannot, and needs it not. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

/** Takes `<path>.lock`, also from a run that died; a living holder is an error. */
async function lock(path: string): Promise<void> {
  const file = `${path}.lock`
  for (;;) {
    try {
      const handle = await open(file, 'wx')
      await handle.writeFile(await processMark(process.pid))
      await handle.close()
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
      }
    }
    const holder = await readFile(file, 'utf8').catch(() => '')
    const pid = Number.parseInt(holder, 10)
    if (isAlive(pid) && holder === (await processMark(pid))) {
      throw new PenstockError('FILE_LOCKED', `process ${pid} is writing this output (${file})`, { file: path })
    }
    await rm(file, { force: true })
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
