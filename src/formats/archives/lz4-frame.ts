/**
 * Decompresses LZ4 frames.
 *
 * | bytes | content |
 * | --- | --- |
 * | 4 | magic 04 22 4d 18 |
 * | 1 | flags: version (2 bits), independent blocks, block checksums, content size, content checksum, 0, dictionary id |
 * | 1 | maximum block size |
 * | 0 or 8, 0 or 4, 1 | content size, dictionary id, header checksum |
 * | 4 + n, repeated | size of a block (high bit: not compressed), the block, its checksum if flagged; a size of 0 ends the frame |
 *
 * A block is a list of sequences: literals, then a match of at least 4 bytes in the last 64 KiB of output. Source:
 * github.com/lz4/lz4/blob/dev/doc, lz4_Frame_format.md and lz4_Block_format.md. Checksums are not verified.
 */
const MAGIC = 0x184d2204
/** Of so few bytes a loop is faster than a call. */
const SHORT = 32
const UNCOMPRESSED = 0x80000000

/** @returns exactly `size` bytes. Throws an Error on damaged input. */
export function decompressLz4Frame(bytes: Uint8Array, size: number): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.getUint32(0, true) !== MAGIC) throw new Error('not an LZ4 frame')
  const flags = view.getUint8(4)
  if (flags >> 6 !== 1) throw new Error('an LZ4 frame of another version')
  const blockChecksum = flags & 0x10 ? 4 : 0
  let at = 7 + (flags & 8 ? 8 : 0) + (flags & 1 ? 4 : 0)
  const out = new Uint8Array(size)
  let done = 0
  for (;;) {
    const header = view.getUint32(at, true)
    at += 4
    if (header === 0) break
    const length = header & ~UNCOMPRESSED
    const block = bytes.subarray(at, at + length)
    if (block.length < length) throw new Error('an LZ4 block is cut off')
    if (header >>> 31 === 0) done = decompressBlock(block, out, done)
    else {
      out.set(block, done)
      done += length
    }
    at += length + blockChecksum
  }
  if (done !== size) throw new Error(`${done} bytes after decompression; ${size} expected`)
  return out
}

/** Appends to `out` at `start`; matches reach back into what is there. @returns the new end */
function decompressBlock(block: Uint8Array, out: Uint8Array, start: number): number {
  let [at, to] = [0, start]
  const length = (nibble: number): number => {
    if (nibble < 15) return nibble
    let sum = 15
    for (;;) {
      const byte = block[at++]
      if (byte === undefined) throw new Error('an LZ4 block is cut off')
      sum += byte
      if (byte < 255) return sum
    }
  }
  while (at < block.length) {
    const token = block[at++]!
    const literals = length(token >> 4)
    if (at + literals > block.length || to + literals > out.length)
      throw new Error('an LZ4 block has too many literals')
    if (literals > SHORT) out.set(block.subarray(at, at + literals), to)
    else for (let index = 0; index < literals; index++) out[to + index] = block[at + index]!
    at += literals
    to += literals
    // The last sequence has no match.
    if (at === block.length) break
    const distance = block[at]! | (block[at + 1]! << 8)
    at += 2
    const matched = length(token & 15) + 4
    const from = to - distance
    if (distance === 0 || from < 0 || to + matched > out.length) throw new Error('an LZ4 match is outside the output')
    if (matched > SHORT && distance >= matched) out.copyWithin(to, from, from + matched)
    else for (let index = 0; index < matched; index++) out[to + index] = out[from + index]!
    to += matched
  }
  return to
}
