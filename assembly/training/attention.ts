/** Causal attention and its gradient; conversion between rows and heads with rotary positions. */
import { multiplyPacked, packColumns, roundUp, TILE_COLUMNS, TILE_ROWS } from './product'
import { at, exponential, maximumOf, sumOf } from './vectors'

@external("env", "log")
declare function logarithm(value: f64): f64

/** Query rows per block; fewer rows waste less work above the diagonal. */
const ATTENTION_ROWS: i32 = 48

/** Scratch memory of one head: packed k, v, q and output gradient, and two blocks of scores. */
export function attentionScratchBytes(time: i32, headWidth: i32): i32 {
  const stride = roundUp(time)
  const packed = roundUp(headWidth) * time
  const tiles = max(time, headWidth) * TILE_ROWS + TILE_ROWS * TILE_COLUMNS
  return (2 * ATTENTION_ROWS * stride + 3 * max(stride * headWidth, packed) + 2 * ATTENTION_ROWS * roundUp(headWidth) + tiles) << 2
}

/**
 * Causal attention. q, out: [batch, heads, time, headWidth]; k, v: [batch, keyHeads, time, headWidth]. A position attends
 * from the start of its document: `starts` [batch, time] as i32, rising within a row; 0 for rows of one document. Stores
 * only the logarithm of each row's sum, `logSums` [batch, heads, time], from which the gradient recomputes the
 * probabilities, so memory is linear in time.
 */
export function attention(
  batch: i32,
  heads: i32,
  keyHeads: i32,
  time: i32,
  headWidth: i32,
  q: usize,
  k: usize,
  v: usize,
  starts: usize,
  out: usize,
  logSums: usize,
  scratch: usize,
): void {
  const scale: f32 = 1 / sqrt<f32>(<f32>headWidth)
  const stride = roundUp(time)
  const area = time * headWidth
  const scores = scratch
  const keys = at(scores, ATTENTION_ROWS * stride)
  const values = at(keys, stride * headWidth)
  const tiles = at(values, roundUp(headWidth) * time)
  for (let head = 0; head < batch * heads; head++) {
    const keyHead = head / (heads / keyHeads)
    packColumns(at(k, keyHead * area), 1, headWidth, headWidth, time, keys)
    packColumns(at(v, keyHead * area), headWidth, 1, time, headWidth, values)
    for (let top = 0; top < time; top += ATTENTION_ROWS) {
      const rows = min(ATTENTION_ROWS, time - top)
      const place = head * area + top * headWidth
      const firsts: usize = starts == 0 ? 0 : at(starts, (head / heads) * time + top)
      const left = firstSeen(firsts)
      const seen = top + rows - left
      multiplyPacked(rows, seen, headWidth, at(q, place), headWidth, 1, at(keys, left * headWidth), headWidth, scores, stride, false, tiles)
      for (let row = 0; row < rows; row++) {
        const line = at(scores, row * stride)
        const end = top + row + 1 - left
        maskFuture(line, end, seen)
        maskOthers(line, firsts, row, left)
        const sum = softmaxRow(line, end, scale)
        store<f32>(at(logSums, head * time + top + row), sum)
      }
      multiplyPacked(rows, headWidth, seen, scores, stride, 1, at(values, left * TILE_COLUMNS), time, at(out, place), headWidth, false, tiles)
    }
  }
}

/** Gradients of `attention` from the gradient of its output, `dOut`; dk and dv are summed over the heads that share them. */
export function attentionGradient(
  batch: i32,
  heads: i32,
  keyHeads: i32,
  time: i32,
  headWidth: i32,
  q: usize,
  k: usize,
  v: usize,
  starts: usize,
  logSums: usize,
  dOut: usize,
  dq: usize,
  dk: usize,
  dv: usize,
  scratch: usize,
): void {
  const scale: f32 = 1 / sqrt<f32>(<f32>headWidth)
  const stride = roundUp(time)
  const area = time * headWidth
  const scores = scratch
  const slopes = at(scores, ATTENTION_ROWS * stride)
  const keysAcross = at(slopes, ATTENTION_ROWS * stride)
  const valuesAcross = at(keysAcross, stride * headWidth)
  const keysDown = at(valuesAcross, stride * headWidth)
  const queryRows = at(keysDown, roundUp(headWidth) * time)
  const outRows = at(queryRows, ATTENTION_ROWS * roundUp(headWidth))
  const tiles = at(outRows, ATTENTION_ROWS * roundUp(headWidth))
  memory.fill(dk, 0, (batch * keyHeads * area) << 2)
  memory.fill(dv, 0, (batch * keyHeads * area) << 2)
  for (let head = 0; head < batch * heads; head++) {
    const keyArea = (head / (heads / keyHeads)) * area
    packColumns(at(k, keyArea), 1, headWidth, headWidth, time, keysAcross)
    packColumns(at(v, keyArea), 1, headWidth, headWidth, time, valuesAcross)
    packColumns(at(k, keyArea), headWidth, 1, time, headWidth, keysDown)
    for (let top = 0; top < time; top += ATTENTION_ROWS) {
      const rows = min(ATTENTION_ROWS, time - top)
      const place = head * area + top * headWidth
      const firsts: usize = starts == 0 ? 0 : at(starts, (head / heads) * time + top)
      const left = firstSeen(firsts)
      const seen = top + rows - left
      const across = left * headWidth
      multiplyPacked(rows, seen, headWidth, at(q, place), headWidth, 1, at(keysAcross, across), headWidth, scores, stride, false, tiles)
      multiplyPacked(rows, seen, headWidth, at(dOut, place), headWidth, 1, at(valuesAcross, across), headWidth, slopes, stride, false, tiles)
      for (let row = 0; row < rows; row++) {
        const line = row * stride
        const end = top + row + 1 - left
        maskFuture(at(scores, line), end, seen)
        maskFuture(at(slopes, line), end, seen)
        maskOthers(at(scores, line), firsts, row, left)
        softmaxRowGradient(at(scores, line), at(slopes, line), end, scale, load<f32>(at(logSums, head * time + top + row)))
      }
      packColumns(at(q, place), headWidth, 1, rows, headWidth, queryRows)
      packColumns(at(dOut, place), headWidth, 1, rows, headWidth, outRows)
      multiplyPacked(rows, headWidth, seen, slopes, stride, 1, at(keysDown, left * TILE_COLUMNS), time, at(dq, place), headWidth, false, tiles)
      multiplyPacked(seen, headWidth, rows, slopes, 1, stride, queryRows, rows, at(dk, keyArea + across), headWidth, true, tiles)
      multiplyPacked(seen, headWidth, rows, scores, 1, stride, outRows, rows, at(dv, keyArea + across), headWidth, true, tiles)
    }
  }
}

/** First position that a block of query rows sees, rounded down to whole panels; `firsts`: document starts of its rows. */
@inline
function firstSeen(firsts: usize): i32 {
  return firsts == 0 ? 0 : load<i32>(firsts) & -TILE_COLUMNS
}

/** Masks the scores of a row before the start of its document; `line` begins at position `left`. */
@inline
function maskOthers(line: usize, firsts: usize, row: i32, left: i32): void {
  if (firsts == 0) return
  const start = load<i32>(at(firsts, row)) - left
  for (let j = 0; j < start; j++) store<f32>(at(line, j), -1e30)
}

/** Masks the scores from `count` on: -1e30 up to the end of the vector, 0 after it. */
function maskFuture(line: usize, count: i32, end: i32): void {
  const vectors = (count + 3) & ~3
  for (let j = count; j < vectors; j++) store<f32>(at(line, j), -1e30)
  if (end > vectors) memory.fill(at(line, vectors), 0, (end - vectors) << 2)
}

/** Converts scores to probabilities in place; returns the logarithm of the sum of exp(scale * score). */
function softmaxRow(line: usize, count: i32, scale: f32): f32 {
  const top = maximumOf(line, (count + 3) & ~3)
  const scales = f32x4.splat(scale)
  const tops = f32x4.splat(top)
  let sums = f32x4.splat(0)
  for (let j = 0; j < count; j += 4) {
    const value = exponential(f32x4.mul(f32x4.sub(v128.load(at(line, j)), tops), scales))
    v128.store(at(line, j), value)
    sums = f32x4.add(sums, value)
  }
  const sum = sumOf(sums)
  const shares = f32x4.splat(1 / sum)
  for (let j = 0; j < count; j += 4) v128.store(at(line, j), f32x4.mul(v128.load(at(line, j)), shares))
  return top * scale + <f32>logarithm(sum)
}

/** Converts scores to probabilities, and the gradient of the probabilities to the gradient of the scores, in place. */
function softmaxRowGradient(line: usize, slopes: usize, count: i32, scale: f32, logSum: f32): void {
  const scales = f32x4.splat(scale)
  const logSums = f32x4.splat(logSum)
  let sums = f32x4.splat(0)
  for (let j = 0; j < count; j += 4) {
    const probability = exponential(f32x4.sub(f32x4.mul(v128.load(at(line, j)), scales), logSums))
    v128.store(at(line, j), probability)
    // From `count` on the probability is 0 and the gradient -1e30.
    sums = f32x4.add(sums, f32x4.mul(probability, v128.load(at(slopes, j))))
  }
  const sum = f32x4.splat(sumOf(sums))
  for (let j = 0; j < count; j += 4) {
    const difference = f32x4.sub(v128.load(at(slopes, j)), sum)
    v128.store(at(slopes, j), f32x4.mul(f32x4.mul(v128.load(at(line, j)), difference), scales))
  }
}

/**
 * [batch, time, heads, headWidth] -> [batch, heads, time, headWidth], or back, with rotary positions: rotates the halves
 * of each head by the angles with the given cosines and sines, [time, headWidth / 2], or with `rowAngles`
 * [batch, time, headWidth / 2]; no rotation if `cosines` is 0. Rotates forward in the conversion to heads, backward in the conversion from heads.
 */
export function exchangeHeads(
  batch: i32,
  time: i32,
  heads: i32,
  headWidth: i32,
  input: usize,
  out: usize,
  cosines: usize,
  sines: usize,
  rowAngles: bool,
  toHeads: bool,
): void {
  const half = headWidth >> 1
  const direction: f32 = toHeads ? 1 : -1
  for (let sample = 0; sample < batch; sample++) {
    for (let head = 0; head < heads; head++) {
      for (let position = 0; position < time; position++) {
        const flat = ((sample * time + position) * heads + head) * headWidth
        const grouped = ((sample * heads + head) * time + position) * headWidth
        const from = at(input, toHeads ? flat : grouped)
        const to = at(out, toHeads ? grouped : flat)
        if (cosines == 0) {
          memory.copy(to, from, headWidth << 2)
        } else {
          const angle = ((rowAngles ? sample * time : 0) + position) * half
          rotate(from, to, half, at(cosines, angle), at(sines, angle), direction)
        }
      }
    }
  }
}

function rotate(from: usize, to: usize, half: i32, cosines: usize, sines: usize, direction: f32): void {
  const directions = f32x4.splat(direction)
  for (let pair = 0; pair < half; pair += 4) {
    const first = v128.load(at(from, pair))
    const second = v128.load(at(from, half + pair))
    const cosine = v128.load(at(cosines, pair))
    const sine = f32x4.mul(v128.load(at(sines, pair)), directions)
    v128.store(at(to, pair), f32x4.sub(f32x4.mul(first, cosine), f32x4.mul(second, sine)))
    v128.store(at(to, half + pair), f32x4.add(f32x4.mul(second, cosine), f32x4.mul(first, sine)))
  }
}
