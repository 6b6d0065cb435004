/**
 * A file that grows while a run goes on. Writing happens behind the caller's back, in order; a disk that is full or too
 * slow is an error of the file, never a wait of the run.
 */
import { closeSync, createWriteStream, mkdirSync, openSync, readSync, statSync, type WriteStream } from 'node:fs'
import { dirname } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'

/** More than this waiting to be written means that the disk does not keep up. */
const MAX_WAITING_BYTES = 32 << 20
const LINE_FEED = 10

export class LogFile {
  readonly path: string
  private readonly stream: WriteStream
  private error: PenstockError | undefined

  /**
   * Opens the file behind its last line, or empty; makes its folder. Half a line, as a killed run leaves it, is ended.
   * @throws FILE_UNWRITABLE
   */
  constructor(path: string, mode: 'append' | 'new', onError: (error: PenstockError) => void) {
    this.path = path
    let half = false
    try {
      mkdirSync(dirname(path), { recursive: true })
      half = mode === 'append' && endsInsideLine(path)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
    }
    this.stream = createWriteStream(path, { flags: mode === 'append' ? 'a' : 'w' })
    this.stream.on('error', error => {
      this.error = toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
      onError(this.error)
    })
    if (half) this.stream.write('\n')
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

function endsInsideLine(path: string): boolean {
  const size = statSync(path, { throwIfNoEntry: false })?.size ?? 0
  if (size === 0) return false
  const file = openSync(path, 'r')
  try {
    const last = new Uint8Array(1)
    readSync(file, last, 0, 1, size - 1)
    return last[0] !== LINE_FEED
  } finally {
    closeSync(file)
  }
}
