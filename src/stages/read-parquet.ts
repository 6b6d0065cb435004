/**
 * Source of the text of a column of a Parquet file. A plain path such as `.text` or `.doc.text` is read page by page into
 * UTF-8 bytes, other columns untouched; any other filter sees each row as a JSON record. Memory is that of one page and
 * one batch, or of a window of rows for filters.
 */
import { isUtf8 } from 'node:buffer'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { openDecompressor } from '../files/decompress-page.js'
import { ParquetFile, type TextColumn } from '../files/parquet-file.js'
import { regularCheck } from '../files/source-file.js'
import type { DocumentBatch } from '../formats/batches.js'
import { compileJq } from '../formats/jq.js'
import { type Documents, documentBatch, joinDocuments, pageDocuments } from '../formats/parquet/page-documents.js'
import { rowsAsLines } from '../formats/parquet/row-lines.js'
import { TextPageDecoder } from '../formats/parquet/text-pages.js'
import { fieldOption, openTextExtractor } from './extract-text.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type SourceStage, type StageContext, source } from './stream/stage.js'
import { defineStage, fileOf, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

/** Smaller pages are joined: a batch costs a task in a worker. */
const MIN_BATCH_BYTES = 256 << 10
/** Rows that a filter sees at a time: they are objects meanwhile. */
const WINDOW_ROWS = 1000

const readParquetOptions = z
  .strictObject({
    path: z.string().min(1).describe('the .parquet file'),
    field: fieldOption.describe('the text of a row, as a jq filter such as .text or .doc.text'),
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ReadParquetOptions = z.input<typeof readParquetOptions>

export const readParquetStage = defineStage({
  name: 'read-parquet',
  summary: 'texts of a column of a Parquet file',
  emits: 'documents',
  options: readParquetOptions,
  resumable: true,
  create: readParquet,
  reads: fileOf,
  writes: quarantineOf,
})

/** @throws FILE_MISSING, FILE_UNREADABLE, FILE_CHANGED, PARQUET_INVALID, FIELD_MISSING, FIELD_NOT_TEXT, UTF8_INVALID */
export function readParquet(options: ReadParquetOptions): SourceStage<DocumentBatch> {
  const checked = parseOptions(readParquetOptions, options, 'read-parquet')
  return source('read-parquet', context =>
    withFaultHandler(new FaultHandler(checked, 'read-parquet', context), async function* (faults) {
      const file = await ParquetFile.open(checked.path)
      try {
        const column = columnOf(file, checked.field)
        context.stats.counts.totalBytes = uncompressedBytes(file, column)
        const check = regularCheck(file.path, file.handle, file.stats)
        const documents =
          column?.chunks === undefined
            ? filteredRows(file, checked.field, column, faults, context)
            : columnTexts(file, column as DirectColumn, faults, context)
        for await (const batch of documents) {
          await check()
          yield batch
        }
        await check(true)
      } finally {
        await file.close()
      }
    }),
  )
}

type DirectColumn = Required<{ readonly [Key in keyof TextColumn]: NonNullable<TextColumn[Key]> }>

/** The column that a filter names; undefined for a filter that computes. @throws FIELD_MISSING, FIELD_NOT_TEXT */
function columnOf(file: ParquetFile, field: string): TextColumn | undefined {
  const path = compileJq(field)?.path
  if (path === undefined || path.some(part => typeof part === 'number')) return undefined
  return file.textColumn(path as string[])
}

function uncompressedBytes(file: ParquetFile, column: TextColumn | undefined): number {
  const name = column?.path.join('\n')
  const columns = file.metadata.row_groups.flatMap(group => group.columns)
  const wanted = columns.filter(
    ({ meta_data: facts }) => name === undefined || facts?.path_in_schema.join('\n') === name,
  )
  return wanted.reduce((sum, { meta_data: facts }) => sum + Number(facts?.total_uncompressed_size ?? 0), 0)
}

/** Where to resume: the next row of the file, from 0. */
interface ParquetCursor {
  readonly row: number
}

async function* columnTexts(
  file: ParquetFile,
  { maxDefinition, chunks, path }: DirectColumn,
  faults: FaultHandler,
  { journal }: StageContext,
): AsyncGenerator<DocumentBatch> {
  const { row: from } = journal?.cursor<ParquetCursor>() ?? { row: 0 }
  const column = `.${path.join('.')}`
  let pending: Documents[] = []
  let number = 0
  let row = 0
  const batchOf = (parts: readonly Documents[]): DocumentBatch => {
    const batch = documentBatch(joinDocuments(parts), file.path, number++)
    return { ...batch, mark: journal?.markAfter(batch.byteLength, () => ({ row }) satisfies ParquetCursor) }
  }
  for (const chunk of chunks) {
    const end = chunk.firstRow + chunk.rows
    if (end <= from) {
      row = end
      continue
    }
    const decoder = new TextPageDecoder(maxDefinition, await openDecompressor(chunk.codec))
    for await (const { header, body } of file.pages(chunk)) {
      const isData = header.kind === 'data' || header.kind === 'data-v2'
      if (isData && row + header.values <= from) {
        row += header.values
        continue
      }
      const page = decoder.decode(header, body)
      if (page === undefined) continue
      const place = { file: file.path, column, group: chunk.group, firstRow: row }
      const found = pageDocuments(page, place, isUtf8)
      for (const fault of found.faults) await faults.handle(fault)
      pending.push(found.documents)
      row += page.rows
      if (pending.reduce((sum, { bytes }) => sum + bytes.byteLength, 0) < MIN_BATCH_BYTES) continue
      yield batchOf(pending)
      pending = []
    }
    if (row !== end) {
      const message = `row group ${chunk.group} has ${chunk.rows} rows, its pages ${row - chunk.firstRow}`
      throw new PenstockError('PARQUET_INVALID', message, { file: file.path })
    }
  }
  if (pending.length > 0) yield batchOf(pending)
}

/** Rows as records: for filters that compute, and for columns that hyparquet alone reads. */
async function* filteredRows(
  file: ParquetFile,
  field: string,
  column: TextColumn | undefined,
  faults: FaultHandler,
  { journal }: StageContext,
): AsyncGenerator<DocumentBatch> {
  const extractor = await openTextExtractor(field)
  const columns = column === undefined ? undefined : [column.path[0]!]
  let { row } = journal?.cursor<ParquetCursor>() ?? { row: 0 }
  try {
    for (let number = 0; row < file.rows; number++) {
      const records = await file.records(row, Math.min(file.rows, row + WINDOW_ROWS), columns)
      const { documents, faults: found } = await extractor.extract(rowsAsLines(records, file.path, row, number))
      for (const fault of found) await faults.handle(fault)
      row += records.length
      yield { ...documents, mark: journal?.markAfter(documents.byteLength, () => ({ row }) satisfies ParquetCursor) }
    }
  } finally {
    await extractor.close()
  }
}
