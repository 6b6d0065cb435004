/** Source of the text of a column of a Parquet file; `read-corpus` reads many, and other formats with them. */
import * as z from 'zod'
import type { DocumentBatch } from '../formats/batches.js'
import { fieldOption } from './extract-text.js'
import { partOptions } from './read-corpus.js'
import { corpusDocuments } from './stream/corpus-documents.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, fileOf, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const readParquetOptions = z
  .strictObject({
    path: z.string().min(1).describe('the .parquet file'),
    field: fieldOption.describe('the text of a row, as a jq filter such as .text or .doc.text'),
    from: partOptions.from.describe('the first row to read'),
    to: partOptions.to.describe('the row to stop before; by default, the end of the file'),
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
    withFaultHandler(new FaultHandler(checked, 'read-parquet', context), faults =>
      corpusDocuments([{ path: checked.path, format: 'parquet' }], checked, faults, context),
    ),
  )
}
