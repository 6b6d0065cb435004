/** Reads the JSON log of a run into a history, and can continue reading as the log grows. */
import { type FileHandle, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { LOG_NAME } from '../sinks/jsonl-log.js'
import { parseLoggedEvent } from './logged-event.js'
import { RunHistory } from './run-history.js'

const CHUNK_BYTES = 4 << 20
const LINE_FEED = 10
/** Depth of the subfolders that are searched for runs. */
const MAX_DEPTH = 4
/** Far more than any event; a longer line is damaged. */
const MAX_LINE_BYTES = 16 << 20

/**
 * Opens a log and reads it; the caller closes it.
 * @throws FILE_UNREADABLE, JSON_INVALID
 */
export async function openRunLog(file: string): Promise<RunLog> {
  let log: RunLog
  try {
    log = new RunLog(file, await open(file, 'r'))
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  }
  await log.readMore().catch(async error => {
    await log.close()
    throw error
  })
  if (log.history.info !== undefined) return log
  await log.close()
  throw new PenstockError('JSON_INVALID', 'not a run log: it has no run-start event', { file })
}

/**
 * Paths of run logs: a log file, that of a run folder, or those of the runs in a folder, which may be grouped in subfolders.
 * @throws FILE_MISSING if there is none; FILE_UNREADABLE
 */
export async function findRunLogs(path: string): Promise<string[]> {
  const logs = await logsIn(path, 0)
  if (logs.length > 0) return logs
  const message = `no run log: neither a log file nor a folder with ${LOG_NAME} in it or in its subfolders; to write one, add monitoring: { jsonl: true } to the definition`
  throw new PenstockError('FILE_MISSING', message, { file: path })
}

async function logsIn(path: string, depth: number): Promise<string[]> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined) return []
  if (!stats.isDirectory()) return [path]
  const entries = await readdir(path, { withFileTypes: true }).catch((error: unknown) => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  })
  // The folders of a run contain no other runs.
  if (entries.some(({ name }) => name === LOG_NAME)) return [join(path, LOG_NAME)]
  if (depth === MAX_DEPTH) return []
  const folders = entries.filter(entry => entry.isDirectory()).map(({ name }) => name)
  const found = await Promise.all(folders.toSorted().map(name => logsIn(join(path, name), depth + 1)))
  return found.flat()
}

/** Owns the file handle until `close` is called. */
export class RunLog {
  readonly history = new RunHistory()
  private readonly file: string
  private readonly handle: FileHandle
  private readonly chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES)
  private position = 0
  private lineNumber = 0
  /** An incomplete last line. */
  private pending: Buffer = Buffer.alloc(0)
  /** Whether the incomplete last line is too long, so that its bytes are dropped. */
  private isTooLong = false

  constructor(file: string, handle: FileHandle) {
    this.file = file
    this.handle = handle
  }

  /** Reads the complete lines appended since the last call; false if there were none. @throws FILE_UNREADABLE, JSON_INVALID */
  async readMore(): Promise<boolean> {
    const before = this.lineNumber
    try {
      for (;;) {
        const { bytesRead } = await this.handle.read(this.chunk, 0, CHUNK_BYTES, this.position)
        if (bytesRead === 0) break
        this.position += bytesRead
        this.addLines(Buffer.concat([this.pending, this.chunk.subarray(0, bytesRead)]))
      }
    } catch (error) {
      throw toPenstockError(error, 'FILE_UNREADABLE', { file: this.file })
    }
    return this.lineNumber > before
  }

  async close(): Promise<void> {
    await this.handle.close()
  }

  private addLines(bytes: Buffer): void {
    let start = 0
    for (let end = bytes.indexOf(LINE_FEED); end >= 0; end = bytes.indexOf(LINE_FEED, start)) {
      this.lineNumber++
      if (this.isTooLong) this.isTooLong = false
      else this.addLine(bytes.toString('utf8', start, end))
      start = end + 1
    }
    this.pending = this.isTooLong ? bytes.subarray(0, 0) : bytes.subarray(start)
    if (this.pending.length > MAX_LINE_BYTES) this.dropLongLine()
  }

  /** @throws JSON_INVALID for the first line, so that another kind of file is not read to its end */
  private dropLongLine(): void {
    const number = this.lineNumber + 1
    if (this.history.info === undefined) {
      const message = `not a run log: line ${number} is longer than ${MAX_LINE_BYTES >> 20} MiB`
      throw new PenstockError('JSON_INVALID', message, { file: this.file })
    }
    this.noteDamage(number)
    this.isTooLong = true
    this.pending = Buffer.alloc(0)
  }

  /** A killed run may leave an incomplete line: it is reported in the notes and skipped, like any other damaged line. */
  private addLine(line: string): void {
    if (line === '') return
    const event = parseLoggedEvent(line)
    if (event === undefined) this.noteDamage(this.lineNumber)
    else this.history.add(event)
  }

  private noteDamage(line: number): void {
    this.history.note(`line ${line} of the log is damaged`)
  }
}
