/** Dictionaries of an Arrow stream: a later one with the same id replaces or extends the one before. */
import { PenstockError } from '../../errors.js'
import { type ArrowColumn, columnsOf } from '../../formats/arrow/columns.js'
import type { ArrowField, ArrowMessage, BufferPlace } from '../../formats/arrow/messages.js'
import { bytesTypeOf, type DictionaryTexts } from '../../formats/arrow/text-column.js'
import { type ArrowData, type ValueAt, valuesOf } from '../../formats/arrow/values.js'
import { concatBytes } from '../../formats/bytes.js'
import type { ArrowBody } from './arrow-stream.js'

interface Dictionary {
  readonly rows: number
  readonly values: ValueAt
  /** As `values`, but texts as they are stored. */
  readonly bytes: ValueAt
}

const NO_VALUE: ValueAt = () => null

export class ArrowDictionaries {
  /** Values of each dictionary, as a separate field. */
  private readonly fields = new Map<number, ArrowField>()
  private readonly known = new Map<number, Dictionary>()
  private readonly madeTexts = new Map<number, DictionaryTexts>()

  constructor(fields: readonly ArrowField[]) {
    const collect = (field: ArrowField): void => {
      if (field.dictionary !== undefined) this.fields.set(field.dictionary.id, { ...field, dictionary: undefined })
      field.children.forEach(collect)
    }
    fields.forEach(collect)
  }

  /** @throws ARROW_INVALID */
  async add(
    { id, isDelta, layout }: Extract<ArrowMessage, { readonly kind: 'dictionary' }>,
    body: ArrowBody,
  ): Promise<void> {
    const field = this.fields.get(id)
    // A dictionary of a column that the schema does not have.
    if (field === undefined) return
    const [column] = columnsOf([field], layout)
    const data = this.dataOf(await body.buffers(placesIn(column!)))
    const asBytes = { ...column!, field: { ...field, type: bytesTypeOf(field.type) } }
    const added: Dictionary = {
      rows: column!.rows,
      values: valuesOf(column!, data) ?? NO_VALUE,
      bytes: valuesOf(asBytes, data) ?? NO_VALUE,
    }
    const before = isDelta ? this.known.get(id) : undefined
    this.madeTexts.delete(id)
    this.known.set(id, before === undefined ? added : joined(before, added))
  }

  dataOf(buffers: ReadonlyMap<BufferPlace, Uint8Array>): ArrowData {
    return { buffer: place => buffers.get(place)!, dictionary: id => this.dictionary(id).values }
  }

  /** The values of a dictionary of texts. @throws ARROW_INVALID if it is missing */
  texts(id: number): DictionaryTexts {
    const made = this.madeTexts.get(id)
    if (made !== undefined) return made
    const { rows, bytes } = this.dictionary(id)
    const parts = Array.from({ length: rows }, (_, row) => bytes(row) as Uint8Array | null)
    const nulls = new Set(parts.flatMap((part, row) => (part === null ? [row] : [])))
    const offsets = new Uint32Array(rows + 1)
    for (const [row, part] of parts.entries()) offsets[row + 1] = offsets[row]! + (part?.length ?? 0)
    const texts = { bytes: concatBytes(parts.filter(part => part !== null)), offsets, nulls }
    this.madeTexts.set(id, texts)
    return texts
  }

  private dictionary(id: number): Dictionary {
    const found = this.known.get(id)
    if (found === undefined) throw new PenstockError('ARROW_INVALID', `dictionary ${id} is missing`)
    return found
  }
}

function joined(first: Dictionary, second: Dictionary): Dictionary {
  const join =
    (a: ValueAt, b: ValueAt): ValueAt =>
    row =>
      row < first.rows ? a(row) : b(row - first.rows)
  return {
    rows: first.rows + second.rows,
    values: join(first.values, second.values),
    bytes: join(first.bytes, second.bytes),
  }
}

/** All buffers of a column and of the columns in it. */
export function placesIn({ buffers, children }: ArrowColumn): BufferPlace[] {
  return [...buffers, ...children.flatMap(placesIn)]
}
