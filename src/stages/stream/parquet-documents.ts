/**
 * Documents of a Parquet file. A plain path such as `.text` or `.doc.text` is read page by page into UTF-8 bytes, other
 * columns untouched; any other filter sees each row as a JSON record. Memory is that of one page and one batch, or of a
 * window of rows for filters.
 */
import { isUtf8 } from 'node:buffer'
import { PenstockError } from '../../errors.js'
import { decompressorOf } from '../../files/decompress-page.js'
import { ParquetFile, type TextColumn } from '../../files/parquet-file.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { type Documents, documentBatch, joinDocuments } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { compileJq } from '../../formats/jq.js'
import { pageDocuments } from '../../formats/parquet/page-documents.js'
import { TextPageDecoder } from '../../formats/parquet/text-pages.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { openTextExtractor } from '../extract-text.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'

/** Smaller pages are joined: a batch costs a task in a worker. */
const MIN_BATCH_BYTES = 256 << 10
/** Rows that a filter sees at a time: they are objects meanwhile. */
const WINDOW_ROWS = 1000

/** Rows [first, end) of a file; the end is also that of a row group. */
interface Rows {
  readonly first: number
  readonly end: number
}

interface Part {
  readonly documents: DocumentBatch
  readonly faults: readonly RecordFault[]
  /** The next row of the file, from 0: where to resume. */
  readonly row: number
  readonly bytesRead: number
}

export async function* parquetDocuments({ path, field, from, to, signal }: ReadRequest): AsyncGenerator<FileDocuments> {
  const file = await ParquetFile.open(path, signal)
  try {
    const column = columnOf(file, field)
    const { row: first } = (from as { row: number } | undefined) ?? { row: 0 }
    const parts =
      column?.chunks === undefined
        ? filteredRows(file, field, column, { first, end: to ?? file.rows })
        : columnTexts(file, column as DirectColumn, { first, end: to ?? file.rows })
    for await (const { row, ...part } of parts) {
      await file.check()
      yield { ...part, position: { row } }
    }
    await file.check(true)
  } finally {
    await file.close()
  }
}

type DirectColumn = Required<{ readonly [Key in keyof TextColumn]: NonNullable<TextColumn[Key]> }>

/** The column that a filter names; undefined for a filter that computes. @throws FIELD_MISSING, FIELD_NOT_TEXT */
function columnOf(file: ParquetFile, field: string): TextColumn | undefined {
  const path = compileJq(field)?.path
  if (path === undefined || path.some(part => typeof part === 'number')) return undefined
  return file.textColumn(path as string[])
}

async function* columnTexts(
  file: ParquetFile,
  { maxDefinition, chunks, path }: DirectColumn,
  { first: from, end: to }: Rows,
): AsyncGenerator<Part> {
  const column = `.${path.join('.')}`
  let pending: Documents[] = []
  let faults: RecordFault[] = []
  let row = 0
  let bytesRead = 0
  const take = (): Part => {
    const part = { documents: documentBatch(joinDocuments(pending), file.path, 0), faults, row, bytesRead }
    pending = []
    faults = []
    return part
  }
  for (const chunk of chunks) {
    const end = chunk.firstRow + chunk.rows
    if (chunk.firstRow >= to) break
    if (end <= from) {
      row = end
      continue
    }
    const decoder = new TextPageDecoder(maxDefinition, decompressorOf(chunk.codec))
    for await (const { header, body } of file.pages(chunk)) {
      bytesRead += header.headerBytes + header.pageBytes
      const isData = header.kind === 'data' || header.kind === 'data-v2'
      if (isData && row + header.values <= from) {
        row += header.values
        continue
      }
      const page = decoder.decode(header, body)
      if (page === undefined) continue
      const place = { file: file.path, column, part: `row group ${chunk.group}`, firstRow: row }
      const found = pageDocuments(page, place, isUtf8)
      faults.push(...found.faults)
      pending.push({ ...found.documents, bytes: found.documents.bytes.slice() })
      row += page.rows
      if (pending.reduce((sum, { bytes }) => sum + bytes.byteLength, 0) < MIN_BATCH_BYTES) continue
      yield take()
    }
    if (row !== end) {
      const message = `row group ${chunk.group} has ${chunk.rows} rows, its pages ${row - chunk.firstRow}`
      throw new PenstockError('PARQUET_INVALID', message, { file: file.path })
    }
  }
  if (pending.length > 0) yield take()
}

/** Rows as records: for filters that compute, and for columns that only hyparquet reads. */
async function* filteredRows(
  file: ParquetFile,
  field: string,
  column: TextColumn | undefined,
  { first, end }: Rows,
): AsyncGenerator<Part> {
  const extractor = await openTextExtractor(field)
  const columns = column === undefined ? undefined : [column.path[0]!]
  const bytesPerRow = file.size / Math.max(1, file.rows)
  try {
    for (let row = first; row < end; ) {
      const records = await file.records(row, Math.min(end, row + WINDOW_ROWS), columns)
      const found = await extractor.extract(rowsAsLines(records, file.path, row, 0))
      row += records.length
      yield { ...found, row, bytesRead: row * bytesPerRow }
    }
  } finally {
    await extractor.close()
  }
}
