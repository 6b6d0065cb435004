/**
 * Chunks of a shuffled data set: the documents of each file that belong to a chunk, and the chunk's shuffle seed.
 * The first `documents % chunks` chunks of a file hold one document more than the others.
 */
import { PenstockError } from '../errors.js'

/** Documents [start, end) of one file that belong to a chunk. */
export function chunkRange(documents: number, chunkCount: number, chunk: number): { start: number; end: number } {
  if (!Number.isSafeInteger(chunk) || chunk < 0 || chunk >= chunkCount) {
    throw new PenstockError('OPTION_INVALID', `chunk ${chunk} of ${chunkCount}; expected 0 to ${chunkCount - 1}`)
  }
  const size = Math.floor(documents / chunkCount)
  const larger = documents % chunkCount
  const start = chunk * size + Math.min(chunk, larger)
  return { start, end: start + size + (chunk < larger ? 1 : 0) }
}

/**
 * The seed of a chunk as in Modalities: the SHA-256 digests of the decimal texts of the parts, as big-endian integers, summed
 * modulo 2^32 - 1. Since 2^32 = 1 modulo 2^32 - 1, that is the sum of all 32-bit words of the digests.
 */
export function chunkSeed(globalSeed: number | bigint, chunk: number, sha256: (text: string) => Uint8Array): number {
  let sum = 0
  for (const part of [globalSeed, chunk]) {
    const digest = sha256(String(part))
    const view = new DataView(digest.buffer, digest.byteOffset, digest.byteLength)
    for (let offset = 0; offset < digest.byteLength; offset += 4) sum += view.getUint32(offset)
  }
  return sum % 0xffffffff
}
