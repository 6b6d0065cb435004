/**
 * `<output>.journal`: how far a run had come, a record at a time, so that it can go on when it was killed. What a crash
 * leaves half written at its end is dropped.
 *
 * | offset | bytes | type | meaning |
 * | --- | --- | --- | --- |
 * | 0 | 4 | u32 LE | N, the bytes of the record |
 * | 4 | 4 | u32 LE | CRC-32 of them |
 * | 8 | N | MessagePack | the record; that of the file's first is the header |
 *
 * and so on, record behind record.
 */
import { type FileHandle, open, readFile, rename } from 'node:fs/promises'
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'
import { toPenstockError } from '../../errors.js'
import { crc32 } from '../../formats/crc32.js'
import { partPathOf } from '../output-file.js'

const PREFIX_BYTES = 8
/** A journal past this size is written anew with its newest record only. */
const MAX_BYTES = 4 << 20

/** The records that are whole, in order; none where there is no journal. */
export async function readJournal(path: string): Promise<unknown[]> {
  const bytes = await readFile(path).catch(() => Buffer.alloc(0))
  const records: unknown[] = []
  for (let at = 0; at + PREFIX_BYTES <= bytes.length; ) {
    const end = at + PREFIX_BYTES + bytes.readUInt32LE(at)
    const record = bytes.subarray(at + PREFIX_BYTES, end)
    // Zeros are what a power cut leaves of bytes that were not on the disk yet; their CRC is that of an empty record.
    if (record.length === 0 || end > bytes.length || crc32(record) !== bytes.readUInt32LE(at + 4)) break
    records.push(unpack(record))
    at = end
  }
  return records
}

/** Owns the handle until `close`. */
export class JournalFile {
  private readonly path: string
  private readonly header: unknown
  private handle: FileHandle
  private size: number
  /** Appends one after the other. */
  private last: Promise<void> = Promise.resolve()

  private constructor(path: string, header: unknown, handle: FileHandle, size: number) {
    this.path = path
    this.header = header
    this.handle = handle
    this.size = size
  }

  /** Replaces what is there. @throws FILE_UNWRITABLE */
  static async create(path: string, records: readonly [header: unknown, ...unknown[]]): Promise<JournalFile> {
    const { handle, size } = await writeAnew(path, records)
    return new JournalFile(path, records[0], handle, size)
  }

  append(record: unknown): Promise<void> {
    this.last = this.last.then(async () => {
      try {
        const bytes = encoded(record)
        if (this.size + bytes.length > MAX_BYTES) {
          await this.handle.close()
          Object.assign(this, await writeAnew(this.path, [this.header, record]))
        } else {
          await writeFully(this.handle, bytes, this.size)
          this.size += bytes.length
        }
      } catch (error) {
        throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
      }
    })
    return this.last
  }

  /** @throws FILE_UNWRITABLE */
  async sync(): Promise<void> {
    await this.last
    await this.handle.sync().catch(error => {
      throw toPenstockError(error, 'FILE_UNWRITABLE', { file: this.path })
    })
  }

  async close(): Promise<void> {
    await this.last.catch(() => {})
    await this.handle.close()
  }
}

/** By a file of another name, so that at every moment one of the two journals is whole. */
async function writeAnew(path: string, records: readonly unknown[]): Promise<{ handle: FileHandle; size: number }> {
  const handle = await open(partPathOf(path), 'w+').catch(error => {
    throw toPenstockError(error, 'FILE_UNWRITABLE', { file: path })
  })
  try {
    const bytes = Buffer.concat(records.map(encoded))
    await writeFully(handle, bytes, 0)
    // A header alone is no loss.
    if (records.length > 1) await handle.sync()
    await rename(partPathOf(path), path)
    return { handle, size: bytes.length }
  } catch (error) {
    await handle.close()
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
