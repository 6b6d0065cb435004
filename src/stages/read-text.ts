/** Source of the documents of a plain text file; `read-corpus` reads many, and other formats with them. */
import * as z from 'zod'
import type { DocumentBatch } from '../formats/batches.js'
import { DEFAULT_LINE_BYTES } from '../formats/jsonl.js'
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

const readTextOptions = z
  .strictObject({
    path: z.string().min(1).describe('the text file in UTF-8, also as .gz or .zst'),
    per: z.enum(['file', 'line']).default('file').describe('a document is the file, or each line that is not blank'),
    max_record_bytes: z
      .int()
      .positive()
      .default(DEFAULT_LINE_BYTES)
      .describe('maximum length of a document; a longer one is a faulty record'),
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ReadTextOptions = z.input<typeof readTextOptions>

export const readTextStage = defineStage({
  name: 'read-text',
  summary: 'documents of a plain text file: the whole file, or each line',
  emits: 'documents',
  options: readTextOptions,
  resumable: true,
  create: readText,
  reads: fileOf,
  writes: quarantineOf,
})

/** @throws FILE_MISSING, FILE_UNREADABLE, FILE_CHANGED, UTF8_INVALID, LINE_TOO_LONG; UNSUPPORTED for another format */
export function readText(options: ReadTextOptions): SourceStage<DocumentBatch> {
  const checked = parseOptions(readTextOptions, options, 'read-text')
  const { path, per, max_record_bytes } = checked
  return source('read-text', context =>
    withFaultHandler(new FaultHandler(checked, 'read-text', context), faults =>
      corpusDocuments([{ path, format: 'text' }], { field: '.text', text_per: per, max_record_bytes }, faults, context),
    ),
  )
}
