/** Shared by the kernels: addresses, vector sums, and SIMD functions of four numbers. */

/** Address of element `index` of the array at `base`. */
@inline
export function at(base: usize, index: i32): usize {
  return base + (<usize>index << 2)
}

/** Fused if the module was compiled for relaxed SIMD. */
@inline
export function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  // @ts-ignore: defined only on the compiler's command line
  if (isDefined(RELAXED)) return f32x4.relaxed_madd(a, b, c)
  return f32x4.add(f32x4.mul(a, b), c)
}

export function addTo(sums: usize, terms: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) {
    v128.store(at(sums, j), f32x4.add(v128.load(at(sums, j)), v128.load(at(terms, j))))
  }
}

export function maximumOf(line: usize, count: i32): f32 {
  let top = v128.load(line)
  for (let j = 4; j < count; j += 4) top = f32x4.pmax(top, v128.load(at(line, j)))
  return max(
    max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  )
}

@inline
export function sumOf(lanes: v128): f32 {
  const pairs = f32x4.add(lanes, v128.shuffle<f32>(lanes, lanes, 2, 3, 0, 1))
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1)
}

export function sumOfLine(line: usize, width: i32): f32 {
  let sums = f32x4.splat(0)
  for (let j = 0; j < width; j += 4) sums = f32x4.add(sums, v128.load(at(line, j)))
  return sumOf(sums)
}

/** Sum of squared distances from a center. */
export function spread(line: usize, center: f32, width: i32): f32 {
  const centers = f32x4.splat(center)
  let sums = f32x4.splat(0)
  for (let j = 0; j < width; j += 4) {
    const distance = f32x4.sub(v128.load(at(line, j)), centers)
    sums = f32x4.add(sums, f32x4.mul(distance, distance))
  }
  return sumOf(sums)
}

/**
 * e^x to about one unit in the last place, 0 below -87.33, where f32 ends: x = n log 2 + r, a polynomial of degree 6 for
 * r, and n added to the exponent. Adding 1.5 * 2^23 rounds to an integer, in the lowest bits of the sum. Coefficients:
 * Cephes, expf.c. NaN propagates, because pmin and pmax (one instruction each) then keep their first operand.
 */
@inline
export function exponential(x: v128): v128 {
  const rounder = f32x4.splat(12582912)
  const bounded = f32x4.pmax(f32x4.pmin(x, f32x4.splat(88.37)), f32x4.splat(-87.33))
  const shifted = multiplyAdd(bounded, f32x4.splat(1.44269504), rounder)
  const n = f32x4.sub(shifted, rounder)
  const high = multiplyAdd(n, f32x4.splat(-0.693359375), bounded)
  const r = multiplyAdd(n, f32x4.splat(2.12194440e-4), high)
  let sum = multiplyAdd(f32x4.splat(1.9875691500e-4), r, f32x4.splat(1.3981999507e-3))
  sum = multiplyAdd(sum, r, f32x4.splat(8.3334519073e-3))
  sum = multiplyAdd(sum, r, f32x4.splat(4.1665795894e-2))
  sum = multiplyAdd(sum, r, f32x4.splat(1.6666665459e-1))
  sum = multiplyAdd(sum, r, f32x4.splat(5.0000001201e-1))
  sum = f32x4.add(multiplyAdd(f32x4.mul(sum, r), r, r), f32x4.splat(1))
  const power = i32x4.add(i32x4.shl(shifted, 23), f32x4.splat(1))
  return v128.andnot(f32x4.mul(sum, power), f32x4.lt(x, f32x4.splat(-87.33)))
}

@inline
export function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1)
  return f32x4.div(one, f32x4.add(one, exponential(f32x4.neg(x))))
}

/** (1 + erf(x / sqrt 2)) / 2 with the error function of Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most. */
@inline
export function normalDistribution(x: v128): v128 {
  const one = f32x4.splat(1)
  const z = f32x4.mul(f32x4.abs(x), f32x4.splat(0.7071067812))
  const t = f32x4.div(one, f32x4.add(one, f32x4.mul(z, f32x4.splat(0.3275911))))
  let sum = f32x4.add(f32x4.mul(f32x4.splat(1.061405429), t), f32x4.splat(-1.453152027))
  sum = f32x4.add(f32x4.mul(sum, t), f32x4.splat(1.421413741))
  sum = f32x4.add(f32x4.mul(sum, t), f32x4.splat(-0.284496736))
  sum = f32x4.add(f32x4.mul(sum, t), f32x4.splat(0.254829592))
  const tail = f32x4.mul(f32x4.mul(f32x4.mul(sum, t), exponential(f32x4.neg(f32x4.mul(z, z)))), f32x4.splat(0.5))
  return v128.bitselect(tail, f32x4.sub(one, tail), f32x4.lt(x, f32x4.splat(0)))
}
