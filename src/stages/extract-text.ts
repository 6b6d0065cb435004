/**
 * JSON lines -> the text of one field of each record, as UTF-8. A record whose field is missing or not a string is a
 * faulty record and does not affect its neighbours. Invalid JSON, which `validate-json` would have rejected, is
 * reported.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { type Extraction, extractBatch, jsonLines } from '../formats/extract.js'
import { compileJq, problemOfFilter } from '../formats/jq.js'
import { FullJq } from '../workers/jq.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type TransformStage, transform } from './stream/stage.js'
import { defineStage, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

export const fieldOption = z
  .string()
  .min(1)
  .superRefine((filter, context) => {
    const message = problemOfFilter(filter)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  })
  .default('.text')
  .describe('field that holds the text, as a jq filter such as .text or .a.b[0]')
const extractTextOptions = z
  .strictObject({ field: fieldOption, ...faultOptions })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ExtractTextOptions = z.input<typeof extractTextOptions>

export const extractTextStage = defineStage({
  name: 'extract-text',
  summary: 'extracts the text of one field from each JSON line',
  accepts: 'lines',
  emits: 'documents',
  options: extractTextOptions,
  resumable: true,
  create: extractText,
  writes: quarantineOf,
})

/**
 * @throws FIELD_MISSING, FIELD_NOT_TEXT, JSON_INVALID, UTF8_INVALID, WORKER_HUNG, WORKER_DIED; PEER_MISSING;
 * OPTION_INVALID for an invalid filter
 */
export function extractText(options: ExtractTextOptions = {}): TransformStage<LineBatch, DocumentBatch> {
  const checked = parseOptions(extractTextOptions, options, 'extract-text')
  return transform(extractTextStage, (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'extract-text', context), async function* (faults) {
      const extractor = await openTextExtractor(checked.field)
      try {
        for await (const batch of input) {
          const extraction = await extractor.extract(batch)
          for (const fault of extraction.faults) await faults.handle(fault)
          yield extraction.documents
        }
      } finally {
        await extractor.close()
      }
    }),
  )
}

export interface TextExtractor {
  extract(batch: LineBatch): Promise<Extraction>
  close(): Promise<void>
}

/**
 * Extracts the text of a field from batches, with the compiled subset of jq where it suffices and with full jq
 * otherwise.
 * @throws PEER_MISSING; OPTION_INVALID for an invalid filter
 */
export async function openTextExtractor(field: string): Promise<TextExtractor> {
  const problem = problemOfFilter(field)
  if (problem !== undefined) throw new PenstockError('OPTION_INVALID', problem, { path: 'field' })
  const compiled = compileJq(field)
  let full = compiled === null ? await FullJq.open(field) : undefined
  return {
    async extract(batch) {
      if (compiled !== null) {
        try {
          return extractBatch(batch, compiled, field)
        } catch (error) {
          // A compiled filter can still meet a record that needs full jq.
          if (!(error instanceof PenstockError) || error.code !== 'UNSUPPORTED') throw error
        }
      }
      full ??= await FullJq.open(field)
      return extractBatch(batch, await full.firstOutputs(jsonLines(batch)), field)
    },
    close: async () => full?.close(),
  }
}
