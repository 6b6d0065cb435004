/** Appends to a temporary file through a 1 MiB buffer. Errors name the output that the file will become. */
import type { Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'
import { type FileProof, proofOf } from './file-proof.js'
import type { OutputLock } from './output-lock.js'
import { readFully } from './read-at.js'
import { createTemporary, openTemporary, type TemporaryFile } from './temporary-file.js'

const BUFFER_BYTES = 1 << 20
/** Larger pieces are written without buffering: copying them out of shared memory costs more than another write. */
const MAX_COPY_BYTES = 1 << 17
const NOTHING = new Uint8Array(0)

/** Where to write bytes of a file. */
export interface ReservedSpace {
  readonly descriptor: number
  /** Offset in the file. */
  readonly position: number
}

/** Owns its handle until `close`. */
export class AppendFile {
  /** Bytes appended so far. */
  size: number
  private readonly inode: number
  private readonly output: string
  private readonly lock: OutputLock
  private readonly handle: FileHandle
  private readonly pending = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  private pendingBytes = 0
  /** End of the longest tail so far. */
  private tailEnd: number

  private constructor(lock: OutputLock, { handle, inode }: TemporaryFile, size: number, tailBytes: number) {
    this.output = lock.output
    this.lock = lock
    this.handle = handle
    this.inode = inode
    this.size = size
    this.tailEnd = size + tailBytes
  }

  /** Creates an empty temporary file. @throws FILE_EXISTS, FILE_UNWRITABLE, FILE_LOCKED */
  static async create(lock: OutputLock, path: string, mode?: number): Promise<AppendFile> {
    return new AppendFile(lock, await createTemporary(lock, path, mode), 0, 0)
  }

  /**
   * Continues the temporary file of an interrupted run.
   * @param keptBytes bytes to keep
   * @param tailBytes bytes after those that stay until something is appended; everything after them is truncated
   * @throws FILE_CHANGED, FILE_UNWRITABLE, FILE_LOCKED
   */
  static async resume(
    lock: OutputLock,
    path: string,
    { inode, keptBytes, tailBytes = 0 }: { inode: number; keptBytes: number; tailBytes?: number },
  ): Promise<AppendFile> {
    const file = await openTemporary(lock, path, inode)
    try {
      await file.handle.truncate(keptBytes + tailBytes)
    } catch (error) {
      await file.handle.close().catch(() => {})
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: lock.output })
    }
    return new AppendFile(lock, file, keptBytes, tailBytes)
  }

  /** Appends `bytes`; the caller may reuse the array once the promise has resolved. */
  async write(bytes: Uint8Array): Promise<void> {
    const isCopied = bytes.byteLength <= MAX_COPY_BYTES
    if (!isCopied || this.pendingBytes + bytes.byteLength > BUFFER_BYTES) await this.flush()
    if (!isCopied) {
      await this.writeAt(bytes, this.size)
    } else {
      this.pending.set(bytes, this.pendingBytes)
      this.pendingBytes += bytes.byteLength
    }
    this.size += bytes.byteLength
  }

  /** Leaves space for bytes that other threads write. @throws FILE_UNWRITABLE */
  async reserve(byteLength: number): Promise<ReservedSpace> {
    await this.flush()
    const position = this.size
    this.size += byteLength
    return { descriptor: this.handle.fd, position }
  }

  /** Overwrites bytes written earlier, such as a header whose values are known only at the end. */
  async patch(bytes: Uint8Array, position: number): Promise<void> {
    await this.flush()
    await this.writeAt(bytes, position)
  }

  /** Writes the buffer to the file, followed by a `tail` that the next append overwrites. */
  async flush(tail: Uint8Array = NOTHING): Promise<void> {
    if (this.pendingBytes + tail.byteLength > BUFFER_BYTES) await this.flush()
    this.pending.set(tail, this.pendingBytes)
    const bytes = this.pending.subarray(0, this.pendingBytes + tail.byteLength)
    const position = this.size - this.pendingBytes
    this.pendingBytes = 0
    this.tailEnd = Math.max(this.tailEnd, this.size + tail.byteLength)
    await this.writeAt(bytes, position)
  }

  /** Truncates the file after the last appended and flushed byte, which removes any remaining tail. */
  async cutTail(): Promise<void> {
    if (this.tailEnd <= this.size) return
    try {
      await this.lock.ensureHeld()
      await this.handle.truncate(this.size)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  /** Fills `into` with flushed bytes from `position`; returns fewer bytes only at the end of the file. */
  read(into: Uint8Array, position: number): Promise<number> {
    return readFully({ path: this.output, handle: this.handle }, into, position)
  }

  /**
   * Proof of the file for a journal.
   * @param size bytes that it covers, all of them written; at most the size of the file
   * @throws FILE_UNREADABLE
   */
  proof(size = this.size): Promise<FileProof> {
    return proofOf({ path: this.output, handle: this.handle }, this.inode, size)
  }

  /**
   * Makes flushed bytes durable. Never retried: after a failed fsync the kernel may drop the dirty pages and report
   * success the next time.
   */
  async sync(): Promise<void> {
    try {
      await this.handle.sync()
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  /** Gives the file the permissions and, where allowed, the owner of the file that it will replace. @throws FILE_UNWRITABLE */
  async copyPermissions({ mode, uid, gid }: Stats): Promise<void> {
    try {
      const own = await this.handle.stat()
      if (own.uid !== uid || own.gid !== gid) await this.handle.chown(uid, gid).catch(() => {})
      await this.handle.chmod(mode & 0o777)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  /** @throws FILE_UNWRITABLE: network file systems and quotas report failed writes here */
  async close(): Promise<void> {
    try {
      await this.handle.close()
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  private async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    try {
      await this.lock.ensureHeld()
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.byteLength - done, position + done)
        done += bytesWritten
      }
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }
}
