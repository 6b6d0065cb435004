/** Matrix products with any transposition: both operands are packed for a tile that fills the registers. */
import { at, multiplyAdd } from './vectors'

/** Size of the tile computed per pass over the depth: its 12 accumulators fill the 16 registers. */
export const TILE_ROWS: i32 = 6
export const TILE_COLUMNS: i32 = 8
/** Depth and columns of the packed block of the right matrix, which stays in the L2 cache. */
const BLOCK_DEPTH: i32 = 256
const BLOCK_COLUMNS: i32 = 512

/** Bytes of scratch that `product` needs. */
export function productScratchBytes(): i32 {
  return (BLOCK_DEPTH * (BLOCK_COLUMNS + TILE_ROWS) + TILE_ROWS * TILE_COLUMNS) << 2
}

/** c = a b. Element (i, k) of a is at a + i * aRow + k * aDepth, and (k, j) of b likewise, for any transposition. */
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

/** Copies b into panels of 8 columns, each [depth, 8], the last padded with zeros. */
export function packColumns(b: usize, bDepth: i32, bColumn: i32, depth: i32, columns: i32, panels: usize): void {
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

/** Copies 6 rows of a as [depth, 6]; missing rows are zeros. */
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

/** Transposes a 4 x 4 block. */
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

/** c = a b, or c += a b, with b packed by `packColumns`; `panelDepth` is the depth it was packed with. */
export function multiplyPacked(
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

/** Rounds up to a multiple of a tile's columns. */
@inline
export function roundUp(columns: i32): i32 {
  return (columns + TILE_COLUMNS - 1) & -TILE_COLUMNS
}
