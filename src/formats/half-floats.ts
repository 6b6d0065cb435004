/**
 * Conversion between float32 and the two 16-bit types of exported models, rounding to nearest, ties to even, as torch does:
 *
 * | type | sign | exponent | mantissa |
 * | --- | --- | --- | --- |
 * | bfloat16 | 1 | 8 | 7: the upper half of a float32 |
 * | float16 | 1 | 5 | 10: IEEE 754 binary16 |
 */

export function toBfloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(values.length)
  for (let index = 0; index < bits.length; index++) {
    const word = bits[index]!
    const isNotANumber = (word & 0x7fffffff) > 0x7f800000
    halves[index] = isNotANumber ? (word >>> 16) | 0x40 : (word + 0x7fff + ((word >>> 16) & 1)) >>> 16
  }
  return halves
}

export function fromBfloat16(halves: Uint16Array): Float32Array {
  const bits = new Uint32Array(halves.length)
  for (let index = 0; index < bits.length; index++) bits[index] = halves[index]! << 16
  return new Float32Array(bits.buffer)
}

/** Values beyond 65,504 become infinite. */
export function toFloat16(values: Float32Array): Uint16Array {
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length)
  const halves = new Uint16Array(values.length)
  for (let index = 0; index < bits.length; index++) {
    const sign = (bits[index]! >>> 16) & 0x8000
    halves[index] = sign | halfOfMagnitude(bits[index]! & 0x7fffffff)
  }
  return halves
}

function halfOfMagnitude(bits: number): number {
  if (bits > 0x7f800000) return 0x7e00
  // 65,520 and above round to infinity.
  if (bits >= 0x477ff000) return 0x7c00
  if (bits >= 0x38800000) {
    const rounded = bits + 0xfff + ((bits >>> 13) & 1)
    return (rounded - 0x38000000) >>> 13
  }
  // Below 2^-14 float16 is subnormal: a multiple of 2^-24.
  if (bits < 0x33000000) return 0
  const shift = 126 - (bits >>> 23)
  const mantissa = (bits & 0x7fffff) | 0x800000
  const quotient = mantissa >>> shift
  const rest = mantissa & ((1 << shift) - 1)
  const half = 1 << (shift - 1)
  return quotient + (rest > half || (rest === half && quotient % 2 === 1) ? 1 : 0)
}

export function fromFloat16(halves: Uint16Array): Float32Array {
  const values = new Float32Array(halves.length)
  for (let index = 0; index < values.length; index++) values[index] = valueOfHalf(halves[index]!)
  return values
}

function valueOfHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const exponent = (half >>> 10) & 0x1f
  const mantissa = half & 0x3ff
  if (exponent === 0x1f) return mantissa === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25))
}
