/**
 * A log file, written asynchronously and in order. A full or slow disk causes an error of the log; it never blocks the
 * run. A file that no run wrote is never changed.
 */
import { closeSync, createWriteStream, mkdirSync, openSync, readSync, statSync, type WriteStream } from 'node:fs'
import { dirname } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'

/** With more buffered bytes than this, the disk is considered too slow. */
const MAX_BUFFERED_BYTES = 32 << 20
const LINE_FEED = 10

/**
 * An existing file is extended by lines or by bytes, replaced, or an error. All but the last require that it begins like the log.
 */
export type LogMode =
  | { readonly kind: 'append' | 'append-bytes' | 'replace'; readonly beginning: string }
  | { readonly kind: 'create' }

const flags = { append: 'a', 'append-bytes': 'a', replace: 'w', create: 'wx' } as const

export class LogFile {
  readonly path: string
  private readonly stream: WriteStream
  private error: PenstockError | undefined

  /**
   * Creates the folder and opens the file. In mode `append`, an incomplete last line left by a killed run is terminated.
   * @throws FILE_EXISTS, FILE_UNWRITABLE
   */
  constructor(path: string, mode: LogMode, onError: (error: PenstockError) => void) {
    this.path = path
    let lastLineIncomplete = false
    try {
      mkdirSync(dirname(path), { recursive: true })
      if (mode.kind !== 'create') requireOwnLog(path, mode.beginning)
      lastLineIncomplete = mode.kind === 'append' && endsInsideLine(path)
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
    }
    this.stream = createWriteStream(path, { flags: flags[mode.kind] })
    this.stream.on('error', error => {
      this.error = toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
      onError(this.error)
    })
    if (lastLineIncomplete) this.stream.write('\n')
  }

  /** @throws FILE_UNWRITABLE if the disk is too slow */
  write(data: string | Uint8Array): void {
    if (this.error !== undefined) return
    if (this.stream.writableLength > MAX_BUFFERED_BYTES) {
      throw new PenstockError('FILE_UNWRITABLE', 'the disk is too slow for this log', { file: this.path })
    }
    this.stream.write(data)
  }

  /** Resolves when everything has been written and the file is closed. @throws FILE_UNWRITABLE */
  async close(): Promise<void> {
    if (this.error === undefined) await new Promise<void>(resolve => void this.stream.once('close', resolve).end())
    if (this.error !== undefined) throw this.error
  }

  /** Resolves when everything so far has been written. */
  async flushed(): Promise<void> {
    if (this.error === undefined) await new Promise<void>(resolve => void this.stream.write('', () => resolve()))
  }
}

/**
 * Rejects an existing file that no run wrote: it must be empty, a device, or begin like the log, possibly truncated.
 * @throws FILE_EXISTS
 */
export function requireOwnLog(path: string, beginning: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) return
  const file = openSync(path, 'r')
  try {
    const bytes = Buffer.alloc(beginning.length)
    const found = bytes.toString('latin1', 0, readSync(file, bytes, 0, bytes.length, 0))
    if (beginning.startsWith(found)) return
  } finally {
    closeSync(file)
  }
  const message = 'this file was not written by a run: move it, or choose another path for the log'
  throw new PenstockError('FILE_EXISTS', message, { file: path })
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
