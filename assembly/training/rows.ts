/** Row-wise and element-wise kernels: embeddings, norms, activations, cross-entropy. */
import { addTo, at, exponential, maximumOf, normalDistribution, sigmoid, spread, sumOf, sumOfLine } from './vectors'

@external("env", "log")
declare function logarithm(value: f64): f64

/** out[i] = table[ids[i]] */
export function embed(table: usize, ids: usize, out: usize, count: i32, width: i32): void {
  for (let i = 0; i < count; i++) memory.copy(at(out, i * width), at(table, load<i32>(at(ids, i)) * width), width << 2)
}

/** table[ids[i]] += gradient[i], from zeros. */
export function embedGradient(gradient: usize, ids: usize, table: usize, count: i32, width: i32, rows: i32): void {
  memory.fill(table, 0, (rows * width) << 2)
  for (let i = 0; i < count; i++) {
    addTo(at(table, load<i32>(at(ids, i)) * width), at(gradient, i * width), width)
  }
}

/** Sum over the rows. */
export function sumRows(input: usize, out: usize, rows: i32, width: i32): void {
  memory.fill(out, 0, width << 2)
  for (let row = 0; row < rows; row++) addTo(out, at(input, row * width), width)
}

/**
 * (x - center) / deviation * weight + bias, by rows; the center is the mean, or 0 unless `centered`; `bias` 0 means none.
 * Stores center and inverse deviation in `statistics` [rows, 2].
 */
export function normalize(
  input: usize,
  weight: usize,
  bias: usize,
  out: usize,
  statistics: usize,
  rows: i32,
  width: i32,
  eps: f32,
  centered: bool,
): void {
  for (let row = 0; row < rows; row++) {
    const from = at(input, row * width)
    const to = at(out, row * width)
    const center: f32 = centered ? sumOfLine(from, width) / <f32>width : 0
    const inverse: f32 = 1 / sqrt<f32>(spread(from, center, width) / <f32>width + eps)
    store<f32>(at(statistics, 2 * row), center)
    store<f32>(at(statistics, 2 * row + 1), inverse)
    const centers = f32x4.splat(center)
    const inverses = f32x4.splat(inverse)
    for (let j = 0; j < width; j += 4) {
      const normal = f32x4.mul(f32x4.sub(v128.load(at(from, j)), centers), inverses)
      const scaled = f32x4.mul(normal, v128.load(at(weight, j)))
      v128.store(at(to, j), bias == 0 ? scaled : f32x4.add(scaled, v128.load(at(bias, j))))
    }
  }
}

/** Gradients of `normalize` except that of the bias, which is the sum of the rows. */
export function normalizeGradient(
  gradient: usize,
  input: usize,
  weight: usize,
  statistics: usize,
  dInput: usize,
  dWeight: usize,
  rows: i32,
  width: i32,
  centered: bool,
): void {
  memory.fill(dWeight, 0, width << 2)
  for (let row = 0; row < rows; row++) {
    const from = at(input, row * width)
    const upstream = at(gradient, row * width)
    const to = at(dInput, row * width)
    const centers = f32x4.splat(load<f32>(at(statistics, 2 * row)))
    const inverses = f32x4.splat(load<f32>(at(statistics, 2 * row + 1)))
    let along = f32x4.splat(0)
    let total = f32x4.splat(0)
    for (let j = 0; j < width; j += 4) {
      const normal = f32x4.mul(f32x4.sub(v128.load(at(from, j)), centers), inverses)
      const slope = v128.load(at(upstream, j))
      const scaled = f32x4.mul(slope, v128.load(at(weight, j)))
      along = f32x4.add(along, f32x4.mul(scaled, normal))
      total = f32x4.add(total, scaled)
      v128.store(at(dWeight, j), f32x4.add(v128.load(at(dWeight, j)), f32x4.mul(slope, normal)))
    }
    const alongs = f32x4.splat(sumOf(along) / <f32>width)
    const means = f32x4.splat(centered ? sumOf(total) / <f32>width : 0)
    for (let j = 0; j < width; j += 4) {
      const normal = f32x4.mul(f32x4.sub(v128.load(at(from, j)), centers), inverses)
      const scaled = f32x4.mul(v128.load(at(upstream, j)), v128.load(at(weight, j)))
      const difference = f32x4.sub(f32x4.sub(scaled, means), f32x4.mul(normal, alongs))
      v128.store(at(to, j), f32x4.mul(difference, inverses))
    }
  }
}

/** silu(gate) * up */
export function swiglu(gate: usize, up: usize, out: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) {
    const value = v128.load(at(gate, j))
    v128.store(at(out, j), f32x4.mul(f32x4.mul(value, sigmoid(value)), v128.load(at(up, j))))
  }
}

export function swigluGradient(gradient: usize, gate: usize, up: usize, dGate: usize, dUp: usize, count: i32): void {
  const one = f32x4.splat(1)
  for (let j = 0; j < count; j += 4) {
    const upstream = v128.load(at(gradient, j))
    const value = v128.load(at(gate, j))
    const share = sigmoid(value)
    const silu = f32x4.mul(value, share)
    const slope = f32x4.add(share, f32x4.mul(silu, f32x4.sub(one, share)))
    v128.store(at(dGate, j), f32x4.mul(f32x4.mul(upstream, v128.load(at(up, j))), slope))
    v128.store(at(dUp, j), f32x4.mul(upstream, silu))
  }
}

/** x times the probability that a standard normal variable is below x. */
export function gelu(input: usize, out: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) {
    const value = v128.load(at(input, j))
    v128.store(at(out, j), f32x4.mul(value, normalDistribution(value)))
  }
}

export function geluGradient(gradient: usize, input: usize, out: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) {
    const value = v128.load(at(input, j))
    const bell = exponential(f32x4.mul(f32x4.mul(value, value), f32x4.splat(-0.5)))
    const density = f32x4.mul(bell, f32x4.splat(0.3989422804))
    const slope = f32x4.add(normalDistribution(value), f32x4.mul(value, density))
    v128.store(at(out, j), f32x4.mul(v128.load(at(gradient, j)), slope))
  }
}

/**
 * Sum of -log softmax(logits)[target] over the rows with a nonnegative target. Stores the gradient with respect to the
 * logits, times `scale`, in `gradient` unless that is 0.
 */
export function crossEntropy(logits: usize, targets: usize, gradient: usize, rows: i32, width: i32, scale: f32): f64 {
  let loss: f64 = 0
  for (let row = 0; row < rows; row++) {
    const line = at(logits, row * width)
    const target = load<i32>(at(targets, row))
    const to: usize = gradient == 0 ? <usize>0 : at(gradient, row * width)
    if (target < 0) {
      if (to != 0) memory.fill(to, 0, width << 2)
    } else {
      loss += crossEntropyRow(line, target, to, width, scale)
    }
  }
  return loss
}

function crossEntropyRow(line: usize, target: i32, to: usize, width: i32, scale: f32): f64 {
  const top = maximumOf(line, width)
  const tops = f32x4.splat(top)
  let sums = f32x4.splat(0)
  for (let j = 0; j < width; j += 4) {
    const value = exponential(f32x4.sub(v128.load(at(line, j)), tops))
    if (to != 0) v128.store(at(to, j), value)
    sums = f32x4.add(sums, value)
  }
  const sum = sumOf(sums)
  if (to != 0) {
    const shares = f32x4.splat(scale / sum)
    for (let j = 0; j < width; j += 4) v128.store(at(to, j), f32x4.mul(v128.load(at(to, j)), shares))
    store<f32>(at(to, target), load<f32>(at(to, target)) - scale)
  }
  return logarithm(sum) + <f64>top - <f64>load<f32>(at(line, target))
}

/** out = a + b; out may alias a or b. */
export function add(a: usize, b: usize, out: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) v128.store(at(out, j), f32x4.add(v128.load(at(a, j)), v128.load(at(b, j))))
}
