import { expect, it } from 'vitest'
import { rangeSizes } from '#src/workers/ranges/range-sizes'

const MIB = 1 << 20
const work = { fileBytes: 1e12, maxLineBytes: 64 * MIB, isTokenized: true, isDivisible: true }

it('gives every tokenizing worker a whole range, and the journal room for all of them', () => {
  const few = rangeSizes({ ...work, workers: 2 })
  expect(few).toMatchObject({ bytes: 2 * MIB, workers: 2, inFlight: 3, extraBytes: 0 })
  expect(rangeSizes({ ...work, workers: 16 }).bytes).toBe(4 * MIB)
  const many = rangeSizes({ ...work, workers: 144 })
  expect(many).toMatchObject({ bytes: 8 * MIB, workers: 144, inFlight: 181, extraBytes: 1416 * MIB })
})

it('makes ranges small where a file has few bytes for each worker', () => {
  const { bytes, workers } = rangeSizes({ ...work, fileBytes: 8 * MIB, workers: 4 })
  expect([bytes, workers]).toEqual([MIB / 2, 4])
  expect(rangeSizes({ ...work, fileBytes: 1000, workers: 4 }).workers).toBe(1)
})

it('bounds the bytes in flight when lines are only validated', () => {
  for (const workers of [1, 2, 15, 64]) {
    const { bytes, inFlight, extraBytes } = rangeSizes({ ...work, isTokenized: false, workers })
    expect(bytes * inFlight).toBeLessThanOrEqual(32 * MIB)
    expect(extraBytes).toBe(0)
  }
})
