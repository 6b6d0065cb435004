/** Builders of compressed files with many independent parts, which command-line tools rarely write. */
import { deflateRawSync } from 'node:zlib'
import { crc32 } from '#src/formats/crc32'

function* partsOf(text: Uint8Array, size: number): Generator<Uint8Array> {
  for (let start = 0; start < text.length; start += size) yield text.subarray(start, start + size)
}

/** Zstandard frames of `frameBytes` bytes of text each, in blocks that are not compressed. */
export function zstdFrames(text: Uint8Array, frameBytes: number): Buffer {
  const frames = [...partsOf(text, frameBytes)].map(content => {
    const blocks = [...partsOf(content, 100_000)].map((block, index, all) => {
      const header = (block.length << 3) | (index === all.length - 1 ? 1 : 0)
      return Buffer.concat([Buffer.from([header & 255, (header >> 8) & 255, header >> 16]), block])
    })
    // A window of 128 KiB, no content size, no checksum.
    return Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]), ...blocks])
  })
  return Buffer.concat(frames)
}

/** BGZF members of `memberBytes` bytes of text each, at most 60,000, and the empty member at the end. */
export function bgzf(text: Uint8Array, memberBytes: number): Buffer {
  const members = [...partsOf(text, memberBytes), new Uint8Array(0)].map(content => {
    const deflated = deflateRawSync(content)
    const header = Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, 6, 0, 0x42, 0x43, 2, 0, 0, 0])
    header.writeUInt16LE(header.length + deflated.length + 7, 16)
    const trailer = Buffer.alloc(8)
    trailer.writeUInt32LE(crc32(content))
    trailer.writeUInt32LE(content.length, 4)
    return Buffer.concat([header, deflated, trailer])
  })
  return Buffer.concat(members)
}
