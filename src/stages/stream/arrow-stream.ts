/**
 * The messages of an Arrow IPC stream or file, one after the other: a file is a stream between its magic and its footer. Of
 * the body of a message only the buffers that are asked for are kept.
 *
 * | bytes | content of a message |
 * | --- | --- |
 * | 4 | ff ff ff ff, absent before Arrow 0.15 |
 * | 4 | size of the metadata, i32; 0 ends the stream |
 * | n | metadata (formats/arrow/messages.ts) |
 * | n | body, whose size the metadata has |
 *
 * Source: arrow.apache.org/docs/format/Columnar.html, "Serialization and Interprocess Communication (IPC)".
 */
import { PenstockError } from '../../errors.js'
import { decompressorOf } from '../../files/decompress-page.js'
import { decompressLz4Frame } from '../../formats/archives/lz4-frame.js'
import { type ArrowMessage, type BatchLayout, type BufferPlace, parseMessage } from '../../formats/arrow/messages.js'
import type { Decompress } from '../../formats/parquet/text-pages.js'

const MAX_METADATA_BYTES = 256 << 20
/** Of one buffer that is read as a whole. */
const MAX_BUFFER_BYTES = 1 << 30
const HEAD_BYTES = 4
const SIZE_BYTES = 8
const STORED = -1
const CONTINUATION = 0xffffffff

/** Bytes of a file in order. */
class ByteCursor {
  position = 0
  private readonly chunks: AsyncIterator<Uint8Array>
  private rest: Uint8Array = new Uint8Array(0)

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.chunks = chunks[Symbol.asyncIterator]()
  }

  /** @returns newly allocated memory; fewer bytes only at the end of the file */
  async read(count: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(count)
    let done = 0
    for (let part = await this.take(count); part.length > 0; part = await this.take(count - done)) {
      bytes.set(part, done)
      done += part.length
    }
    return bytes.subarray(0, done)
  }

  /** @returns false at the end of the file */
  async skip(count: number): Promise<boolean> {
    let left = count
    for (let part = await this.take(left); part.length > 0; part = await this.take(left)) left -= part.length
    return left === 0
  }

  /** Closes the file. */
  async close(): Promise<void> {
    await this.chunks.return?.()
  }

  private async take(most: number): Promise<Uint8Array> {
    while (this.rest.length === 0 && most > 0) {
      const { done, value } = await this.chunks.next()
      if (done) return this.rest
      this.rest = value
    }
    const part = this.rest.subarray(0, most)
    this.rest = this.rest.subarray(part.length)
    this.position += part.length
    return part
  }
}

/** The body of the current message. Buffers are read in the order of their places. */
export class ArrowBody {
  private readonly cursor: ByteCursor
  private readonly start: number
  private readonly compression: BatchLayout['compression']

  constructor(cursor: ByteCursor, compression: BatchLayout['compression']) {
    this.cursor = cursor
    this.start = cursor.position
    this.compression = compression
  }

  /** Whether buffers can be read in parts. */
  get isCompressed(): boolean {
    return this.compression !== undefined
  }

  /** Reads buffers as a whole, decompressed. @throws ARROW_INVALID; UNSUPPORTED for a buffer over 1 GiB */
  async buffers(places: readonly BufferPlace[]): Promise<Map<BufferPlace, Uint8Array>> {
    const found = new Map<BufferPlace, Uint8Array>()
    const decompress = this.compression && bufferDecompressor(this.compression)
    for (const place of places.toSorted((a, b) => a.offset - b.offset)) {
      requireReadable(place.length)
      const bytes = await this.bytes(place)
      found.set(place, decompress === undefined || bytes.length === 0 ? bytes : decompressed(bytes, decompress))
    }
    return found
  }

  /** The next bytes of the body, unchanged. @throws ARROW_INVALID */
  async bytes({ offset, length }: BufferPlace): Promise<Uint8Array> {
    // An empty buffer may be anywhere.
    if (length === 0) return new Uint8Array(0)
    const ahead = this.start + offset - this.cursor.position
    if (ahead < 0) throw new PenstockError('ARROW_INVALID', 'the buffers of a record batch overlap')
    const bytes = (await this.cursor.skip(ahead)) ? await this.cursor.read(length) : undefined
    if (bytes?.length !== length) throw cutOff()
    return bytes
  }

  /** Skips the rest of the body. */
  async end(bodyBytes: number): Promise<void> {
    if (!(await this.cursor.skip(this.start + bodyBytes - this.cursor.position))) throw cutOff()
  }
}

export interface ArrowPart {
  readonly message: ArrowMessage
  readonly body: ArrowBody
  /** Of the file, after the message's metadata. */
  readonly bytesRead: number
}

/** @throws ARROW_INVALID, UNSUPPORTED */
export async function* arrowParts(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<ArrowPart> {
  const cursor = new ByteCursor(chunks)
  try {
    yield* partsAt(cursor)
  } finally {
    await cursor.close()
  }
}

async function* partsAt(cursor: ByteCursor): AsyncGenerator<ArrowPart> {
  let head = await cursor.read(HEAD_BYTES)
  const magic = String.fromCharCode(...head)
  if (magic === 'FEA1') {
    throw new PenstockError(
      'UNSUPPORTED',
      'version 1 of Feather: write the file again with a current version of pyarrow',
    )
  }
  const isFile = magic === 'ARRO'
  if (isFile) {
    await cursor.skip(HEAD_BYTES)
    head = await cursor.read(HEAD_BYTES)
  }
  // A stream may end without its end mark, a file may not.
  for (; head.length > 0 || isFile || cursor.position === 0; head = await cursor.read(HEAD_BYTES)) {
    const size = await metadataSize(cursor, head)
    if (size === 0) return
    const metadata = await cursor.read(size)
    if (metadata.length < size) throw cutOff()
    const message = parseMessage(metadata)
    const body = new ArrowBody(cursor, 'layout' in message ? message.layout.compression : undefined)
    yield { message, body, bytesRead: cursor.position }
    await body.end(message.bodyBytes)
  }
}

async function metadataSize(cursor: ByteCursor, head: Uint8Array): Promise<number> {
  const isMarked = head.length === HEAD_BYTES && uint32In(head) === CONTINUATION
  const bytes = isMarked ? await cursor.read(HEAD_BYTES) : head
  if (bytes.length < HEAD_BYTES) throw cutOff()
  const size = uint32In(bytes)
  if (size > MAX_METADATA_BYTES)
    throw new PenstockError('ARROW_INVALID', `metadata of ${size} bytes: this is not an Arrow file`)
  return size
}

const uint32In = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true)

const cutOff = (): PenstockError =>
  new PenstockError('ARROW_INVALID', 'the file ends inside a message: it is incomplete')

/** Each result is memory of its own. */
function bufferDecompressor(codec: 'LZ4' | 'ZSTD'): Decompress {
  if (codec === 'LZ4') return decompressLz4Frame
  const decompress = decompressorOf(codec)!
  return (bytes, size) => decompress(bytes, size).slice()
}

/** A compressed buffer starts with its size before, i64; -1 for one that is stored as it is. */
function decompressed(bytes: Uint8Array, decompress: Decompress): Uint8Array {
  try {
    const size = Number(new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getBigInt64(0, true))
    const packed = bytes.subarray(SIZE_BYTES)
    if (size === STORED) return packed
    requireReadable(size)
    const unpacked = decompress(packed, size)
    if (unpacked.length !== size) throw new Error(`${unpacked.length} bytes after decompression; ${size} expected`)
    return unpacked
  } catch (error) {
    if (error instanceof PenstockError) throw error
    throw new PenstockError('ARROW_INVALID', `a buffer cannot be decompressed: ${(error as Error).message}`, {}, error)
  }
}

function requireReadable(bytes: number): void {
  if (bytes >= 0 && bytes <= MAX_BUFFER_BYTES) return
  const message = `a buffer of ${bytes} bytes; at most ${MAX_BUFFER_BYTES} are read: write smaller record batches`
  throw new PenstockError('UNSUPPORTED', message)
}
