import { describe, expect, test } from 'vitest'
import { fromBfloat16, fromFloat16, toBfloat16, toFloat16 } from '#src/formats/half-floats'

const all = Uint16Array.from({ length: 65_536 }, (_, index) => index)

describe.each([
  ['bfloat16', toBfloat16, fromBfloat16, 0x7f80],
  ['float16', toFloat16, fromFloat16, 0x7c00],
] as const)('%s', (_, encode, decode, infinity) => {
  const isNumber = (half: number) => (half & 0x7fff) <= infinity

  test('every value survives a round trip', () => {
    const back = encode(decode(all))
    for (const half of all) {
      if (isNumber(half)) expect(back[half]).toBe(half)
      else expect(back[half]! & 0x7fff).toBeGreaterThan(infinity)
    }
  })

  test('the middle of two values rounds to the even one, and what is beside it to the nearer one', () => {
    const values = decode(all)
    for (let half = 0; half < infinity - 1; half++) {
      const [low, high] = [values[half]!, values[half + 1]!]
      const middle = (low + high) / 2
      const even = half % 2 === 0 ? half : half + 1
      expect(encode(Float32Array.of(middle))[0]).toBe(even)
      const near = Float32Array.of(middle - (high - low) / 8, middle + (high - low) / 8, -middle)
      expect([...encode(near)]).toEqual([half, half + 1, even | 0x8000])
    }
  })

  test('too large values become infinite', () => {
    expect([...encode(Float32Array.of(3.4028234e38, Number.NEGATIVE_INFINITY))]).toEqual([infinity, infinity | 0x8000])
  })
})

test('known values have the bits that torch gives them', () => {
  const values = Float32Array.of(1, -2, 0.1, 65_519, 65_520, 5.96e-8, 1e-10, 3.14159)
  expect([...toFloat16(values)]).toEqual([0x3c00, 0xc000, 0x2e66, 0x7bff, 0x7c00, 0x0001, 0x0000, 0x4248])
  expect([...toBfloat16(Float32Array.of(1, -2, 0.1, 3.14159))]).toEqual([0x3f80, 0xc000, 0x3dcd, 0x4049])
})
