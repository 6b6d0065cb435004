/**
 * Structure of a Zstandard file (RFC 8878): splits the compressed bytes into headers, blocks and checksums without
 * decompressing them. A decoder then sees only well-formed frames, receives at most one block at a time, which bounds its
 * work, and its errors have a position.
 *
 * | part             | bytes   | content                                                                           |
 * | ---------------- | ------- | --------------------------------------------------------------------------------- |
 * | magic number     | 4       | 28 B5 2F FD; 50..5F 2A 4D 18 for a skippable frame, followed by u32 size and data |
 * | frame descriptor | 1       | bits 7-6 size of content size, 5 single segment, 3 reserved, 2 checksum, 1-0 size of dictionary id |
 * | window           | 0 or 1  | bits 7-3 exponent, 2-0 mantissa; absent with a single segment                     |
 * | dictionary id    | 0..4    | little-endian                                                                     |
 * | content size     | 0..8    | little-endian                                                                     |
 * | block            | 3 + n   | bit 0 last block, bits 2-1 type (0 raw, 1 RLE, 2 compressed), bits 23-3 size      |
 * | checksum         | 0 or 4  | low 32 bits of the content's XXH64                                                |
 */
import { PenstockError } from '../../errors.js'
import { concatBytes } from '../bytes.js'

const FRAME_MAGIC = 0xfd2fb528
const SKIPPABLE_MAGIC = 0x184d2a50
/** The longest frame header. */
const MAX_HEADER_BYTES = 18
const MAX_BLOCK_BYTES = 128 << 10
/** Default limit of all zstd decoders; memory of the decoder for the window. */
const MAX_WINDOW_BYTES = 128 << 20

/** A header, block or checksum, complete. */
export interface ZstdUnit {
  readonly kind: 'header' | 'block' | 'checksum'
  readonly bytes: Uint8Array
  /** Offset in the compressed file. */
  readonly offset: number
  /** Offset of the frame in the compressed file. */
  readonly frameOffset: number
}

export class ZstdFrameScanner {
  private readonly file: string
  private pending: Uint8Array = new Uint8Array(0)
  /** Offset of pending[0] in the compressed file. */
  private offset = 0
  /** Bytes of a skippable frame that have not arrived yet. */
  private toSkip = 0
  private frameOffset = 0
  private next: 'frame' | 'block' | 'checksum' = 'frame'
  private hasChecksum = false
  private maxBlockBytes = MAX_BLOCK_BYTES

  /**
   * @param file name for errors
   * @param offset of the first byte in the compressed file
   */
  constructor(file: string, offset = 0) {
    this.file = file
    this.offset = offset
  }

  /**
   * The units completed by a chunk. They are views of it where possible; afterwards its memory may be reused.
   * @throws FILE_UNREADABLE, UNSUPPORTED
   */
  *push(chunk: Uint8Array): Generator<ZstdUnit> {
    this.pending = this.pending.byteLength === 0 ? chunk : concatBytes([this.pending, chunk])
    for (;;) {
      if (this.toSkip > 0) {
        const skipped = Math.min(this.toSkip, this.pending.byteLength)
        this.toSkip -= skipped
        this.advance(skipped)
        if (this.toSkip > 0) return
      }
      const unit = this.nextUnit()
      if (unit !== undefined) yield unit
      else if (this.toSkip === 0) break
    }
    this.pending = this.pending.slice()
  }

  /** @throws FILE_UNREADABLE when the input ends inside a frame or contains none */
  end(): void {
    if (this.offset === 0 && this.pending.byteLength === 0) throw this.damaged('the file is empty')
    if (this.next !== 'frame' || this.toSkip > 0)
      throw this.damaged('the file ends inside this frame', this.frameOffset)
    if (this.pending.byteLength > 0) throw this.trailing()
  }

  /** The next unit, or undefined when its last bytes have not arrived yet. */
  private nextUnit(): ZstdUnit | undefined {
    switch (this.next) {
      case 'frame':
        return this.header()
      case 'block':
        return this.block()
      case 'checksum':
        if (this.pending.byteLength < 4) return undefined
        this.next = 'frame'
        return this.take('checksum', 4)
    }
  }

  private header(): ZstdUnit | undefined {
    const { pending } = this
    if (pending.byteLength < 4) return undefined
    const view = viewOf(pending)
    const magic = view.getUint32(0, true)
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      if (pending.byteLength < 8) return undefined
      this.frameOffset = this.offset
      this.toSkip = 8 + view.getUint32(4, true)
      return undefined
    }
    if (magic !== FRAME_MAGIC) throw this.trailing()
    if (pending.byteLength < 5) return undefined
    const header = frameHeaderOf(pending)
    if (pending.byteLength < header.byteLength) return undefined
    this.frameOffset = this.offset
    if (header.isReserved) throw this.damaged('a reserved bit of the frame header is set')
    if (header.dictionaryId !== 0) {
      throw this.unsupported('the frame needs a dictionary: decompress the file with zstd -D first')
    }
    const { windowBytes } = header
    if (windowBytes > MAX_WINDOW_BYTES) {
      const needed = `${Math.ceil(windowBytes / (1 << 20))} MiB`
      throw this.unsupported(
        `the frame needs a window of ${needed}, more than 128 MiB: decompress the file with zstd -d --long=31 first`,
      )
    }
    this.hasChecksum = header.hasChecksum
    this.maxBlockBytes = Math.min(MAX_BLOCK_BYTES, windowBytes)
    this.next = 'block'
    return this.take('header', header.byteLength)
  }

  private block(): ZstdUnit | undefined {
    if (this.pending.byteLength < 3) return undefined
    const { type, size, isLast, byteLength } = blockHeaderOf(this.pending)
    if (type === 3) throw this.damaged('the block has a reserved type')
    if (size > this.maxBlockBytes) throw this.damaged(`the block has ${size} bytes, more than the format allows`)
    if (this.pending.byteLength < byteLength) return undefined
    if (isLast) this.next = this.hasChecksum ? 'checksum' : 'frame'
    return this.take('block', byteLength)
  }

  private take(kind: ZstdUnit['kind'], length: number): ZstdUnit {
    const unit = { kind, bytes: this.pending.subarray(0, length), offset: this.offset, frameOffset: this.frameOffset }
    this.advance(length)
    return unit
  }

  private advance(length: number): void {
    this.offset += length
    this.pending = this.pending.subarray(length)
  }

  private trailing(): PenstockError {
    return this.damaged(
      this.offset === 0 ? 'not a Zstandard file' : 'bytes after the last Zstandard frame that are not a frame',
    )
  }

  private damaged(message: string, byteOffset = this.offset): PenstockError {
    return new PenstockError('FILE_UNREADABLE', message, { file: this.file, byteOffset })
  }

  private unsupported(message: string): PenstockError {
    return new PenstockError('UNSUPPORTED', message, { file: this.file, byteOffset: this.offset })
  }
}

/**
 * Finds where frames end from the headers of frames and blocks alone, without their content. What it does not accept is
 * left for `ZstdFrameScanner` to report.
 */
export class ZstdFrameWalker {
  /** Bytes to read at `position` for `step`. */
  static readonly READ_BYTES = MAX_HEADER_BYTES
  /** Offset in the file of the next header. */
  position: number
  /** End of the last complete frame. */
  frameEnd: number
  /** Upper bound of the content of the frame at `frameEnd`, as far as it has been followed. */
  maxContentBytes = 0
  private frame: FrameHeader | undefined

  constructor(position: number) {
    this.position = position
    this.frameEnd = position
  }

  /**
   * Follows one header.
   * @param bytes those at `position`, fewer than READ_BYTES only at the end of the file
   * @returns whether the header is that of a frame or block
   */
  step(bytes: Uint8Array): boolean {
    return this.frame === undefined ? this.stepIntoFrame(bytes) : this.stepOverBlock(bytes, this.frame)
  }

  private stepIntoFrame(bytes: Uint8Array): boolean {
    if (bytes.byteLength < 8) return false
    const magic = viewOf(bytes).getUint32(0, true)
    if ((magic & 0xfffffff0) >>> 0 === SKIPPABLE_MAGIC) {
      this.position += 8 + viewOf(bytes).getUint32(4, true)
      this.frameEnd = this.position
      return true
    }
    if (magic !== FRAME_MAGIC) return false
    this.frame = frameHeaderOf(bytes)
    this.maxContentBytes = 0
    this.position += this.frame.byteLength
    return true
  }

  private stepOverBlock(bytes: Uint8Array, frame: FrameHeader): boolean {
    if (bytes.byteLength < 3) return false
    const { type, size, isLast, byteLength } = blockHeaderOf(bytes)
    this.maxContentBytes += type === 2 ? Math.min(MAX_BLOCK_BYTES, frame.windowBytes) : size
    this.position += byteLength
    if (!isLast) return true
    this.position += frame.hasChecksum ? 4 : 0
    this.frameEnd = this.position
    this.frame = undefined
    return true
  }
}

interface FrameHeader {
  readonly byteLength: number
  readonly isReserved: boolean
  readonly dictionaryId: number
  readonly windowBytes: number
  readonly hasChecksum: boolean
}

/** @param bytes at least 5; missing ones count as 0 */
function frameHeaderOf(bytes: Uint8Array): FrameHeader {
  const descriptor = bytes[4]!
  const isSingleSegment = (descriptor & 0x20) !== 0
  const dictionaryBytes = [0, 1, 2, 4][descriptor & 3]!
  const contentSizeBytes = [isSingleSegment ? 1 : 0, 2, 4, 8][descriptor >> 6]!
  const dictionaryAt = isSingleSegment ? 5 : 6
  const contentSizeAt = dictionaryAt + dictionaryBytes
  const contentSize = littleEndian(bytes, contentSizeAt, contentSizeBytes) + (contentSizeBytes === 2 ? 256 : 0)
  return {
    byteLength: contentSizeAt + contentSizeBytes,
    isReserved: (descriptor & 0x08) !== 0,
    dictionaryId: littleEndian(bytes, dictionaryAt, dictionaryBytes),
    windowBytes: isSingleSegment ? contentSize : windowSize(bytes[5] ?? 0),
    hasChecksum: (descriptor & 0x04) !== 0,
  }
}

/** @param bytes at least 3 */
function blockHeaderOf(bytes: Uint8Array): { type: number; size: number; isLast: boolean; byteLength: number } {
  const header = littleEndian(bytes, 0, 3)
  const type = (header >> 1) & 3
  const size = header >> 3
  return { type, size, isLast: (header & 1) !== 0, byteLength: 3 + (type === 1 ? 1 : size) }
}

/** The error for a unit that a decoder rejects. */
export function undecodable({ kind, offset, frameOffset }: ZstdUnit, file: string, cause?: unknown): PenstockError {
  const message =
    kind === 'checksum'
      ? `the checksum of the Zstandard frame at byte ${frameOffset} does not match its content`
      : `a ${kind} of the Zstandard frame at byte ${frameOffset} is damaged`
  return new PenstockError('FILE_UNREADABLE', message, { file, byteOffset: offset }, cause)
}

function windowSize(descriptor: number): number {
  const base = 2 ** (10 + (descriptor >> 3))
  return base + (base / 8) * (descriptor & 7)
}

function littleEndian(bytes: Uint8Array, start: number, length: number): number {
  let value = 0
  for (let index = length - 1; index >= 0; index--) value = value * 256 + (bytes[start + index] ?? 0)
  return value
}

function viewOf({ buffer, byteOffset, byteLength }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, byteLength)
}
