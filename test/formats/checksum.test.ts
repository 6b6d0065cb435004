import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { BlockChecksums, CHECKSUM_BLOCK_BYTES } from '#src/formats/checksum'

function checksumsOf(bytes: Uint8Array, pieceBytes = bytes.length): readonly number[] {
  const checksums = new BlockChecksums()
  for (let start = 0; start < bytes.length; start += pieceBytes) {
    checksums.update(bytes.subarray(start, start + pieceBytes))
  }
  return checksums.finish()
}

const noise = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, place) => Math.imul(place + 1, 0x9e3779b1) >>> 24)

describe('block checksums', () => {
  it('do not depend on chunk sizes', () => {
    const bytes = noise(200_003)
    for (const size of [1, 2, 3, 7, 65_536, 65_537]) expect(checksumsOf(bytes, size)).toEqual(checksumsOf(bytes))
  })

  it('continue from any state', () => {
    const bytes = noise(70_001)
    for (const cut of [0, 1, 4095, 4096, 50_000, bytes.length]) {
      const begun = new BlockChecksums()
      begun.update(bytes.subarray(0, cut))
      const next = new BlockChecksums(begun.state())
      next.update(bytes.subarray(cut))
      expect(next.finish()).toEqual(checksumsOf(bytes))
    }
  })

  it('are one per block of 16 MiB', () => {
    expect(checksumsOf(new Uint8Array(0))).toEqual([])
    expect(checksumsOf(new Uint8Array(CHECKSUM_BLOCK_BYTES))).toHaveLength(1)
    const three = new Uint8Array(2 * CHECKSUM_BLOCK_BYTES + 1)
    const before = checksumsOf(three)
    three[CHECKSUM_BLOCK_BYTES + 5] = 1
    expect(checksumsOf(three).map((checksum, block) => checksum === before[block])).toEqual([true, false, true])
  })

  it('change with any one or two flipped bits', () => {
    const bytes = noise(5000)
    const before = checksumsOf(bytes)
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), fc.nat(bytes.length * 8 - 1), (first, second) => {
        const changed = bytes.slice()
        for (const bit of new Set([first, second])) changed[bit >> 3]! ^= 1 << (bit & 7)
        expect(checksumsOf(changed)).not.toEqual(before)
      }),
      { numRuns: 3000 },
    )
  })

  // Manifests on disk contain these numbers: if they change, every existing manifest is rejected.
  it('have a golden value', () => {
    expect(checksumsOf(noise(100_000))).toEqual([518842924])
  })
})
