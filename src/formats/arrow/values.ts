/** Values of Arrow columns as JSON values, for filters that see a row as a record. */
import { PenstockError } from '../../errors.js'
import { fromFloat16 } from '../half-floats.js'
import type { ArrowColumn } from './columns.js'
import { type BufferPlace, ArrowType as T } from './messages.js'
import { isSet, offsetsOf, validityOf, viewedTexts } from './text-column.js'

export type ValueAt = (row: number) => unknown

/** Buffers of a batch by their places, and the values of dictionaries by their ids. */
export interface ArrowData {
  buffer(place: BufferPlace): Uint8Array
  dictionary(id: number): ValueAt
}

const decoder = new TextDecoder()

/**
 * Reads the values of a column. 64-bit integers are bigints, times of day and durations integers in their unit, points in
 * time Dates, binary values bytes.
 * @returns undefined for a type without a JSON value: decimals, intervals, unions, run-end encoding, list views
 * @throws ARROW_INVALID
 */
export function valuesOf(column: ArrowColumn, data: ArrowData): ValueAt | undefined {
  const { field, buffers } = column
  if (field.type === T.null && field.dictionary === undefined) return () => null
  const values = field.dictionary === undefined ? plainValues(column, data) : dictionaryValues(column, data)
  if (values === undefined) return undefined
  const validity = validityOf(column, buffers[0] && data.buffer(buffers[0]))
  return validity === undefined ? values : row => (isSet(validity, row) ? values(row) : null)
}

function dictionaryValues({ field, buffers }: ArrowColumn, data: ArrowData): ValueAt {
  const { id, indexBits, isSigned } = field.dictionary!
  const valueAt = data.dictionary(id)
  const indexAt = integersIn(data.buffer(buffers[1]!), indexBits, isSigned)
  return row => valueAt(Number(indexAt(row)))
}

function plainValues(column: ArrowColumn, data: ArrowData): ValueAt | undefined {
  const { type, parameter, isSigned } = column.field
  const bytes = (): Uint8Array => data.buffer(column.buffers[1]!)
  switch (type) {
    case T.int:
      return integersIn(bytes(), parameter, isSigned)
    case T.float:
      return floatsIn(bytes(), parameter)
    case T.bool: {
      const bits = bytes()
      return row => isSet(bits, row)
    }
    case T.time:
      // Seconds and milliseconds have 32 bits, finer units 64.
      return integersIn(bytes(), parameter < 2 ? 32 : 64, true)
    case T.duration:
      return integersIn(bytes(), 64, true)
    case T.date:
    case T.timestamp:
      return datesIn(bytes(), type, parameter)
    case T.utf8:
    case T.largeUtf8:
    case T.utf8View:
      return textsIn(column, data, text => decoder.decode(text))
    case T.binary:
    case T.largeBinary:
    case T.binaryView:
      return textsIn(column, data, text => text)
    case T.fixedBinary: {
      const all = bytes()
      return row => all.subarray(row * parameter, (row + 1) * parameter)
    }
    case T.struct:
      return structValues(column, data)
    case T.list:
    case T.largeList:
    case T.map:
      return listValues(column, data, type === T.largeList ? 8 : 4)
    case T.fixedList: {
      const item = valuesOf(column.children[0]!, data)
      return item && (row => Array.from({ length: parameter }, (_, index) => item(row * parameter + index)))
    }
    default:
      return undefined
  }
}

function structValues({ children }: ArrowColumn, data: ArrowData): ValueAt {
  const readers = children.flatMap(child => {
    const values = valuesOf(child, data)
    return values === undefined ? [] : [[child.field.name, values] as const]
  })
  return row => Object.fromEntries(readers.map(([name, values]) => [name, values(row)]))
}

function listValues(
  { rows, buffers, children, field }: ArrowColumn,
  data: ArrowData,
  width: 4 | 8,
): ValueAt | undefined {
  const [child] = children
  const item = child && valuesOf(child, data)
  if (item === undefined) return undefined
  const offsets = offsetsOf(data.buffer(buffers[1]!), rows, width, child!.rows, field.name)
  return row => {
    const start = offsets[row]!
    return Array.from({ length: offsets[row + 1]! - start }, (_, index) => item(start + index))
  }
}

function textsIn(column: ArrowColumn, data: ArrowData, convert: (text: Uint8Array) => unknown): ValueAt {
  const { field, rows, buffers } = column
  const [first, ...others] = buffers.slice(1).map(place => data.buffer(place))
  if (field.type === T.utf8View || field.type === T.binaryView) {
    return row => convert(viewedTexts(first!, others, row, row + 1, field.name).bytes)
  }
  const width = field.type === T.largeUtf8 || field.type === T.largeBinary ? 8 : 4
  const offsets = offsetsOf(first!, rows, width, others[0]!.length, field.name)
  return row => convert(others[0]!.subarray(offsets[row], offsets[row + 1]))
}

/** @throws ARROW_INVALID for a width that integers do not have; the reader throws a RangeError outside the buffer */
export function integersIn(bytes: Uint8Array, bits: number, isSigned: boolean): (row: number) => number | bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  switch (bits) {
    case 8:
      return row => (isSigned ? view.getInt8(row) : view.getUint8(row))
    case 16:
      return row => (isSigned ? view.getInt16(2 * row, true) : view.getUint16(2 * row, true))
    case 32:
      return row => (isSigned ? view.getInt32(4 * row, true) : view.getUint32(4 * row, true))
    case 64:
      return row => (isSigned ? view.getBigInt64(8 * row, true) : view.getBigUint64(8 * row, true))
    default:
      throw new PenstockError('ARROW_INVALID', `integers of ${bits} bits`)
  }
}

/** @param precision 0 half, 1 single, 2 double */
function floatsIn(bytes: Uint8Array, precision: number): ValueAt {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (precision === 0) return row => fromFloat16(Uint16Array.of(view.getUint16(2 * row, true)))[0]
  return precision === 1 ? row => view.getFloat32(4 * row, true) : row => view.getFloat64(8 * row, true)
}

const MS_PER_DAY = 86_400_000
/** Of the units second, millisecond, microsecond and nanosecond. */
const MS_PER_UNIT = [1000, 1, 1e-3, 1e-6]

/** @param unit of a date: 0 days in 32 bits, 1 milliseconds; of a timestamp: an index of `MS_PER_UNIT` */
function datesIn(bytes: Uint8Array, type: number, unit: number): ValueAt {
  const isDays = type === T.date && unit === 0
  const counts = integersIn(bytes, isDays ? 32 : 64, true)
  const factor = isDays ? MS_PER_DAY : type === T.date ? 1 : MS_PER_UNIT[unit]!
  return row => new Date(Number(counts(row)) * factor)
}
