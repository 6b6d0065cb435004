/**
 * Source of the texts of a corpus of many files: JSONL (also .gz and .zst), JSON arrays, Parquet, Arrow, CSV, TSV, WARC
 * and plain text, in any mix, one file after the other in a documented order. Memory is that of one file's reader.
 */
import * as z from 'zod'
import { requireFormat } from '../files/source-format.js'
import { listed, listOnce, listSources, locateSources } from '../files/source-list.js'
import type { DocumentBatch } from '../formats/batches.js'
import { DEFAULT_LINE_BYTES } from '../formats/jsonl.js'
import { fieldOption } from './extract-text.js'
import { corpusDocuments } from './stream/corpus-documents.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

/** Bounds in the first and the last file of a source. */
export const partOptions = {
  from: z
    .int()
    .nonnegative()
    .default(0)
    .describe('where to start in the first file: an offset at the start of a line of JSONL, or a row of Parquet'),
  to: z
    .int()
    .nonnegative()
    .optional()
    .describe('where to stop in the last file: an offset at the end of a line of JSONL, or a row of Parquet'),
}
export const textPerOption = z
  .enum(['file', 'line'])
  .default('file')
  .describe('a document of a plain text file (.txt, .md): the file, or each line that is not blank')
const delimiterOption = z
  .enum(['auto', 'comma', 'semicolon', 'tab', 'pipe'])
  .default('auto')
  .describe(
    'character between the fields of CSV and TSV files; auto: a tab in TSV files, in CSV files the most frequent of the others in the first row',
  )
const readCorpusOptions = z
  .strictObject({
    sources: z
      .array(z.string().min(1))
      .min(1)
      .describe('files, folders, glob patterns and @lists of such; all files are read in one order'),
    order: z
      .enum(['name', 'given'])
      .default('name')
      .describe('name: files sorted by the bytes of their paths; given: in the order of the sources'),
    field: fieldOption,
    text_per: textPerOption,
    delimiter: delimiterOption,
    max_record_bytes: z
      .int()
      .positive()
      .default(DEFAULT_LINE_BYTES)
      .describe('a longer line or text is a faulty record'),
    ...partOptions,
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ReadCorpusOptions = z.input<typeof readCorpusOptions>

export const readCorpusStage = defineStage({
  name: 'read-corpus',
  summary: 'texts of many files: JSONL, JSON, Parquet, Arrow, CSV, TSV, WARC and plain text',
  emits: 'documents',
  options: readCorpusOptions,
  resumable: true,
  create: readCorpus,
  reads: ({ sources, order }) => listOnce(sources, order),
  reading: ({ text_per, delimiter }) => ({
    ...(text_per !== 'file' && { text_per }),
    ...(delimiter !== 'auto' && { delimiter }),
  }),
  writes: quarantineOf,
})

/** @throws FILE_MISSING, FILE_UNREADABLE, UNSUPPORTED for a known format that is not read, and the faults of records */
export function readCorpus(options: ReadCorpusOptions): SourceStage<DocumentBatch> {
  const checked = parseOptions(readCorpusOptions, options, 'read-corpus')
  return source('read-corpus', context =>
    withFaultHandler(new FaultHandler(checked, 'read-corpus', context), async function* (faults) {
      await locateSources(checked.sources)
      const found = listed(options.sources, checked.order) ?? listSources(checked.sources, checked.order)
      const files = found.map(path => ({ path, format: requireFormat(path) }))
      yield* corpusDocuments(files, checked, faults, context)
    }),
  )
}
