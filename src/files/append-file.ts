/** A file that grows at its end through a buffer of one MiB. Its errors name the output that it is to become. */
import { type FileHandle, open } from 'node:fs/promises'
import { toPenstockError } from '../errors.js'
import { readAt } from './read-at.js'

const BUFFER_BYTES = 1 << 20
/** Larger pieces go to the file as they are: a copy out of shared memory costs more than another write. */
const LARGEST_COPY = 1 << 17
const NOTHING = new Uint8Array(0)

/** Owns its handle until `close`. */
export class AppendFile {
  /** Bytes appended so far. */
  size: number
  private readonly output: string
  private readonly handle: FileHandle
  private readonly pending = Buffer.allocUnsafeSlow(BUFFER_BYTES)
  private pendingBytes = 0
  /** Where the longest tail ended. */
  private tailEnd: number

  private constructor(output: string, handle: FileHandle, size: number, tailBytes: number) {
    this.output = output
    this.handle = handle
    this.size = size
    this.tailEnd = size + tailBytes
  }

  /**
   * @param keptBytes of a file that is there
   * @param tailBytes that stand behind these until something is appended; what is behind them is cut off
   * @throws FILE_UNWRITABLE
   */
  static async openPart(partPath: string, output: string, keptBytes = 0, tailBytes = 0): Promise<AppendFile> {
    return new AppendFile(output, await openAt(partPath, output, keptBytes + tailBytes), keptBytes, tailBytes)
  }

  /** Appends; the caller may change `bytes` after the promise resolved. */
  async write(bytes: Uint8Array): Promise<void> {
    const isCopied = bytes.byteLength <= LARGEST_COPY
    if (!isCopied || this.pendingBytes + bytes.byteLength > BUFFER_BYTES) await this.flush()
    if (!isCopied) {
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

  /** Hands everything written so far to the file, and a `tail` that what is appended next will overwrite. */
  async flush(tail: Uint8Array = NOTHING): Promise<void> {
    if (this.pendingBytes + tail.byteLength > BUFFER_BYTES) await this.flush()
    this.pending.set(tail, this.pendingBytes)
    const bytes = this.pending.subarray(0, this.pendingBytes + tail.byteLength)
    const position = this.size - this.pendingBytes
    this.pendingBytes = 0
    this.tailEnd = Math.max(this.tailEnd, this.size + tail.byteLength)
    await this.writeAt(bytes, position)
  }

  /** Cuts off what is left of the last tail behind what was appended and flushed. */
  async cutTail(): Promise<void> {
    if (this.tailEnd <= this.size) return
    try {
      await this.handle.truncate(this.size)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.output })
    }
  }

  /** Reads what was appended and flushed, from `position` on, as much as fits: fewer bytes at the end. */
  async read(into: Uint8Array, position: number): Promise<number> {
    let done = 0
    while (done < into.byteLength) {
      const bytesRead = await readAt({ path: this.output, handle: this.handle }, into.subarray(done), position + done)
      if (bytesRead === 0) break
      done += bytesRead
    }
    return done
  }

  /** Makes durable what was flushed. Never tried again after a failure: what is lost then is not told a second time. */
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
