/**
 * Kernels of a training step, on the heap of TensorFlow.js' wasm backend: AssemblyScript with 128-bit SIMD. The module
 * imports that heap as its memory and owns none of it: every buffer, scratch included, is given by the caller as an
 * address. There are no static data and no calls out but one, so nothing of the backend's is ever overwritten.
 *
 * Matrices are row-major f32. Strides are in elements. Widths are multiples of 4, those of heads of 8; counts of rows,
 * times and products may be anything. Sums run in one fixed order: the same input gives the same bits.
 */

@external("env", "log")
declare function logarithm(value: f64): f64

/** Rows and columns of the tile that one pass over the depth computes: 12 accumulators fill the 16 registers. */
const TILE_ROWS: i32 = 6
const TILE_COLUMNS: i32 = 8
/** Depth and columns of the right matrix that are packed at once: they stay in the second-level cache. */
const BLOCK_DEPTH: i32 = 256
const BLOCK_COLUMNS: i32 = 512
/** Query rows that attention treats together; the fewer, the less above the diagonal is computed in vain. */
const ATTENTION_ROWS: i32 = 48

/** Bytes of scratch that `product` needs. */
export function productScratchBytes(): i32 {
  return (BLOCK_DEPTH * (BLOCK_COLUMNS + TILE_ROWS) + TILE_ROWS * TILE_COLUMNS) << 2
}

/** c = a b, where element (i, k) of a stands at a + i * aRow + k * aDepth, and (k, j) of b likewise: any transposition. */
export function product(
  rows: i32,
  columns: i32,
  depth: i32,
  a: usize,
  aRow: i32,
  aDepth: i32,
  b: usize,
  bDepth: i32,
  bColumn: i32,
  c: usize,
  scratch: usize,
): void {
  const panels = scratch + ((BLOCK_DEPTH * TILE_ROWS + TILE_ROWS * TILE_COLUMNS) << 2)
  for (let from = 0; from < depth; from += BLOCK_DEPTH) {
    const blockDepth = min(BLOCK_DEPTH, depth - from)
    for (let left = 0; left < columns; left += BLOCK_COLUMNS) {
      const blockColumns = min(BLOCK_COLUMNS, columns - left)
      packColumns(at(b, from * bDepth + left * bColumn), bDepth, bColumn, blockDepth, blockColumns, panels)
      const corner = at(a, from * aDepth)
      multiplyPacked(rows, blockColumns, blockDepth, corner, aRow, aDepth, panels, blockDepth, at(c, left), columns, from > 0, scratch)
    }
  }
}

/** Copies b into panels of 8 columns, each [depth, 8], the last filled up with zeros. */
function packColumns(b: usize, bDepth: i32, bColumn: i32, depth: i32, columns: i32, panels: usize): void {
  for (let left = 0; left < columns; left += TILE_COLUMNS) {
    const width = min(TILE_COLUMNS, columns - left)
    const from = at(b, left * bColumn)
    let k = 0
    if (width == TILE_COLUMNS && bColumn == 1) {
      for (; k < depth; k++) {
        const line = at(from, k * bDepth)
        v128.store(at(panels, k << 3), v128.load(line))
        v128.store(at(panels, k << 3), v128.load(line, 16), 16)
      }
    } else if (width == TILE_COLUMNS && bDepth == 1) {
      for (; k + 4 <= depth; k += 4) {
        const line = at(from, k)
        storeTransposed(line, bColumn, at(panels, k << 3), TILE_COLUMNS)
        storeTransposed(at(line, bColumn << 2), bColumn, at(panels, (k << 3) + 4), TILE_COLUMNS)
      }
    }
    for (; k < depth; k++) {
      for (let j = 0; j < TILE_COLUMNS; j++) {
        const value: f32 = j < width ? load<f32>(at(from, k * bDepth + j * bColumn)) : 0
        store<f32>(at(panels, (k << 3) + j), value)
      }
    }
    panels = at(panels, depth << 3)
  }
}

/** Copies 6 rows of a as [depth, 6]; rows that are not there are zeros. */
function packRows(a: usize, aRow: i32, aDepth: i32, depth: i32, rows: i32, panel: usize): void {
  let k = 0
  if (rows == TILE_ROWS && aRow == 1) {
    for (; k < depth; k++) {
      const line = at(a, k * aDepth)
      v128.store(panel, v128.load(line))
      store<u64>(panel, load<u64>(line, 16), 16)
      panel += TILE_ROWS << 2
    }
  } else if (rows == TILE_ROWS && aDepth == 1) {
    for (; k + 4 <= depth; k += 4) {
      const line = at(a, k)
      storeTransposed(line, aRow, panel, TILE_ROWS)
      const fifth = v128.load(at(line, aRow << 2))
      const sixth = v128.load(at(line, 5 * aRow))
      const first = v128.shuffle<f32>(fifth, sixth, 0, 4, 1, 5)
      const second = v128.shuffle<f32>(fifth, sixth, 2, 6, 3, 7)
      v128.store_lane<u64>(panel, first, 0, 16)
      v128.store_lane<u64>(panel, first, 1, 40)
      v128.store_lane<u64>(panel, second, 0, 64)
      v128.store_lane<u64>(panel, second, 1, 88)
      panel += TILE_ROWS << 4
    }
  }
  for (; k < depth; k++) {
    for (let i = 0; i < TILE_ROWS; i++) {
      store<f32>(at(panel, i), i < rows ? load<f32>(at(a, i * aRow + k * aDepth)) : 0)
    }
    panel += TILE_ROWS << 2
  }
}

/** Stores four lines of four as columns: element j of line i goes to place i of the target's line j. */
@inline
function storeTransposed(from: usize, fromStride: i32, to: usize, toStride: i32): void {
  const a = v128.load(from)
  const b = v128.load(at(from, fromStride))
  const c = v128.load(at(from, fromStride << 1))
  const d = v128.load(at(from, 3 * fromStride))
  const abLow = v128.shuffle<f32>(a, b, 0, 4, 1, 5)
  const abHigh = v128.shuffle<f32>(a, b, 2, 6, 3, 7)
  const cdLow = v128.shuffle<f32>(c, d, 0, 4, 1, 5)
  const cdHigh = v128.shuffle<f32>(c, d, 2, 6, 3, 7)
  v128.store(to, v128.shuffle<f32>(abLow, cdLow, 0, 1, 4, 5))
  v128.store(at(to, toStride), v128.shuffle<f32>(abLow, cdLow, 2, 3, 6, 7))
  v128.store(at(to, toStride << 1), v128.shuffle<f32>(abHigh, cdHigh, 0, 1, 4, 5))
  v128.store(at(to, 3 * toStride), v128.shuffle<f32>(abHigh, cdHigh, 2, 3, 6, 7))
}

/** c = a b, or c += a b, with b as `packColumns` left it; `panelDepth` is the depth it was packed with. */
function multiplyPacked(
  rows: i32,
  columns: i32,
  depth: i32,
  a: usize,
  aRow: i32,
  aDepth: i32,
  panels: usize,
  panelDepth: i32,
  c: usize,
  cRow: i32,
  accumulate: bool,
  scratch: usize,
): void {
  const corner = scratch
  const panel = scratch + ((TILE_ROWS * TILE_COLUMNS) << 2)
  for (let top = 0; top < rows; top += TILE_ROWS) {
    const height = min(TILE_ROWS, rows - top)
    packRows(at(a, top * aRow), aRow, aDepth, depth, height, panel)
    for (let left = 0; left < columns; left += TILE_COLUMNS) {
      const width = min(TILE_COLUMNS, columns - left)
      const right = at(panels, left * panelDepth)
      const target = at(c, top * cRow + left)
      if (height == TILE_ROWS && width == TILE_COLUMNS) {
        multiplyTile(panel, right, depth, target, cRow << 2, accumulate)
      } else {
        multiplyTile(panel, right, depth, corner, TILE_COLUMNS << 2, false)
        for (let i = 0; i < height; i++) {
          for (let j = 0; j < width; j++) {
            const place = at(target, i * cRow + j)
            const value = load<f32>(at(corner, i * TILE_COLUMNS + j))
            store<f32>(place, accumulate ? load<f32>(place) + value : value)
          }
        }
      }
    }
  }
}

function multiplyTile(a: usize, b: usize, depth: i32, c: usize, stride: usize, accumulate: bool): void {
  let c00 = f32x4.splat(0)
  let c01 = c00, c10 = c00, c11 = c00, c20 = c00, c21 = c00
  let c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00
  for (let k = 0; k < depth; k++) {
    const b0 = v128.load(b)
    const b1 = v128.load(b, 16)
    let left = v128.load32_splat(a)
    c00 = multiplyAdd(left, b0, c00)
    c01 = multiplyAdd(left, b1, c01)
    left = v128.load32_splat(a, 4)
    c10 = multiplyAdd(left, b0, c10)
    c11 = multiplyAdd(left, b1, c11)
    left = v128.load32_splat(a, 8)
    c20 = multiplyAdd(left, b0, c20)
    c21 = multiplyAdd(left, b1, c21)
    left = v128.load32_splat(a, 12)
    c30 = multiplyAdd(left, b0, c30)
    c31 = multiplyAdd(left, b1, c31)
    left = v128.load32_splat(a, 16)
    c40 = multiplyAdd(left, b0, c40)
    c41 = multiplyAdd(left, b1, c41)
    left = v128.load32_splat(a, 20)
    c50 = multiplyAdd(left, b0, c50)
    c51 = multiplyAdd(left, b1, c51)
    a += 24
    b += 32
  }
  storeRow(c, c00, c01, accumulate)
  storeRow((c += stride), c10, c11, accumulate)
  storeRow((c += stride), c20, c21, accumulate)
  storeRow((c += stride), c30, c31, accumulate)
  storeRow((c += stride), c40, c41, accumulate)
  storeRow((c += stride), c50, c51, accumulate)
}

@inline
function storeRow(c: usize, first: v128, second: v128, accumulate: bool): void {
  if (accumulate) {
    v128.store(c, f32x4.add(v128.load(c), first))
    v128.store(c, f32x4.add(v128.load(c, 16), second), 16)
  } else {
    v128.store(c, first)
    v128.store(c, second, 16)
  }
}

/** Fused where the module was compiled for relaxed SIMD. */
@inline
function multiplyAdd(a: v128, b: v128, c: v128): v128 {
  // @ts-ignore: a name that only the compiler's command line defines
  if (isDefined(RELAXED)) return f32x4.relaxed_madd(a, b, c)
  return f32x4.add(f32x4.mul(a, b), c)
}

/**
 * Causal attention of one head and its gradient need these: packed k, v, q and output gradient, and two blocks of scores.
 */
export function attentionScratchBytes(time: i32, headWidth: i32): i32 {
  const stride = roundUp(time)
  const packed = roundUp(headWidth) * time
  const tiles = max(time, headWidth) * TILE_ROWS + TILE_ROWS * TILE_COLUMNS
  return (2 * ATTENTION_ROWS * stride + 3 * max(stride * headWidth, packed) + 2 * ATTENTION_ROWS * roundUp(headWidth) + tiles) << 2
}

/**
 * Causal attention. q, out: [batch, heads, time, headWidth]; k, v: [batch, keyHeads, time, headWidth]. Of the
 * probabilities only the logarithm of each row's sum is kept, `logSums` [batch, heads, time]: the gradient computes them
 * again, and memory grows with time, not with its square.
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
      const seen = top + rows
      const place = head * area + top * headWidth
      multiplyPacked(rows, seen, headWidth, at(q, place), headWidth, 1, keys, headWidth, scores, stride, false, tiles)
      for (let row = 0; row < rows; row++) {
        const line = at(scores, row * stride)
        hideFuture(line, top + row + 1, seen)
        const sum = softmaxRow(line, top + row + 1, scale)
        store<f32>(at(logSums, head * time + top + row), sum)
      }
      multiplyPacked(rows, headWidth, seen, at(scores, 0), stride, 1, values, time, at(out, place), headWidth, false, tiles)
    }
  }
}

/** Gradients of `attention` from that of its output, `dOut`; dk and dv are summed over the heads that share them. */
export function attentionGradient(
  batch: i32,
  heads: i32,
  keyHeads: i32,
  time: i32,
  headWidth: i32,
  q: usize,
  k: usize,
  v: usize,
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
      const seen = top + rows
      const place = head * area + top * headWidth
      multiplyPacked(rows, seen, headWidth, at(q, place), headWidth, 1, keysAcross, headWidth, scores, stride, false, tiles)
      multiplyPacked(rows, seen, headWidth, at(dOut, place), headWidth, 1, valuesAcross, headWidth, slopes, stride, false, tiles)
      for (let row = 0; row < rows; row++) {
        const line = row * stride
        hideFuture(at(scores, line), top + row + 1, seen)
        hideFuture(at(slopes, line), top + row + 1, seen)
        softmaxRowGradient(at(scores, line), at(slopes, line), top + row + 1, scale, load<f32>(at(logSums, head * time + top + row)))
      }
      packColumns(at(q, place), headWidth, 1, rows, headWidth, queryRows)
      packColumns(at(dOut, place), headWidth, 1, rows, headWidth, outRows)
      multiplyPacked(rows, headWidth, seen, slopes, stride, 1, keysDown, time, at(dq, place), headWidth, false, tiles)
      multiplyPacked(seen, headWidth, rows, slopes, 1, stride, queryRows, rows, at(dk, keyArea), headWidth, true, tiles)
      multiplyPacked(seen, headWidth, rows, scores, 1, stride, outRows, rows, at(dv, keyArea), headWidth, true, tiles)
    }
  }
}

/** Lines of scores are padded to whole vectors: what lies beyond `count` becomes 0 behind the last vector, and a score without weight inside it. */
function hideFuture(line: usize, count: i32, end: i32): void {
  const vectors = (count + 3) & ~3
  for (let j = count; j < vectors; j++) store<f32>(at(line, j), -1e30)
  if (end > vectors) memory.fill(at(line, vectors), 0, (end - vectors) << 2)
}

/** Turns scores into probabilities; returns the logarithm of the sum of exp(scale * score). */
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

/** Scores become probabilities, and the gradient of those becomes that of the scores. */
function softmaxRowGradient(line: usize, slopes: usize, count: i32, scale: f32, logSum: f32): void {
  const scales = f32x4.splat(scale)
  const logSums = f32x4.splat(logSum)
  let sums = f32x4.splat(0)
  for (let j = 0; j < count; j += 4) {
    const probability = exponential(f32x4.sub(f32x4.mul(v128.load(at(line, j)), scales), logSums))
    v128.store(at(line, j), probability)
    // Beyond the count the probability is 0 and the slope -1e30.
    sums = f32x4.add(sums, f32x4.mul(probability, v128.load(at(slopes, j))))
  }
  const sum = f32x4.splat(sumOf(sums))
  for (let j = 0; j < count; j += 4) {
    const difference = f32x4.sub(v128.load(at(slopes, j)), sum)
    v128.store(at(slopes, j), f32x4.mul(f32x4.mul(v128.load(at(line, j)), difference), scales))
  }
}

/**
 * [batch, time, heads, headWidth] -> [batch, heads, time, headWidth], or back, turning the halves of each head's width
 * by the angles whose cosines and sines are [time, headWidth / 2]; `cosines` 0 turns nothing. Turned forward on the way
 * to heads, backward on the way from them.
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
          turn(from, to, half, at(cosines, position * half), at(sines, position * half), direction)
        }
      }
    }
  }
}

function turn(from: usize, to: usize, half: i32, cosines: usize, sines: usize, direction: f32): void {
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

function addTo(sums: usize, terms: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) {
    v128.store(at(sums, j), f32x4.add(v128.load(at(sums, j)), v128.load(at(terms, j))))
  }
}

/** Sum over the rows. */
export function sumRows(input: usize, out: usize, rows: i32, width: i32): void {
  memory.fill(out, 0, width << 2)
  for (let row = 0; row < rows; row++) addTo(out, at(input, row * width), width)
}

/**
 * (x - center) / deviation * weight + bias, by rows; the center is the mean, or 0 when not `centered`; `bias` may be 0.
 * `statistics` [rows, 2] gets center and inverse deviation.
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

/** Gradients of `normalize`; that of the bias is the sum of the rows. */
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
 * Sum of -log softmax(logits)[target] over the rows whose target is not negative. Unless `gradient` is 0 it gets the
 * gradient with respect to the logits, times `scale`.
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

/** Sum of squares, each 1,024 in f32 and those in f64. `count` may be anything. */
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
 * One AdamW update in place, of a gradient times `gradientScale`. `stepSize` and `deviationScale` carry the bias
 * corrections: learning rate / (1 - beta1^t) and 1 / sqrt(1 - beta2^t). `count` may be anything.
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

/** out = a + b; out may be one of them. */
export function add(a: usize, b: usize, out: usize, count: i32): void {
  for (let j = 0; j < count; j += 4) v128.store(at(out, j), f32x4.add(v128.load(at(a, j)), v128.load(at(b, j))))
}

/** Address of the element `index` places after `base`. */
@inline
function at(base: usize, index: i32): usize {
  return base + (<usize>index << 2)
}

/** The next multiple of a tile's columns. */
@inline
function roundUp(columns: i32): i32 {
  return (columns + TILE_COLUMNS - 1) & -TILE_COLUMNS
}

function maximumOf(line: usize, count: i32): f32 {
  let top = v128.load(line)
  for (let j = 4; j < count; j += 4) top = f32x4.max(top, v128.load(at(line, j)))
  return max(
    max(f32x4.extract_lane(top, 0), f32x4.extract_lane(top, 1)),
    max(f32x4.extract_lane(top, 2), f32x4.extract_lane(top, 3)),
  )
}

@inline
function sumOf(lanes: v128): f32 {
  const pairs = f32x4.add(lanes, v128.shuffle<f32>(lanes, lanes, 2, 3, 0, 1))
  return f32x4.extract_lane(pairs, 0) + f32x4.extract_lane(pairs, 1)
}

function sumOfLine(line: usize, width: i32): f32 {
  let sums = f32x4.splat(0)
  for (let j = 0; j < width; j += 4) sums = f32x4.add(sums, v128.load(at(line, j)))
  return sumOf(sums)
}

/** Sum of squared distances from a center. */
function spread(line: usize, center: f32, width: i32): f32 {
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
 * r, and n put into the exponent. Coefficients: Cephes, expf.c.
 */
@inline
function exponential(x: v128): v128 {
  const bounded = f32x4.min(f32x4.max(x, f32x4.splat(-87.33)), f32x4.splat(88.37))
  const n = f32x4.nearest(f32x4.mul(bounded, f32x4.splat(1.44269504)))
  const high = f32x4.sub(bounded, f32x4.mul(n, f32x4.splat(0.693359375)))
  const r = f32x4.sub(high, f32x4.mul(n, f32x4.splat(-2.12194440e-4)))
  let sum = f32x4.add(f32x4.mul(f32x4.splat(1.9875691500e-4), r), f32x4.splat(1.3981999507e-3))
  sum = f32x4.add(f32x4.mul(sum, r), f32x4.splat(8.3334519073e-3))
  sum = f32x4.add(f32x4.mul(sum, r), f32x4.splat(4.1665795894e-2))
  sum = f32x4.add(f32x4.mul(sum, r), f32x4.splat(1.6666665459e-1))
  sum = f32x4.add(f32x4.mul(sum, r), f32x4.splat(5.0000001201e-1))
  sum = f32x4.add(f32x4.add(f32x4.mul(f32x4.mul(sum, r), r), r), f32x4.splat(1))
  const power = i32x4.shl(i32x4.add(i32x4.trunc_sat_f32x4_s(n), i32x4.splat(127)), 23)
  // A NaN is not below anything: it goes through.
  return v128.andnot(f32x4.mul(sum, power), f32x4.lt(x, f32x4.splat(-87.33)))
}

@inline
function sigmoid(x: v128): v128 {
  const one = f32x4.splat(1)
  return f32x4.div(one, f32x4.add(one, exponential(f32x4.neg(x))))
}

/** (1 + erf(x / sqrt 2)) / 2 with the error function of Abramowitz and Stegun 7.1.26, off by 1.5e-7 at most. */
@inline
function normalDistribution(x: v128): v128 {
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
