/**
 * Lines of JSON -> the text of a field of each, as UTF-8. A record without the field, or whose field is no string, is a
 * faulty record: it never costs its neighbours. Expects lines that `validate-json` let through, and says so otherwise.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { type Extraction, extractBatch } from '../formats/extract.js'
import { compileJq } from '../formats/jq.js'
import { checkFaultOptions, FaultHandler, faultOptions, faultOptionsMessage, withFaultHandler } from './faults.js'
import { openFullJq } from './full-jq.js'
import { type TransformStage, transform } from './stage.js'

export const fieldOption = z
  .string()
  .min(1)
  .default('.text')
  .describe('the field, as a jq filter such as .text or .a.b[0]')
export const extractTextOptions = z
  .strictObject({ field: fieldOption, ...faultOptions })
  .refine(checkFaultOptions, faultOptionsMessage)
export type ExtractTextOptions = z.input<typeof extractTextOptions>

/** @throws FIELD_MISSING, FIELD_NOT_TEXT, JSON_INVALID, UTF8_INVALID; PEER_MISSING, OPTION_INVALID for a filter that is none */
export function extractText(options: ExtractTextOptions = {}): TransformStage<LineBatch, DocumentBatch> {
  const checked = extractTextOptions.parse(options)
  return transform('extract-text', (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'extract-text', context), async function* (faults) {
      const extract = await textExtractor(checked.field)
      for await (const batch of input) {
        const extraction = await extract(batch)
        for (const fault of extraction.faults) await faults.handle(fault)
        yield extraction.documents
      }
    }),
  )
}

/**
 * Takes the text of a field out of batches: compiled where that does, else by the whole jq language.
 * @throws PEER_MISSING, OPTION_INVALID for what is no filter
 */
export async function textExtractor(field: string): Promise<(batch: LineBatch) => Promise<Extraction>> {
  const compiled = compileJq(field)
  let full = compiled === null ? await openFullJq(field) : undefined
  return async batch => {
    if (compiled !== null) {
      try {
        return extractBatch(batch, compiled, field)
      } catch (error) {
        // A filter may be compiled and still meet a record that asks for more of jq.
        if (!(error instanceof PenstockError) || error.code !== 'UNSUPPORTED') throw error
      }
    }
    full ??= await openFullJq(field)
    return extractBatch(batch, full, field)
  }
}
