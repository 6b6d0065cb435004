/** Texts of one column of a record batch, at a path through structs, in any encoding. */
import { PenstockError } from '../../errors.js'
import type { ArrowColumn } from '../../formats/arrow/columns.js'
import { ArrowType, type BufferPlace } from '../../formats/arrow/messages.js'
import {
  type ArrowTexts,
  bothValid,
  isSet,
  lookedUpTexts,
  offsetsOf,
  type Validity,
  validIndices,
  validityOf,
  viewedTexts,
  viewSize,
} from '../../formats/arrow/text-column.js'
import { integersIn } from '../../formats/arrow/values.js'
import type { ArrowDictionaries } from './arrow-dictionaries.js'
import type { ArrowBody } from './arrow-stream.js'

export interface ArrowTextSource {
  readonly validity: Validity
  /** Bytes of the text of a row of the batch. */
  readonly sizeOf: (row: number) => number
  /** Texts of the rows [from, to), those of nulls included. To be called in the order of the rows. */
  readonly read: (from: number, to: number) => Promise<ArrowTexts>
}

/** @param path names an existing column of texts. @throws ARROW_INVALID */
export async function openArrowTexts(
  columns: readonly ArrowColumn[],
  path: readonly string[],
  body: ArrowBody,
  dictionaries: ArrowDictionaries,
): Promise<ArrowTextSource> {
  const way: ArrowColumn[] = []
  for (const name of path) way.push((way.at(-1)?.children ?? columns).find(({ field }) => field.name === name)!)
  const column = way.at(-1)!
  const data = column.buffers.at(-1)!
  // Data in front of which all offsets are known can be read in parts.
  const isInParts = isPlain(column) && !body.isCompressed
  const places = [...way.flatMap(({ buffers }) => buffers.slice(0, 1)), ...column.buffers.slice(1)]
  const buffers = await body.buffers(isInParts ? places.filter(place => place !== data) : places)
  const validity = way
    .map(part => validityOf(part, buffers.get(part.buffers[0]!)))
    .reduce((all, bits) => bothValid(all, bits))
  if (column.field.dictionary !== undefined) return indexedTexts(column, validity, buffers, dictionaries)
  if (!isPlain(column)) return viewTexts(column, validity, buffers)
  const { field, rows } = column
  const width = field.type === ArrowType.largeUtf8 || field.type === ArrowType.largeBinary ? 8 : 4
  const whole = isInParts ? undefined : buffers.get(data)!
  const offsets = offsetsOf(buffers.get(column.buffers[1]!)!, rows, width, whole?.length ?? data.length, field.name)
  const bytesAt = async (start: number, end: number): Promise<Uint8Array> =>
    whole?.subarray(start, end) ?? body.bytes({ offset: data.offset + start, length: end - start })
  return {
    validity,
    sizeOf: row => offsets[row + 1]! - offsets[row]!,
    read: async (from, to) => ({
      bytes: await bytesAt(offsets[from]!, offsets[to]!),
      offsets: Uint32Array.from(offsets.subarray(from, to + 1), offset => offset - offsets[from]!),
    }),
  }
}

const isPlain = ({ field: { type, dictionary } }: ArrowColumn): boolean =>
  dictionary === undefined && type !== ArrowType.utf8View && type !== ArrowType.binaryView

type Buffers = ReadonlyMap<BufferPlace, Uint8Array>

function viewTexts({ field, buffers, rows }: ArrowColumn, validity: Validity, found: Buffers): ArrowTextSource {
  const [views, ...data] = buffers.slice(1).map(place => found.get(place)!)
  if (views!.length < 16 * rows) throw new PenstockError('ARROW_INVALID', `too few views in column ${field.name}`)
  return {
    validity,
    sizeOf: row => viewSize(views!, row),
    read: async (from, to) => viewedTexts(views!, data, from, to, field.name),
  }
}

function indexedTexts(
  { field, buffers, rows }: ArrowColumn,
  given: Validity,
  found: Buffers,
  dictionaries: ArrowDictionaries,
): ArrowTextSource {
  const { id, indexBits, isSigned } = field.dictionary!
  const texts = dictionaries.texts(id)
  const integers = integersIn(found.get(buffers[1]!)!, indexBits, isSigned)
  const indexAt = (row: number): number => Number(integers(row))
  const validity = validIndices(texts, indexAt, rows, given)
  const isValid = (row: number): boolean => validity === undefined || isSet(validity, row)
  return {
    validity,
    sizeOf: row => (isValid(row) ? (texts.offsets[indexAt(row) + 1] ?? 0) - (texts.offsets[indexAt(row)] ?? 0) : 0),
    read: async (from, to) => lookedUpTexts(texts, indexAt, [from, to], isValid),
  }
}
