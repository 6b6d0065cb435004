/**
 * Lines of JSON -> the text of a field of each, as UTF-8. A record without the field, or whose field is no string, is a
 * faulty record: it never costs its neighbours. Expects lines that `validate-json` let through, and says so otherwise.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { type Extraction, extractBatch, jsonLines } from '../formats/extract.js'
import { compileJq } from '../formats/jq.js'
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
  .default('.text')
  .describe('the field, as a jq filter such as .text or .a.b[0]')
const extractTextOptions = z
  .strictObject({ field: fieldOption, ...faultOptions })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ExtractTextOptions = z.input<typeof extractTextOptions>

export const extractTextStage = defineStage({
  name: 'extract-text',
  summary: 'takes the text of a field out of each JSON line',
  accepts: 'lines',
  emits: 'documents',
  options: extractTextOptions,
  resumable: true,
  create: extractText,
  writes: quarantineOf,
})

/** @throws FIELD_MISSING, FIELD_NOT_TEXT, JSON_INVALID, UTF8_INVALID, WORKER_HUNG, WORKER_DIED; PEER_MISSING, OPTION_INVALID for a filter that is none */
export function extractText(options: ExtractTextOptions = {}): TransformStage<LineBatch, DocumentBatch> {
  const checked = parseOptions(extractTextOptions, options, 'extract-text')
  return transform('extract-text', (input, context) =>
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
 * Takes the text of a field out of batches: compiled where that does, else by the whole jq language.
 * @throws PEER_MISSING, OPTION_INVALID for what is no filter
 */
export async function openTextExtractor(field: string): Promise<TextExtractor> {
  const compiled = compileJq(field)
  let full = compiled === null ? await FullJq.open(field) : undefined
  return {
    async extract(batch) {
      if (compiled !== null) {
        try {
          return extractBatch(batch, compiled, field)
        } catch (error) {
          // A filter may be compiled and still meet a record that asks for more of jq.
          if (!(error instanceof PenstockError) || error.code !== 'UNSUPPORTED') throw error
        }
      }
      full ??= await FullJq.open(field)
      return extractBatch(batch, await full.firsts(jsonLines(batch)), field)
    },
    close: async () => full?.close(),
  }
}
