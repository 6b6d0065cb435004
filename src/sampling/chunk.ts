/**
 * Chunks of a shuffled data set: which documents of each file belong to a chunk, and the seed it is shuffled with.
 * The first documents % chunks chunks of a file hold one document more than the others.
 */
import { PenstockError } from '../errors.js'

/** Documents [start, end) of one file that belong to a chunk. */
export function chunkRange(documents: number, chunkCount: number, chunk: number): { start: number; end: number } {
  if (!Number.isSafeInteger(chunk) || chunk < 0 || chunk >= chunkCount) {
    throw new PenstockError(
      'OPTION_INVALID',
      `chunk ${chunk} of ${chunkCount}; expected one from 0 to ${chunkCount - 1}`,
    )
  }
  const size = Math.floor(documents / chunkCount)
  const larger = documents % chunkCount
  const start = chunk * size + Math.min(chunk, larger)
  return { start, end: start + size + (chunk < larger ? 1 : 0) }
}

/**
 * The reference's seed of a chunk: the SHA-256 of the parts' decimal texts as big-endian integers, summed, modulo 2^32 - 1.
 * As 2^32 leaves the remainder 1, that is the sum of all 32-bit words of the digests.
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
