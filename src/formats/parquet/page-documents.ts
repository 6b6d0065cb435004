/** Pages of a text column -> documents, with a fault for each row that has no valid text. */
import { type Documents, joinDocuments } from '../documents.js'
import type { RecordFault } from '../extract.js'
import type { TextPage } from './text-pages.js'

/** The place of a page in its file. */
export interface PagePlace {
  readonly file: string
  /** As users write it, such as `.text`. */
  readonly column: string
  /** The part of the file that holds the page, such as `row group 3`. */
  readonly part: string
  /** Row of the file that the page begins with, from 0; messages count rows from 1, as lines. */
  readonly firstRow: number
}

/**
 * @param isUtf8 whether bytes are valid UTF-8
 * @returns the valid texts with their rows in the file, and the faults in the order of the rows
 */
export function pageDocuments(
  page: TextPage,
  place: PagePlace,
  isUtf8: (bytes: Uint8Array) => boolean,
): { readonly documents: Documents; readonly faults: readonly RecordFault[] } {
  const { bytes, offsets, rowOf } = page
  const rows = Uint32Array.from(
    { length: offsets.length - 1 },
    (_, index) => place.firstRow + (rowOf === undefined ? index : rowOf[index]!),
  )
  const faults = nullFaults(page, place)
  if (areUtf8(bytes, offsets, isUtf8)) return { documents: { bytes, offsets, rows }, faults }
  const isValid = (index: number): boolean => isUtf8(bytes.subarray(offsets[index], offsets[index + 1]))
  const valid = [...rows.keys()].filter(isValid)
  const invalid = [...rows.keys()].filter(index => !isValid(index))
  faults.push(
    ...invalid.map(index => ({
      ...faultAt(place, rows[index]!, bytes.slice(offsets[index], offsets[index + 1])),
      code: 'UTF8_INVALID' as const,
      message: `${place.column} is not valid UTF-8 (${place.part})`,
    })),
  )
  const parts = valid.map(index => ({
    bytes: bytes.subarray(offsets[index], offsets[index + 1]),
    offsets: Uint32Array.of(0, offsets[index + 1]! - offsets[index]!),
    rows: rows.subarray(index, index + 1),
  }))
  return { documents: joinDocuments(parts), faults: faults.toSorted((a, b) => a.line - b.line) }
}

/** Texts that are valid together are valid alone where none begins inside a character. */
function areUtf8(bytes: Uint8Array, offsets: Uint32Array, isUtf8: (bytes: Uint8Array) => boolean): boolean {
  for (const offset of offsets) if ((bytes[offset]! & 0xc0) === 0x80) return false
  return isUtf8(bytes.subarray(0, offsets.at(-1)))
}

function nullFaults({ rows, rowOf }: TextPage, place: PagePlace): RecordFault[] {
  if (rowOf === undefined) return []
  const faults: RecordFault[] = []
  let next = 0
  for (let row = 0; row < rows; row++) {
    if (rowOf[next] === row) next++
    else {
      faults.push({
        ...faultAt(place, place.firstRow + row, new Uint8Array(0)),
        code: 'FIELD_MISSING',
        message: `${place.column} is null (${place.part})`,
      })
    }
  }
  return faults
}

function faultAt({ file }: PagePlace, row: number, record: Uint8Array) {
  return { file, line: row + 1, byteOffset: 0, record }
}
