/**
 * A file that grows while a run goes on. Writing happens behind the caller's back, in order; a disk that is full or too
 * slow is an error of the file, never a wait of the run.
 */
import { createWriteStream, mkdirSync, type WriteStream } from 'node:fs'
import { dirname } from 'node:path'
import { PenstockError, toPenstockError } from '../errors.js'

/** More than this waiting to be written means that the disk does not keep up. */
const MAX_WAITING_BYTES = 32 << 20

export class AppendFile {
  readonly path: string
  private readonly stream: WriteStream
  private error: PenstockError | undefined

  /** Opens the file behind its last byte, or empty; makes its folder. @throws FILE_UNWRITABLE */
  constructor(path: string, mode: 'append' | 'new', onError: (error: PenstockError) => void) {
    this.path = path
    try {
      mkdirSync(dirname(path), { recursive: true })
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
    }
    this.stream = createWriteStream(path, { flags: mode === 'append' ? 'a' : 'w' })
    this.stream.on('error', error => {
      this.error = toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
      onError(this.error)
    })
  }

  /** @throws FILE_UNWRITABLE when the disk does not keep up */
  write(data: string | Uint8Array): void {
    if (this.error !== undefined) return
    if (this.stream.writableLength > MAX_WAITING_BYTES) {
      throw new PenstockError('FILE_UNWRITABLE', 'the disk does not keep up with the log', { file: this.path })
    }
    this.stream.write(data)
  }

  /** Resolves when all of it is with the system. @throws FILE_UNWRITABLE */
  async close(): Promise<void> {
    if (this.error === undefined) await new Promise<void>(resolve => void this.stream.once('close', resolve).end())
    if (this.error !== undefined) throw this.error
  }

  /** Resolves when what was written so far is with the system. */
  async flushed(): Promise<void> {
    if (this.error === undefined) await new Promise<void>(resolve => void this.stream.write('', () => resolve()))
  }
}
