/**
 * The lock file of an output, `<output>.lock`. It is a log of JSON lines:
 *
 * | line | meaning |
 * | --- | --- |
 * | `{"lock":"penstock","owner":NONCE,"after":NONCE,...}` | a process locks the output after the named owner, "" for none |
 * | `{"file":NAME,"inode":N}` | the temporary file NAME was created by a run of this output, and by nobody else |
 * | `{"released":NONCE}` | the owner has ended and leaves temporary files to the next run |
 *
 * Of several claims after one owner the first line counts, so appending decides who gets the lock. The owner refreshes the
 * modification time every second. A process of the same pid namespace that is dead loses its lock at once; any other only
 * after its heartbeat has stopped for 20 seconds. An owner that was suspended for so long notices before it writes or
 * renames again: it checks the log whenever the last check is more than a second old.
 */
import { randomUUID } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { type FileHandle, lstat, open } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import * as z from 'zod'
import { PenstockError, toPenstockError } from '../errors.js'
import { removeFile } from './durable.js'
import { describeProcess, isRunning, ownIdentity, processSchema } from './process-identity.js'
import { lockPathOf } from './side-files.js'

const HEARTBEAT_MS = 1000
const STALE_MS = 20_000
const POLL_MS = 250
/** Time that a process gets to write its first line into a lock file that it has created. */
const EMPTY_LOCK_GRACE_MS = 100

const MAGIC = '{"lock":"penstock"'
const { O_RDWR, O_APPEND, O_CREAT, O_EXCL, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants

const ownerSchema = z.object({ owner: z.string(), after: z.string(), ...processSchema.shape })
type Owner = z.output<typeof ownerSchema>
const fileSchema = z.object({ file: z.string(), inode: z.number() })
const releasedSchema = z.object({ released: z.string() })

interface LockLog {
  /** Undefined when nobody holds the lock. */
  readonly owner: Owner | undefined
  /** Nonce of the last owner, "" if there was none. */
  readonly last: string
  readonly files: readonly z.output<typeof fileSchema>[]
  readonly bytes: number
}

/** Owns the handle of the lock file until `release`. */
export class OutputLock {
  /** The locked output. */
  readonly output: string
  private readonly file: string
  private readonly handle: FileHandle
  private readonly inode: number
  private readonly nonce: string
  private readonly timer: NodeJS.Timeout
  private readonly files = new Map<string, Set<number>>()
  private bytes: number
  private checkedAt = Date.now()
  private loss: PenstockError | undefined
  private isReleased = false
  private isBeating = false

  private constructor(output: string, file: string, handle: FileHandle, inode: number, nonce: string, log: LockLog) {
    this.output = output
    this.file = file
    this.handle = handle
    this.inode = inode
    this.nonce = nonce
    this.bytes = log.bytes
    for (const { file: name, inode: found } of log.files) this.adopt(name, found)
    this.timer = setInterval(() => void this.beat(), HEARTBEAT_MS)
    this.timer.unref()
  }

  /**
   * Locks an output; takes over the lock of a dead process, and that of an unreachable one whose heartbeat has stopped.
   * @param staleMs how long a heartbeat must have stopped
   * @throws FILE_LOCKED while another process holds it, FILE_EXISTS if the lock file is not one, FILE_UNWRITABLE
   */
  static async acquire(output: string, staleMs = STALE_MS): Promise<OutputLock> {
    const file = lockPathOf(output)
    for (;;) {
      const opened = await openLockFile(file, output)
      if (opened === undefined) continue
      const { handle, isNew } = opened
      const lock = await claim({ output, file, handle, isNew, staleMs }).catch(async error => {
        await handle.close().catch(() => {})
        throw toPenstockError(error, 'FILE_UNWRITABLE', { file: output })
      })
      if (lock !== undefined) return new OutputLock(output, file, handle, lock.inode, lock.nonce, lock.log)
      await handle.close()
    }
  }

  /** @throws FILE_LOCKED when another process took the lock over. Cheap: reads the file at most once a second. */
  async ensureHeld(): Promise<void> {
    if (this.loss === undefined && Math.abs(Date.now() - this.checkedAt) < HEARTBEAT_MS) return
    await this.check()
    if (this.loss !== undefined) throw this.loss
  }

  /** @throws FILE_LOCKED as `ensureHeld`, without the limit of once a second */
  async verify(): Promise<void> {
    await this.check()
    if (this.loss !== undefined) throw this.loss
  }

  /** Records a temporary file as created by this run, before anything is written to it. @throws FILE_UNWRITABLE */
  async record(path: string, inode: number): Promise<void> {
    const name = basename(path)
    await this.append(`${JSON.stringify({ file: name, inode })}\n`)
    this.adopt(name, inode)
  }

  /** Accepts a file as created by a run of this output, on the word of its journal. */
  adopt(name: string, inode: number): void {
    const known = this.files.get(name)
    if (known === undefined) this.files.set(name, new Set([inode]))
    else known.add(inode)
  }

  /** Whether a file in place of a temporary file was created by this run or by an earlier one that held the lock. */
  owns(path: string, stats: Stats): boolean {
    if (!stats.isFile()) return false
    if (this.files.get(basename(path))?.has(stats.ino)) return true
    // A run that was killed between creating a file and recording it has left it empty.
    return stats.size === 0 && stats.nlink === 1
  }

  /** Unlocks the output. The file stays while temporary files are left, to prove whose they are. @throws FILE_UNWRITABLE */
  async release(): Promise<void> {
    if (this.isReleased) return
    this.isReleased = true
    clearInterval(this.timer)
    try {
      await this.check()
      if (this.loss === undefined) {
        const released = `${JSON.stringify({ released: this.nonce })}\n`
        if (await this.hasTemporaryFiles()) await this.append(released)
        else {
          await removeFile(this.file).catch(async error => {
            await this.append(released)
            throw error
          })
        }
      }
    } finally {
      await this.handle.close().catch(error => {
        throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.file })
      })
    }
  }

  private async hasTemporaryFiles(): Promise<boolean> {
    for (const [name, inodes] of this.files) {
      const stats = await lstat(join(dirname(this.file), name)).catch(() => undefined)
      if (stats !== undefined && inodes.has(stats.ino)) return true
    }
    return false
  }

  private async beat(): Promise<void> {
    // A slow file system must not collect calls.
    if (this.isBeating) return
    this.isBeating = true
    try {
      const now = new Date()
      await this.handle.utimes(now, now)
      await this.check()
    } catch {
      // The next write checks again and reports the failure.
    } finally {
      this.isBeating = false
    }
  }

  private async check(): Promise<void> {
    if (this.loss !== undefined) return
    const stats = await lstat(this.file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.file })
    })
    const isSameFile = stats?.ino === this.inode
    if (isSameFile && stats.size === this.bytes) {
      this.checkedAt = Date.now()
      return
    }
    const log = isSameFile ? await readLog(this.handle) : undefined
    if (log?.owner?.owner === this.nonce) {
      this.bytes = log.bytes
      this.checkedAt = Date.now()
      return
    }
    const message =
      log?.owner === undefined
        ? `the lock file ${this.file} was removed or replaced while this run was active`
        : `${describeProcess(log.owner)} took over this output because this process had not responded for ${STALE_MS / 1000} s`
    this.loss = new PenstockError('FILE_LOCKED', message, { file: this.output })
    clearInterval(this.timer)
  }

  private async append(line: string): Promise<void> {
    try {
      await this.handle.appendFile(line)
      this.bytes += Buffer.byteLength(line)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }
}

async function openLockFile(file: string, output: string): Promise<{ handle: FileHandle; isNew: boolean } | undefined> {
  try {
    return { handle: await open(file, O_RDWR | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW), isNew: true }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: output })
    }
  }
  try {
    return { handle: await open(file, O_RDWR | O_APPEND | O_NOFOLLOW | O_NONBLOCK), isNew: false }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    if (code === 'ELOOP') throw notALock(file)
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
}

interface Attempt {
  readonly output: string
  readonly file: string
  readonly handle: FileHandle
  readonly isNew: boolean
  readonly staleMs: number
}

/** @returns undefined if the lock file vanished or another process was faster: try again */
async function claim(attempt: Attempt) {
  const { file, handle, isNew } = attempt
  const { ino: inode } = await handle.stat()
  let before = await readLog(handle)
  if (before === undefined) throw notALock(file)
  if (!isNew && before.owner === undefined && before.last === '') {
    await sleep(EMPTY_LOCK_GRACE_MS)
    before = await readLog(handle)
    if (before === undefined) throw notALock(file)
  }
  const takesOver = before.owner !== undefined
  if (before.owner !== undefined && !(await isAbandoned(before.owner, attempt))) return undefined
  const nonce = randomUUID()
  const own = { lock: 'penstock', owner: nonce, after: before.last, ...ownIdentity() }
  const line = `${before.bytes > 0 ? '\n' : ''}${JSON.stringify(own)}\n`
  try {
    await handle.appendFile(line)
  } catch (error) {
    if (isNew) await removeFile(file).catch(() => {})
    throw error
  }
  // On network file systems two appends at the same moment may overwrite each other: look again when both are done.
  if (takesOver) await sleep(EMPTY_LOCK_GRACE_MS)
  const log = await readLog(handle)
  const named = await lstat(file).catch(() => undefined)
  if (log?.owner?.owner !== nonce || named?.ino !== inode) return undefined
  return { nonce, inode, log }
}

/**
 * Whether the owner of a lock is gone. Waits for its heartbeat where the process cannot be seen from here.
 * @throws FILE_LOCKED if it is not
 */
async function isAbandoned(owner: Owner, { output, file, handle, staleMs }: Attempt): Promise<boolean> {
  const state = isRunning(owner)
  if (state === 'no') return true
  if (state === 'unknown') {
    const before = await handle.stat()
    for (let waited = 0; waited < staleMs; waited += POLL_MS) {
      await sleep(POLL_MS)
      // Opened again, so that a network file system does not answer from its cache.
      const now = await statByOpening(file)
      // A lock that was released while we waited had a living owner.
      if (now === undefined || now.ino !== before.ino) return refuse()
      if (now.mtimeMs !== before.mtimeMs || now.size !== before.size) return refuse()
    }
    return true
  }
  return refuse()

  function refuse(): never {
    const message = `${describeProcess(owner)} is writing this output (${file})`
    throw new PenstockError('FILE_LOCKED', message, { file: output })
  }
}

async function statByOpening(file: string): Promise<Stats | undefined> {
  const handle = await open(file, constants.O_RDONLY | O_NOFOLLOW | O_NONBLOCK).catch(() => undefined)
  if (handle === undefined) return undefined
  try {
    return await handle.stat()
  } finally {
    await handle.close()
  }
}

/** @returns undefined if the file is not a lock file */
async function readLog(handle: FileHandle): Promise<LockLog | undefined> {
  const stats = await handle.stat()
  if (!stats.isFile()) return undefined
  const bytes = Buffer.alloc(stats.size)
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, done)
    if (bytesRead === 0) break
    done += bytesRead
  }
  const text = bytes.toString()
  // A process that was killed in the middle of its first line has left the beginning of one.
  const firstLine = text.split('\n', 1)[0]!
  const isTorn = MAGIC.startsWith(firstLine) && (firstLine !== '' || text === '')
  if (!firstLine.startsWith(MAGIC) && !isTorn) return undefined
  let owner: Owner | undefined
  let last = ''
  const files: z.output<typeof fileSchema>[] = []
  for (const line of text.split('\n')) {
    const value = parsed(line)
    const claimed = ownerSchema.safeParse(value).data
    if (claimed !== undefined && claimed.after === last) {
      owner = claimed
      last = claimed.owner
    }
    const created = fileSchema.safeParse(value).data
    if (created !== undefined) files.push(created)
    if (releasedSchema.safeParse(value).data?.released === last) owner = undefined
  }
  return { owner, last, files, bytes: stats.size }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function notALock(file: string): PenstockError {
  const message = 'this file has the name of a lock file and is not one: move it, or choose another output'
  return new PenstockError('FILE_EXISTS', message, { file })
}

const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
