/**
 * Frames between Node and a rank, over one Unix socket each. torch/penstock_torch/feed.py reads and writes the same.
 *
 * | bytes | type | meaning |
 * | --- | --- | --- |
 * | 4 | u32, little-endian | H, the length of the header |
 * | H | MessagePack map | header; its `bytes` is P |
 * | P | raw, little-endian | payload: token ids, targets or logits |
 */
import { pack } from 'msgpackr/pack'
import { unpack } from 'msgpackr/unpack'

export interface Frame {
  readonly header: Readonly<Record<string, unknown>>
  readonly payload: Uint8Array
}

const lengthBytes = 4

/** The buffers to write, in order; the payload is not copied. */
export function encodeFrame(header: Readonly<Record<string, unknown>>, payload: Uint8Array): readonly Uint8Array[] {
  const encoded = pack({ ...header, bytes: payload.byteLength })
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32LE(encoded.length)
  return payload.byteLength === 0 ? [length, encoded] : [length, encoded, payload]
}

/** Assembles frames from chunks of any size. */
export class FrameDecoder {
  #chunks: Buffer[] = []
  #size = 0
  /** Bytes needed before the next attempt to decode. */
  #needed = lengthBytes

  /** @returns the frames completed by this chunk */
  push(chunk: Buffer): readonly Frame[] {
    this.#chunks.push(chunk)
    this.#size += chunk.length
    const frames: Frame[] = []
    for (let frame = this.#next(); frame !== undefined; frame = this.#next()) {
      frames.push(frame)
    }
    return frames
  }

  #next(): Frame | undefined {
    if (this.#size < this.#needed) {
      return undefined
    }
    const bytes = this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
    this.#chunks = [bytes]
    const payloadAt = lengthBytes + bytes.readUInt32LE(0)
    this.#needed = payloadAt
    if (this.#size < payloadAt) {
      return undefined
    }
    const header = unpack(bytes.subarray(lengthBytes, payloadAt)) as Record<string, unknown>
    const end = payloadAt + Number(header.bytes)
    this.#needed = end
    if (this.#size < end) {
      return undefined
    }
    this.#chunks = end === this.#size ? [] : [bytes.subarray(end)]
    this.#size -= end
    this.#needed = lengthBytes
    return { header, payload: bytes.subarray(payloadAt, end) }
  }
}
