/** Assigns the nodes and buffers of a record batch to the fields of its schema. */
import { PenstockError } from '../../errors.js'
import { type ArrowField, type BatchLayout, type BufferPlace, ArrowType as T } from './messages.js'

/** A field in one record batch. */
export interface ArrowColumn {
  readonly field: ArrowField
  readonly rows: number
  readonly nulls: number
  /** Validity first, where the type has one. */
  readonly buffers: readonly BufferPlace[]
  readonly children: readonly ArrowColumn[]
}

/** Numbers of buffers of each type without those of children; of view types without their data. */
const BUFFERS: Readonly<Record<number, number>> = {
  [T.null]: 0,
  [T.binary]: 3,
  [T.utf8]: 3,
  [T.largeBinary]: 3,
  [T.largeUtf8]: 3,
  [T.struct]: 1,
  [T.fixedList]: 1,
  [T.runEndEncoded]: 0,
  [T.listView]: 3,
  [T.largeListView]: 3,
}
const DENSE_UNION = 1

/** @throws ARROW_INVALID if the batch does not match the fields */
export function columnsOf(fields: readonly ArrowField[], layout: BatchLayout): ArrowColumn[] {
  let [node, buffer, view] = [0, 0, 0]
  const columnOf = (field: ArrowField): ArrowColumn => {
    const counts = layout.nodes[node++]
    const isIndex = field.dictionary !== undefined
    const isView = !isIndex && (field.type === T.utf8View || field.type === T.binaryView)
    const count = isIndex ? 2 : bufferCount(field) + (isView ? (layout.variadicCounts[view++] ?? 0) : 0)
    const buffers = layout.buffers.slice(buffer, buffer + count)
    buffer += count
    if (counts === undefined || buffers.length !== count) {
      throw new PenstockError('ARROW_INVALID', `a record batch has too few buffers for the column ${field.name}`)
    }
    return { field, ...counts, buffers, children: isIndex ? [] : field.children.map(columnOf) }
  }
  return fields.map(columnOf)
}

function bufferCount({ type, parameter }: ArrowField): number {
  return type === T.union ? (parameter === DENSE_UNION ? 2 : 1) : (BUFFERS[type] ?? 2)
}
