/**
 * AdamW update of the weights. Compiled twice: with the other kernels, for tensors, and separately, for memory shared by
 * threads.
 */
import { addTo, at, spread } from './vectors'

/** Sum of squares, accumulated in f32 per 1,024 values and in f64 over those. Any `count`. */
export function squaredNorm(values: usize, count: i32): f64 {
  let sum: f64 = 0
  const whole = count & ~3
  for (let from = 0; from < whole; from += 1024) {
    const to = min(from + 1024, whole)
    sum += <f64>spread(at(values, from), 0, to - from)
  }
  for (let j = whole; j < count; j++) sum += <f64>load<f32>(at(values, j)) * <f64>load<f32>(at(values, j))
  return sum
}

/**
 * One AdamW update in place, of a gradient times `gradientScale`. `stepSize` and `deviationScale` include the
 * bias corrections: learning rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). Any `count`.
 */
export function adamW(
  weight: usize,
  mean: usize,
  variance: usize,
  gradient: usize,
  count: i32,
  gradientScale: f32,
  beta1: f32,
  beta2: f32,
  stepSize: f32,
  deviationScale: f32,
  eps: f32,
  decay: f32,
): void {
  const whole = count & ~3
  for (let j = 0; j < whole; j += 4) {
    const slope = f32x4.mul(v128.load(at(gradient, j)), f32x4.splat(gradientScale))
    const first = f32x4.add(f32x4.mul(v128.load(at(mean, j)), f32x4.splat(beta1)), f32x4.mul(slope, f32x4.splat(1 - beta1)))
    const square = f32x4.mul(slope, slope)
    const second = f32x4.add(f32x4.mul(v128.load(at(variance, j)), f32x4.splat(beta2)), f32x4.mul(square, f32x4.splat(1 - beta2)))
    const deviation = f32x4.add(f32x4.mul(f32x4.sqrt(second), f32x4.splat(deviationScale)), f32x4.splat(eps))
    const change = f32x4.mul(f32x4.div(first, deviation), f32x4.splat(stepSize))
    v128.store(at(weight, j), f32x4.sub(f32x4.mul(v128.load(at(weight, j)), f32x4.splat(decay)), change))
    v128.store(at(mean, j), first)
    v128.store(at(variance, j), second)
  }
  for (let j = whole; j < count; j++) {
    const slope = load<f32>(at(gradient, j)) * gradientScale
    const first = load<f32>(at(mean, j)) * beta1 + slope * (1 - beta1)
    const second = load<f32>(at(variance, j)) * beta2 + slope * slope * (1 - beta2)
    const change = (first / (sqrt<f32>(second) * deviationScale + eps)) * stepSize
    store<f32>(at(weight, j), load<f32>(at(weight, j)) * decay - change)
    store<f32>(at(mean, j), first)
    store<f32>(at(variance, j), second)
  }
}

/** sums += terms; `count` is a multiple of 4. */
export function accumulate(sums: usize, terms: usize, count: i32): void {
  addTo(sums, terms, count)
}
