/**
 * Parquet's hybrid of run-length and bit-packed integers, which holds definition levels and dictionary indices.
 * Source: parquet-format, Encodings.md, "Run Length Encoding / Bit-Packing Hybrid (RLE = 3)".
 *
 * | run header (varint) | run |
 * | --- | --- |
 * | count << 1 | the value in ceil(width / 8) bytes, little-endian, `count` times |
 * | groups << 1 + 1 | groups of 8 values, `width` bits each, least significant bit first |
 */
import { PenstockError } from '../../errors.js'

/**
 * Decodes the first `count` integers.
 * @param width bits of each, 0 to 32
 * @throws PARQUET_INVALID when the bytes hold fewer
 */
export function decodeHybrid(bytes: Uint8Array, width: number, count: number): Uint32Array {
  if (width > 32) throw new PenstockError('PARQUET_INVALID', `integers of ${width} bits; at most 32 are possible`)
  const values = new Uint32Array(count)
  if (width === 0) return values
  const valueBytes = (width + 7) >> 3
  let at = 0
  for (let filled = 0; filled < count; ) {
    let header = 0
    for (let scale = 1; ; scale *= 128) {
      const byte = bytes[at++]
      if (byte === undefined || scale > 2 ** 35) throw ended(filled, count)
      header += (byte & 127) * scale
      if (byte < 128) break
    }
    if (header % 2 === 0) {
      if (at + valueBytes > bytes.length || header === 0) throw ended(filled, count)
      let value = 0
      for (let byte = valueBytes - 1; byte >= 0; byte--) value = value * 256 + bytes[at + byte]!
      at += valueBytes
      const end = Math.min(count, filled + header / 2)
      values.fill(value, filled, end)
      filled = end
    } else {
      const packed = ((header - 1) / 2) * 8
      const wanted = Math.min(count - filled, packed)
      if (at + Math.ceil((wanted * width) / 8) > bytes.length || packed === 0) throw ended(filled, count)
      unpack(bytes, at, width, values, filled, wanted)
      at += (packed * width) / 8
      filled += wanted
    }
  }
  return values
}

/** Fewer than 40 bits are kept at a time, which numbers hold exactly. */
function unpack(bytes: Uint8Array, from: number, width: number, to: Uint32Array, start: number, count: number): void {
  const scale = 2 ** width
  let buffer = 0
  let bits = 0
  let at = from
  for (let index = start; index < start + count; index++) {
    while (bits < width) {
      buffer += bytes[at++]! * 2 ** bits
      bits += 8
    }
    to[index] = buffer % scale
    buffer = Math.floor(buffer / scale)
    bits -= width
  }
}

const ended = (filled: number, count: number): PenstockError =>
  new PenstockError('PARQUET_INVALID', `a page holds ${filled} levels or indices; ${count} expected`)
