/**
 * Normal random numbers from uniform ones by the inverse distribution function (Wichura, algorithm AS 241, PPND7: a relative
 * error of 1e-7). Composed of exactly rounded operations in a fixed order only, so that another language gives the same bits;
 * torch/penstock_torch/initial_weights.py is that one. Math.log would differ.
 */

/** @param uniform unsigned 32-bit integer, taken as (uniform + 1/2) / 2^32 */
export function normalOf(uniform: number): number {
  const probability = (uniform + 0.5) / 0x1_0000_0000
  const q = probability - 0.5
  if (Math.abs(q) <= 0.425) {
    const r = 0.180625 - q * q
    const numerator = ((r * 59.10937472 + 159.29113202) * r + 50.434271938) * r + 3.3871327179
    const denominator = ((r * 67.1875636 + 78.757757664) * r + 17.895169469) * r + 1
    return (q * numerator) / denominator
  }
  const tail = q < 0 ? probability : 1 - probability
  const r = Math.sqrt(-logarithm(tail)) - 1.6
  const numerator = ((r * 0.17023821103 + 1.3067284816) * r + 2.75681539) * r + 1.4234372777
  const denominator = (r * 0.12021132975 + 0.7370016425) * r + 1
  return q < 0 ? -(numerator / denominator) : numerator / denominator
}

/** Natural logarithm of a number in (0, 1/2): of the power of two by a constant, of the rest by the series of atanh. */
function logarithm(value: number): number {
  let [mantissa, exponent] = [value, 0]
  while (mantissa < 0.5) {
    mantissa *= 2
    exponent--
  }
  const s = (mantissa - 1) / (mantissa + 1)
  const t = s * s
  const series = ((((((t / 15 + 1 / 13) * t + 1 / 11) * t + 1 / 9) * t + 1 / 7) * t + 1 / 5) * t + 1 / 3) * t + 1
  return exponent * Math.LN2 + 2 * s * series
}
