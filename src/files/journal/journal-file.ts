/**
 * The journal of a run, `<output>.journal`: a log of progress records from which a killed run is resumed. An incomplete
 * record at the end, left by a crash, is ignored.
 *
 * | offset | bytes | type | meaning |
 * | --- | --- | --- | --- |
 * | 0 | 4 | u32 LE | N, the size of the record |
 * | 4 | 4 | u32 LE | CRC-32 of the record |
 * | 8 | N | MessagePack | the record; the first one is the header |
 *
 * repeated for each record.
 */
import { type FileHandle, rename } from 'node:fs/promises'
import { basename } from 'node:path'
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { toPenstockError } from '../../errors.js'
import { crc32 } from '../../formats/crc32.js'
import type { OutputLock } from '../output-lock.js'
import { openPlain, readFully } from '../read-at.js'
import { journalPathOf, partPathOf } from '../side-files.js'
import { createTemporary, type TemporaryFile } from '../temporary-file.js'

const PREFIX_BYTES = 8
/** A journal that exceeds this size is rewritten with only its newest record. */
const MAX_BYTES = 4 << 20

export interface Journal {
  /** Complete records in order. */
  readonly records: readonly unknown[]
  readonly inode: number
}

/**
 * The journal at a path; without records if there is none, or if it is a link or no regular file.
 * @throws FILE_UNREADABLE for anything else: a run that starts over would remove the progress of the one before
 */
export async function readJournal(path: string): Promise<Journal> {
  const none = { records: [], inode: -1 }
  const handle = await openPlain(path)
  if (handle === undefined) return none
  try {
    const stats = await handle.stat()
    if (!stats.isFile()) return none
    const bytes = Buffer.alloc(stats.size)
    const read = await readFully({ path, handle }, bytes, 0)
    return { records: decodeJournal(bytes.subarray(0, read)), inode: stats.ino }
  } catch (error) {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
  } finally {
    await handle.close().catch(() => {})
  }
}

function decodeJournal(bytes: Buffer): unknown[] {
  const records: unknown[] = []
  for (let at = 0; at + PREFIX_BYTES <= bytes.length; ) {
    const end = at + PREFIX_BYTES + bytes.readUInt32LE(at)
    const record = bytes.subarray(at + PREFIX_BYTES, end)
    // A power cut can leave zeros in place of unwritten data; they would read as empty records with a valid CRC.
    if (record.length === 0 || end > bytes.length || crc32(record) !== bytes.readUInt32LE(at + 4)) break
    records.push(unpack(record))
    at = end
  }
  return records
}

/** Accepts the journal of an output as written by an earlier run if its header says so, even if its lock file is gone. */
export async function adoptJournal(lock: OutputLock): Promise<void> {
  const path = journalPathOf(lock.output)
  const { records, inode } = await readJournal(path)
  const [header] = records
  if (typeof header !== 'object' || header === null || !('journal' in header)) return
  if (header.journal === 'penstock') lock.adopt(basename(path), inode)
}

/** Owns the handle until `close`. */
export class JournalFile {
  private readonly lock: OutputLock
  private readonly path: string
  private readonly header: unknown
  private handle: FileHandle
  private size: number
  /** Completion of the last append: appends are serialized. */
  private lastAppend: Promise<void> = Promise.resolve()

  private constructor(lock: OutputLock, header: unknown, handle: FileHandle, size: number) {
    this.lock = lock
    this.path = journalPathOf(lock.output)
    this.header = header
    this.handle = handle
    this.size = size
  }

  /** Creates or replaces the journal of a locked output. @throws FILE_UNWRITABLE, FILE_EXISTS, FILE_LOCKED */
  static async create(lock: OutputLock, records: readonly [header: unknown, ...unknown[]]): Promise<JournalFile> {
    const { handle, size } = await rewrite(lock, records)
    return new JournalFile(lock, records[0], handle, size)
  }

  append(record: unknown): Promise<void> {
    this.lastAppend = this.lastAppend.then(async () => {
      try {
        await this.lock.ensureHeld()
        const bytes = encoded(record)
        if (this.size + bytes.length > MAX_BYTES) {
          await this.handle.close()
          Object.assign(this, await rewrite(this.lock, [this.header, record]))
        } else {
          await writeFully(this.handle, bytes, this.size)
          this.size += bytes.length
        }
      } catch (error) {
        throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
      }
    })
    return this.lastAppend
  }

  /** @throws FILE_UNWRITABLE */
  async sync(): Promise<void> {
    await this.lastAppend
    await this.handle.sync().catch(error => {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
    })
  }

  async close(): Promise<void> {
    await this.lastAppend.catch(() => {})
    await this.handle.close().catch(error => {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
    })
  }
}

/** Writes the journal under a temporary name and renames it, so that a complete journal exists at every moment. */
async function rewrite(lock: OutputLock, records: readonly unknown[]): Promise<{ handle: FileHandle; size: number }> {
  const path = journalPathOf(lock.output)
  const { handle, inode }: TemporaryFile = await createTemporary(lock, partPathOf(path))
  try {
    const bytes = Buffer.concat(records.map(encoded))
    await writeFully(handle, bytes, 0)
    // A journal with only its header can be lost without harm.
    if (records.length > 1) await handle.sync()
    await lock.record(path, inode)
    await rename(partPathOf(path), path)
    return { handle, size: bytes.length }
  } catch (error) {
    await handle.close().catch(() => {})
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  }
}

function encoded(record: unknown): Buffer {
  const bytes = pack(record)
  const prefix = Buffer.alloc(PREFIX_BYTES)
  prefix.writeUInt32LE(bytes.length, 0)
  prefix.writeUInt32LE(crc32(bytes), 4)
  return Buffer.concat([prefix, bytes])
}

async function writeFully(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done)
    done += bytesWritten
  }
}
