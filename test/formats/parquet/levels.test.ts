import { expect, it } from 'vitest'
import { decodeHybrid } from '#src/formats/parquet/levels'

it('decodes run-length and bit-packed runs, as the example of the format has them', () => {
  // Encodings.md: the numbers 0 to 7 in 3 bits are 10001000 11000110 11111010.
  expect([...decodeHybrid(Uint8Array.of(3, 0b10001000, 0b11000110, 0b11111010), 3, 8)]).toEqual([
    0, 1, 2, 3, 4, 5, 6, 7,
  ])
  expect([...decodeHybrid(Uint8Array.of(10, 1, 3, 0b10001000, 0b11000110, 0b11111010), 3, 8)]).toEqual([
    1, 1, 1, 1, 1, 0, 1, 2,
  ])
})

it('decodes every width', () => {
  for (let width = 1; width <= 32; width++) {
    const values = Array.from({ length: 16 }, (_, index) => (index * 2654435761) % 2 ** width)
    const bits = values.map(value => [...value.toString(2).padStart(width, '0')].reverse().join('')).join('')
    const bytes = bits.match(/.{8}/g)!.map(byte => Number.parseInt([...byte].reverse().join(''), 2))
    expect([...decodeHybrid(Uint8Array.of(5, ...bytes), width, 16)], `width ${width}`).toEqual(values)
  }
})

it('rejects bytes that end early and counts of nothing', () => {
  for (const bytes of [[], [3, 1], [10], [0, 1], [1], [255, 255, 255, 255, 255, 255, 255]]) {
    expect(() => decodeHybrid(Uint8Array.from(bytes), 3, 8)).toThrow(
      expect.objectContaining({ code: 'PARQUET_INVALID' }),
    )
  }
})
