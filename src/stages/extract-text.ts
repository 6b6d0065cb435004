/**
 * Lines of JSON -> the text of a field of each, as UTF-8. A record without the field, or whose field is no string, is a
 * faulty record: it never costs its neighbours. Expects lines that `validate-json` let through, and says so otherwise.
 */
import * as z from 'zod'
import type { DocumentBatch, LineBatch } from '../formats/batches.js'
import { compileJq, type JqFilter } from '../formats/jq.js'
import { PenstockError } from '../errors.js'
import { checkFaultOptions, type Fault, FaultHandler, faultOptions, faultOptionsMessage, withFaultHandler } from './faults.js'
import { type TransformStage, transform } from './stage.js'

export const fieldOption = z.string().min(1).default('.text').describe('the field, as a jq filter such as .text or .a.b[0]')
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
        context.count('records', batch.starts.length)
        const extraction = extractBatch(batch, filter, checked.field)
        for (const fault of extraction.faults) await faults.handle(fault)
        context.count('documents', extraction.documents.lines.length)
        yield extraction.documents
      }
    }),
  )
}

function filterOf(field: string): JqFilter {
  const filter = compileJq(field)
  if (filter !== null) return filter
  throw new PenstockError('OPTION_INVALID', `the filter ${field} is beyond what is compiled here`, { path: 'field' })
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

function extractBatch(batch: LineBatch, filter: JqFilter, field: string): { documents: DocumentBatch; faults: Fault[] } {
  const texts: Uint8Array[] = []
  const lines: number[] = []
  const byteOffsets: number[] = []
  const faults: Fault[] = []
  for (let index = 0; index < batch.starts.length; index++) {
    const record = batch.bytes.subarray(batch.starts[index], batch.ends[index])
    const byteOffset = batch.byteOffset + batch.starts[index]!
    const outcome = textOf(record, filter, field)
    if (outcome instanceof Uint8Array) {
      texts.push(outcome)
      lines.push(batch.lines[index]!)
      byteOffsets.push(byteOffset)
    } else {
      const line = batch.firstLine + batch.lines[index]!
      faults.push({ ...outcome, file: batch.source, line, byteOffset, record })
    }
  }
  const { bytes, offsets } = joined(texts)
  const documents: DocumentBatch = {
    kind: 'documents',
    number: batch.number,
    byteLength: bytes.byteLength,
    bytes,
    offsets,
    firstLine: batch.firstLine,
    lines: Uint32Array.from(lines),
    byteOffsets: Float64Array.from(byteOffsets),
    source: batch.source,
  }
  return { documents, faults }
}

function textOf(record: Uint8Array, filter: JqFilter, field: string): Uint8Array | Pick<Fault, 'code' | 'message'> {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(record))
  } catch (error) {
    const isJson = error instanceof SyntaxError
    return isJson
      ? { code: 'JSON_INVALID', message: 'the line is not one JSON value' }
      : { code: 'UTF8_INVALID', message: 'the line is not UTF-8' }
  }
  let found: unknown
  try {
    found = filter.apply(value)[0]
  } catch (error) {
    return { code: 'FIELD_MISSING', message: `${field} cannot be applied: ${(error as Error).message}` }
  }
  if (found === undefined || found === null) return { code: 'FIELD_MISSING', message: `the record has no ${field}` }
  if (typeof found !== 'string') {
    return { code: 'FIELD_NOT_TEXT', message: `${field} is ${describe(found)}, where a string is expected` }
  }
  return encoder.encode(found)
}

function describe(value: unknown): string {
  return Array.isArray(value) ? 'an array' : typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

function joined(texts: readonly Uint8Array[]): { bytes: Uint8Array; offsets: Uint32Array } {
  const offsets = new Uint32Array(texts.length + 1)
  texts.forEach((text, index) => {
    offsets[index + 1] = offsets[index]! + text.byteLength
  })
  const bytes = new Uint8Array(offsets[texts.length]!)
  texts.forEach((text, index) => {
    bytes.set(text, offsets[index])
  })
  return { bytes, offsets }
}
