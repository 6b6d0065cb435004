/**
 * Messages of Arrow IPC: the schema, dictionaries and record batches, whose metadata says where in their body each buffer is.
 * Field numbers are those of Message.fbs and Schema.fbs (arrow.apache.org/docs/format/Columnar.html).
 */
import { PenstockError } from '../../errors.js'
import { FlatTable } from './flatbuffer.js'

/** Logical types by their numbers in the schema. */
export const ArrowType = {
  null: 1,
  int: 2,
  float: 3,
  binary: 4,
  utf8: 5,
  bool: 6,
  decimal: 7,
  date: 8,
  time: 9,
  timestamp: 10,
  interval: 11,
  list: 12,
  struct: 13,
  union: 14,
  fixedBinary: 15,
  fixedList: 16,
  map: 17,
  duration: 18,
  largeBinary: 19,
  largeUtf8: 20,
  largeList: 21,
  runEndEncoded: 22,
  binaryView: 23,
  utf8View: 24,
  listView: 25,
  largeListView: 26,
} as const

export interface ArrowField {
  readonly name: string
  /** One of `ArrowType`. */
  readonly type: number
  /** Parameters of the type: bits of integers, precision of floats, unit of times, size of fixed lists, mode of unions. */
  readonly parameter: number
  readonly isSigned: boolean
  readonly children: readonly ArrowField[]
  /** Values are indices of this dictionary. */
  readonly dictionary: { readonly id: number; readonly indexBits: number; readonly isSigned: boolean } | undefined
}

/** Range of a body, in bytes. */
export interface BufferPlace {
  readonly offset: number
  readonly length: number
}

export interface BatchLayout {
  readonly rows: number
  /** Rows and nulls of each field, depth first. */
  readonly nodes: readonly { readonly rows: number; readonly nulls: number }[]
  readonly buffers: readonly BufferPlace[]
  readonly compression: 'LZ4' | 'ZSTD' | undefined
  /** Numbers of data buffers of the fields of view types, in their order. */
  readonly variadicCounts: readonly number[]
}

export type ArrowMessage = { readonly bodyBytes: number } & (
  | { readonly kind: 'schema'; readonly fields: readonly ArrowField[] }
  | { readonly kind: 'batch'; readonly layout: BatchLayout }
  | { readonly kind: 'dictionary'; readonly id: number; readonly isDelta: boolean; readonly layout: BatchLayout }
  | { readonly kind: 'other' }
)

const MAX_DEPTH = 64

/** @throws ARROW_INVALID, UNSUPPORTED */
export function parseMessage(metadata: Uint8Array): ArrowMessage {
  try {
    const message = FlatTable.root(metadata)
    const bodyBytes = message.long(3)
    if (!(bodyBytes >= 0 && Number.isSafeInteger(bodyBytes))) throw new RangeError(`a body of ${bodyBytes} bytes`)
    const header = message.table(2)
    if (header === undefined) return { kind: 'other', bodyBytes }
    switch (message.byte(1)) {
      case 1:
        return { kind: 'schema', bodyBytes, fields: fieldsOf(header) }
      case 2: {
        const data = header.table(1)
        if (data === undefined) throw new RangeError('a dictionary without data')
        return {
          kind: 'dictionary',
          bodyBytes,
          id: header.long(0),
          isDelta: header.byte(2) !== 0,
          layout: layoutOf(data, bodyBytes),
        }
      }
      case 3:
        return { kind: 'batch', bodyBytes, layout: layoutOf(header, bodyBytes) }
      default:
        return { kind: 'other', bodyBytes }
    }
  } catch (error) {
    if (error instanceof PenstockError) throw error
    throw new PenstockError('ARROW_INVALID', `metadata of a message: ${(error as Error).message}`, {}, error)
  }
}

function fieldsOf(schema: FlatTable): ArrowField[] {
  if (schema.short(0) !== 0) throw new PenstockError('UNSUPPORTED', 'Arrow data in big-endian byte order')
  return schema.tables(1).map(field => fieldOf(field, 0))
}

function fieldOf(field: FlatTable, depth: number): ArrowField {
  if (depth > MAX_DEPTH) throw new RangeError(`fields nested more than ${MAX_DEPTH} deep`)
  const type = field.byte(2)
  const details = field.table(3)
  const dictionary = field.table(4)
  const index = dictionary?.table(1)
  return {
    name: field.text(0),
    type,
    parameter: parameterOf(type, details),
    isSigned: type === ArrowType.int && details?.byte(1) !== 0,
    children: field.tables(5).map(child => fieldOf(child, depth + 1)),
    dictionary:
      dictionary === undefined
        ? undefined
        : {
            id: dictionary.long(0),
            indexBits: index?.int(0) ?? 32,
            isSigned: index === undefined || index.byte(1) !== 0,
          },
  }
}

const SHORT_PARAMETERS: ReadonlySet<number> = new Set([
  ArrowType.float,
  ArrowType.date,
  ArrowType.time,
  ArrowType.timestamp,
  ArrowType.interval,
  ArrowType.union,
  ArrowType.duration,
])

function parameterOf(type: number, details: FlatTable | undefined): number {
  if (details === undefined) return 0
  if (type === ArrowType.date) return details.hasSlot(0) ? details.short(0) : 1
  return SHORT_PARAMETERS.has(type) ? details.short(0) : details.int(0)
}

function layoutOf(batch: FlatTable, bodyBytes: number): BatchLayout {
  const rows = batch.long(0)
  const nodes = pairs(batch.longs(1, 2)).map(([count, nulls]) => ({ rows: count, nulls }))
  const buffers = pairs(batch.longs(2, 2)).map(([offset, length]) => ({ offset, length }))
  for (const count of [rows, ...nodes.map(node => node.rows)]) {
    if (!(count >= 0 && Number.isSafeInteger(count))) throw new RangeError(`${count} rows`)
  }
  for (const { offset, length } of buffers) {
    if (!(offset >= 0 && length >= 0 && offset + length <= bodyBytes)) {
      throw new RangeError(`a buffer of ${length} bytes at ${offset} in a body of ${bodyBytes}`)
    }
  }
  const codec = batch.table(3)
  if (codec !== undefined && codec.byte(0) > 1) {
    throw new PenstockError('UNSUPPORTED', `Arrow buffers in the compression ${codec.byte(0)}`)
  }
  const compression = codec === undefined ? undefined : codec.byte(0) === 0 ? 'LZ4' : 'ZSTD'
  return { rows, nodes, buffers, compression, variadicCounts: batch.longs(4) }
}

function pairs(values: readonly number[]): (readonly [number, number])[] {
  return Array.from({ length: values.length / 2 }, (_, index) => [values[2 * index]!, values[2 * index + 1]!])
}
