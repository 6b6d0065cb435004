/**
 * Lines of JSON -> the text of a field of each, as UTF-8. A record without the field, or whose field is no string, is a
 * faulty record: it never costs its neighbours. Expects lines that `validate-json` let through, and says so otherwise.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { extractBatch } from '../formats/extract.js'
import { compileJq, type JqFilter } from '../formats/jq.js'
import { checkFaultOptions, FaultHandler, faultOptions, faultOptionsMessage, withFaultHandler } from './faults.js'
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

/** @throws FIELD_MISSING, FIELD_NOT_TEXT, JSON_INVALID, UTF8_INVALID; OPTION_INVALID for a filter we cannot run */
export function extractText(options: ExtractTextOptions = {}): TransformStage<LineBatch, DocumentBatch> {
  const checked = extractTextOptions.parse(options)
  const filter = filterOf(checked.field)
  return transform('extract-text', (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'extract-text', context), async function* (faults) {
      for await (const batch of input) {
        const extraction = extractBatch(batch, filter, checked.field)
        for (const fault of extraction.faults) await faults.handle(fault)
        yield extraction.documents
      }
    }),
  )
}

/** Compiles the filter. @throws OPTION_INVALID for one that cannot be run here */
export function filterOf(field: string): JqFilter {
  const filter = compileJq(field)
  if (filter !== null) return filter
  throw new PenstockError('OPTION_INVALID', `the filter ${field} is beyond what is compiled here`, { path: 'field' })
}
