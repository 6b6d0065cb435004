/** Structure of Zstandard files at any chunk size. */
import { expect, test } from 'vitest'
import { ZstdFrameScanner } from '#src/formats/archives/zstd-frames'

/** A frame of one raw block of five bytes: magic number, single segment with a content size, block header, content. */
const FRAME = [0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0, ...Buffer.from('text\n')]

test.each([1, 2, 3, 7, 64])('chunks of %i bytes in memory that is reused give the same units', chunkBytes => {
  const file = Uint8Array.from([...FRAME, ...FRAME])
  const scanner = new ZstdFrameScanner('a.zst')
  const memory = new Uint8Array(chunkBytes)
  const units: number[] = []
  for (let at = 0; at < file.length; at += chunkBytes) {
    const chunk = file.subarray(at, at + chunkBytes)
    memory.set(chunk)
    for (const { bytes } of scanner.push(memory.subarray(0, chunk.length))) units.push(...bytes)
    memory.fill(0xff)
  }
  scanner.end()
  expect(units).toEqual([...file])
})
