/**
 * The text of a field of each line, as UTF-8. A record without it is reported beside the documents and left out.
 */
import type { ErrorCode } from '../errors.js'
import type { DocumentBatch, LineBatch } from './batches.js'
import type { JqFilter } from './jq.js'

/** A record that yields no document, with its place. */
export interface RecordFault {
  readonly code: ErrorCode
  readonly message: string
  readonly file: string
  readonly line: number
  readonly byteOffset: number
  /** The record's bytes. */
  readonly record: Uint8Array
}

export interface Extraction {
  readonly documents: DocumentBatch
  readonly faults: readonly RecordFault[]
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

export function extractBatch(batch: LineBatch, filter: JqFilter, field: string): Extraction {
  const texts: Uint8Array[] = []
  const lines: number[] = []
  const byteOffsets: number[] = []
  const faults: RecordFault[] = []
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

function textOf(
  record: Uint8Array,
  filter: JqFilter,
  field: string,
): Uint8Array | Pick<RecordFault, 'code' | 'message'> {
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
