/** Appends to a temporary file through a 1 MiB buffer. Errors name the output that the file will become. */
import { type FileHandle, open } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'
import { readAt } from './read-at.js'

const BUFFER_BYTES = 1 << 20
/** Larger pieces are written without buffering: copying them out of shared memory costs more than another write. */
const MAX_COPY_BYTES = 1 << 17
const NOTHING = new Uint8Array(0)

/** Owns its handle until `close`. */
export class AppendFile {
  /** Bytes appended so far. */
  size: number
  private readonly output: string
  private readonly handle: FileHandle
  private readonly pending = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  private pendingBytes = 0
  /** End of the longest tail so far. */
  private tailEnd: number

  private constructor(output: string, handle: FileHandle, size: number, tailBytes: number) {
    this.output = output
    this.handle = handle
    this.size = size
    this.tailEnd = size + tailBytes
  }

  /**
   * @param keptBytes bytes of the existing file to keep
   * @param tailBytes bytes after those that stay until something is appended; everything after them is truncated
   * @throws FILE_UNWRITABLE
   */
  static async openPart(partPath: string, output: string, keptBytes = 0, tailBytes = 0): Promise<AppendFile> {
    return new AppendFile(output, await openAt(partPath, output, keptBytes + tailBytes), keptBytes, tailBytes)
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
      await this.handle.truncate(this.size)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  /** Fills `into` with flushed bytes from `position`; returns fewer bytes only at the end of the file. */
  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < into.byteLength) {
      const bytesRead = await readAt({ path: this.output, handle: this.handle }, into.subarray(done), position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
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

  async close(): Promise<void> {
    await this.handle.close()
  }

  private async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.byteLength - done, position + done)
        done += bytesWritten
      }
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }
}

async function openAt(partPath: string, output: string, keptBytes: number): Promise<FileHandle> {
  try {
    const handle = await open(partPath, keptBytes > 0 ? 'r+' : 'w+')
    if (keptBytes > 0) await handle.truncate(keptBytes)
    return handle
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: output })
  }
}
