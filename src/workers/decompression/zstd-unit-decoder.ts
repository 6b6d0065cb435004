/**
 * The WebAssembly decoder of Zstandard, bounded: it repeats a call without end when it rejects its input, so each call is
 * counted, and it receives one header, block or checksum at a time.
 */
import { ZSTDDecoder } from 'zstddec/stream'
import { PenstockError } from '../../errors.js'
import { undecodable, ZstdFrameScanner, type ZstdUnit } from '../../formats/archives/zstd-frames.js'

/** Calls that the decoder may need for one unit; a correct one needs two or three. */
const MAX_CALLS_PER_UNIT = 16

export class ZstdUnitDecoder {
  /** Whether the last call of `next` took its unit. */
  hasTaken = false
  private readonly file: string
  private readonly output: Iterator<Uint8Array>
  private upcoming: ZstdUnit | undefined
  private current: ZstdUnit | undefined
  private calls = 0

  private constructor(file: string, decoder: ZSTDDecoder) {
    this.file = file
    this.output = decoder.decodeStreaming(this.input())
  }

  /** @param file name for errors */
  static async open(file: string): Promise<ZstdUnitDecoder> {
    const decoder = new ZSTDDecoder()
    await decoder.init()
    return new ZstdUnitDecoder(file, decoder)
  }

  /**
   * Output of one call of the decoder, possibly empty; undefined at the end.
   * @param unit taken if the output of the previous one is complete; undefined ends the input
   * @throws FILE_UNREADABLE
   */
  next(unit: ZstdUnit | undefined): Uint8Array | undefined {
    this.upcoming = unit
    this.hasTaken = false
    try {
      const { done, value } = this.output.next()
      if (done) return undefined
      if (++this.calls <= MAX_CALLS_PER_UNIT) return value
    } catch (error) {
      throw error instanceof PenstockError ? error : undecodable(this.current!, this.file, error)
    }
    throw undecodable(this.current!, this.file)
  }

  /** Frees the memory of the decoder, also in the middle of a frame. */
  close(): void {
    this.upcoming = undefined
    try {
      for (let calls = 0; calls < MAX_CALLS_PER_UNIT && !this.output.next().done; ) calls++
    } catch {
      // It reports the incomplete frame after it freed everything.
    }
  }

  /** Asked for synchronously, inside `next`. */
  private *input(): Generator<Uint8Array> {
    while (this.upcoming !== undefined) {
      this.current = this.upcoming
      this.upcoming = undefined
      this.hasTaken = true
      this.calls = 0
      yield this.current.bytes
    }
  }
}

/**
 * Decompresses in this thread; stopping early is possible.
 * @param offset of the first byte in the file
 * @throws FILE_UNREADABLE, UNSUPPORTED
 */
export async function* decodeZstd(
  file: string,
  compressed: Iterable<Uint8Array>,
  offset: number,
): AsyncGenerator<Uint8Array> {
  const scanner = new ZstdFrameScanner(file, offset)
  const decoder = await ZstdUnitDecoder.open(file)
  try {
    for (const bytes of compressed) {
      for (const unit of scanner.push(bytes)) {
        do yield decoder.next(unit)!
        while (!decoder.hasTaken)
      }
    }
    scanner.end()
    for (let rest = decoder.next(undefined); rest !== undefined; rest = decoder.next(undefined)) yield rest
  } finally {
    decoder.close()
  }
}
