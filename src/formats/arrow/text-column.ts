/** Texts of a column of a record batch, as UTF-8 bytes in windows of rows: no string is made. */
import { PenstockError } from '../../errors.js'
import type { TextPage } from '../parquet/text-pages.js'
import type { ArrowColumn } from './columns.js'
import { ArrowType as T } from './messages.js'

/** Values in one buffer: value i is bytes[offsets[i], offsets[i + 1]). */
export interface ArrowTexts {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
}

/** Texts of a dictionary, with the indices of those that are null. */
export interface DictionaryTexts extends ArrowTexts {
  readonly nulls: ReadonlySet<number>
}

/** The type of the same layout whose values are bytes, which keep what is not UTF-8. */
export const bytesTypeOf = (type: number): number =>
  type === T.utf8 ? T.binary : type === T.largeUtf8 ? T.largeBinary : type === T.utf8View ? T.binaryView : type

export const isTextType = (type: number): boolean =>
  type === T.utf8 || type === T.largeUtf8 || type === T.utf8View || isBinaryType(type)
const isBinaryType = (type: number): boolean => type === T.binary || type === T.largeBinary || type === T.binaryView

/** Which rows have a value: bit i of byte i / 8; undefined if all have. */
export type Validity = Uint8Array | undefined

export const isSet = (bits: Uint8Array, row: number): boolean => ((bits[row >> 3]! >> (row & 7)) & 1) === 1

/** @throws ARROW_INVALID for a buffer that is too short */
export function validityOf({ rows, nulls, field }: ArrowColumn, buffer: Uint8Array | undefined): Validity {
  // Writers leave the buffer empty where no value is null.
  if (nulls === 0 || buffer === undefined || buffer.length === 0) return undefined
  if (buffer.length * 8 < rows) throw tooShort(field.name)
  return buffer
}

/** Rows that are valid in the column and in the structs around it. */
export function bothValid(a: Validity, b: Validity): Validity {
  if (a === undefined || b === undefined) return a ?? b
  return a.map((byte, index) => byte & (b[index] ?? 0))
}

/**
 * Offsets of values in their data, which may exceed 32 bits.
 * @param width bytes of an offset
 * @throws ARROW_INVALID for offsets that decrease or reach past the data
 */
export function offsetsOf(
  buffer: Uint8Array,
  rows: number,
  width: 4 | 8,
  dataBytes: number,
  name: string,
): Float64Array {
  const offsets = new Float64Array(rows + 1)
  // The buffer may be empty when there are no rows.
  if (rows === 0) return offsets
  if (buffer.length < (rows + 1) * width) throw tooShort(name)
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  let previous = 0
  for (let row = 0; row <= rows; row++) {
    const low = view.getUint32(row * width, true)
    const offset = width === 4 ? low : low + view.getUint32(row * width + 4, true) * 2 ** 32
    if (offset < previous || offset > dataBytes) {
      throw new PenstockError('ARROW_INVALID', `an offset of ${offset} after ${previous} in column ${name}`)
    }
    previous = offset
    offsets[row] = offset
  }
  return offsets
}

/**
 * Views are 16 bytes a row: u32 length, then the text itself up to 12 bytes, otherwise its first four bytes, the number
 * of its buffer and its offset there.
 */
export function viewedTexts(views: Uint8Array, data: readonly Uint8Array[], from: number, to: number, name: string) {
  if (views.length < 16 * to) throw tooShort(name)
  const view = new DataView(views.buffer, views.byteOffset, views.byteLength)
  return gathered(from, to, row => {
    const at = 16 * row
    const length = view.getUint32(at, true)
    if (length <= 12) return views.subarray(at + 4, at + 4 + length)
    const [buffer, start] = [data[view.getUint32(at + 8, true)], view.getUint32(at + 12, true)]
    if (buffer === undefined || start + length > buffer.length) {
      throw new PenstockError('ARROW_INVALID', `a view outside its buffer in column ${name}`)
    }
    return buffer.subarray(start, start + length)
  })
}

/** Rows of a column of indices that are neither null themselves nor refer to a null. */
export function validIndices(
  { nulls }: DictionaryTexts,
  indexAt: (row: number) => number,
  rows: number,
  validity: Validity,
): Validity {
  if (nulls.size === 0) return validity
  const bits = validity?.slice() ?? new Uint8Array(Math.ceil(rows / 8)).fill(0xff)
  for (let row = 0; row < rows; row++) if (nulls.has(indexAt(row))) bits[row >> 3]! &= ~(1 << (row & 7))
  return bits
}

/** The texts that indices of a dictionary refer to. @param isValid other rows have no meaningful index */
export function lookedUpTexts(
  dictionary: ArrowTexts,
  indexAt: (row: number) => number,
  [from, to]: readonly [number, number],
  isValid: (row: number) => boolean,
): ArrowTexts {
  const known = dictionary.offsets.length - 1
  return gathered(from, to, row => {
    if (!isValid(row)) return NO_BYTES
    const index = indexAt(row)
    if (!(index >= 0 && index < known)) {
      throw new PenstockError('ARROW_INVALID', `index ${index} of a dictionary of ${known} values`)
    }
    return dictionary.bytes.subarray(dictionary.offsets[index], dictionary.offsets[index + 1])
  })
}

export const viewSize = (views: Uint8Array, row: number): number =>
  new DataView(views.buffer, views.byteOffset, views.byteLength).getUint32(16 * row, true)

const NO_BYTES = new Uint8Array(0)

function gathered(from: number, to: number, textAt: (row: number) => Uint8Array): ArrowTexts {
  const offsets = new Uint32Array(to - from + 1)
  for (let row = from; row < to; row++) {
    const end = offsets[row - from]! + textAt(row).length
    if (end > 0xffffffff) throw new PenstockError('ARROW_INVALID', 'the texts of a few rows exceed 4 GiB')
    offsets[row - from + 1] = end
  }
  const bytes = new Uint8Array(offsets[to - from]!)
  for (let row = from; row < to; row++) bytes.set(textAt(row), offsets[row - from])
  return { bytes, offsets }
}

/** The texts of the rows [from, to) of a batch without those that are null. */
export function withoutNulls({ bytes, offsets }: ArrowTexts, validity: Validity, from: number): TextPage {
  const rows = offsets.length - 1
  if (validity === undefined) return { bytes, offsets, rows, rowOf: undefined }
  const kept: number[] = []
  for (let row = 0; row < rows; row++) if (isSet(validity, from + row)) kept.push(row)
  if (kept.length === rows) return { bytes, offsets, rows, rowOf: undefined }
  // A null may have bytes.
  const packed = gathered(0, kept.length, index => bytes.subarray(offsets[kept[index]!], offsets[kept[index]! + 1]))
  return { ...packed, rows, rowOf: Uint32Array.from(kept) }
}

const tooShort = (name: string): PenstockError =>
  new PenstockError('ARROW_INVALID', `a buffer of column ${name} is shorter than its rows`)
