import { describe, expect, test } from 'vitest'
import { normalOf } from '#src/sampling/normal'
import { philox } from '#src/sampling/philox'

describe('philox', () => {
  // The known answers of Random123, the authors' own implementation. Other numbers would change every initial weight.
  test.each([
    [[0, 0, 0, 0], [0, 0], '6627e8d5 e169c58d bc57ac4c 9b00dbd8'],
    [[0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff], [0xffffffff, 0xffffffff], '408f276d 41c83b0e a20bc7c6 6d5451fd'],
    [[0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0], 'd16cfe09 94fdcceb 5001e420 24126ea1'],
  ])('has the numbers of its authors for the counter %j', (counter, key, expected) => {
    const numbers = new Uint32Array(4)
    philox(Uint32Array.from(counter), Uint32Array.from(key), numbers)
    expect([...numbers].map(number => number.toString(16).padStart(8, '0')).join(' ')).toBe(expected)
  })
})

// Quantiles of the normal distribution from published tables.
test.each([
  [0.975, 1.959963985],
  [0.9, 1.281551566],
  [0.5, 0],
  [0.25, -0.67448975],
  [1e-4, -3.719016485],
  [1e-9, -5.997807015],
])('the normal number of probability %d is its quantile', (probability, quantile) => {
  expect(normalOf(probability * 2 ** 32 - 0.5)).toBeCloseTo(quantile, 5)
})
