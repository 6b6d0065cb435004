/**
 * Extracts the text of a field from each line, as UTF-8. A record without it is skipped and reported with the documents. A
 * plain path is located in the raw bytes; only a filter that computes something needs the parsed record.
 */
import { type ErrorCode, PenstockError } from '../errors.js'
import type { DocumentBatch, LineBatch } from './batches.js'
import { parseJson } from './jq/numbers.js'
import { typeOf } from './jq/values.js'
import type { JqFilter } from './jq.js'
import { extractText, scanLine } from './json-scan.js'
import { withoutLines } from './jsonl.js'

/** A record that yields no document, with its location. */
export interface RecordFault {
  readonly code: ErrorCode
  readonly message: string
  readonly file: string
  readonly line: number
  readonly byteOffset: number
  /** The record's bytes. */
  readonly record: Uint8Array
}

/** The location and bytes of a line, for a fault. */
export function recordAt(batch: LineBatch, index: number): Omit<RecordFault, 'code' | 'message'> {
  const start = batch.starts[index]!
  return {
    file: batch.source,
    line: batch.firstLine + batch.lines[index]!,
    byteOffset: batch.byteOffset + start,
    record: batch.bytes.subarray(start, batch.ends[index]),
  }
}

export interface Extraction {
  readonly documents: DocumentBatch
  readonly faults: readonly RecordFault[]
}

/** Appends a record's text, or returns why it has none. */
type TextWriter = (
  bytes: Uint8Array,
  start: number,
  end: number,
  to: TextBuffer,
) => Pick<RecordFault, 'code' | 'message'> | undefined

/** The first output of a filter for a record, undefined if it has no output; or the reason of its failure. */
export type FirstOutput =
  | { readonly output: unknown }
  | { readonly failure: string; readonly code?: ErrorCode | undefined }

/** The lines of a batch as JSON text. */
export function jsonLines({ bytes, starts, ends }: LineBatch): string[] {
  const lines: string[] = []
  for (let index = 0; index < starts.length; index++) {
    const [start, end] = [starts[index]!, ends[index]!]
    if (scanLine(bytes, start, end).ok) lines.push(decoder.decode(bytes.subarray(start, end)))
  }
  return lines
}

/**
 * Extracts the documents of a batch of lines. `field` is the text of the filter, for messages.
 * @param filter the filter, or its first outputs for the batch's `jsonLines`
 * @throws UNSUPPORTED if the filter needs the full jq language
 */
export function extractBatch(batch: LineBatch, filter: JqFilter | readonly FirstOutput[], field: string): Extraction {
  const write = writerFor(filter, field)
  const count = batch.starts.length
  const offsets = new Uint32Array(count + 1)
  const faults: RecordFault[] = []
  const faulty = new Set<number>()
  texts.length = 0
  texts.reserve(batch.bytes.byteLength)
  let documents = 0
  for (let index = 0; index < count; index++) {
    const start = batch.starts[index]!
    const end = batch.ends[index]!
    const fault = write(batch.bytes, start, end, texts)
    if (fault === undefined) {
      offsets[++documents] = texts.length
    } else {
      faulty.add(index)
      faults.push({ ...fault, ...recordAt(batch, index) })
    }
  }
  return {
    documents: {
      kind: 'documents',
      number: batch.number,
      byteLength: texts.length,
      bytes: texts.taken(),
      offsets: offsets.subarray(0, documents + 1),
      origin: withoutLines(batch, faulty),
      mark: batch.mark,
    },
    faults,
  }
}

/** Larger buffers are not kept for reuse. */
const KEPT_BYTES = 4 << 20

/** Buffer of concatenated texts, reused for each batch. */
class TextBuffer {
  bytes = new Uint8Array(0)
  length = 0

  /** The result, whose memory belongs to the caller. */
  taken(): Uint8Array {
    const { bytes, length } = this
    if (bytes.byteLength <= KEPT_BYTES) return bytes.slice(0, length)
    this.bytes = new Uint8Array(0)
    return bytes.subarray(0, length)
  }

  /** Ensures capacity for `count` more bytes. */
  reserve(count: number): void {
    if (this.length + count <= this.bytes.byteLength) return
    const larger = new Uint8Array(Math.max(this.length + count, 2 * this.bytes.byteLength))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
  }
}

const texts = new TextBuffer()

function writerFor(filter: JqFilter | readonly FirstOutput[], field: string): TextWriter {
  if (!('apply' in filter)) return givenText(filter, field)
  return filter.path === undefined ? computedText(filter, field) : plainText(filter.path)
}

function plainText(path: readonly (string | number)[]): TextWriter {
  return (bytes, start, end, to) => {
    to.reserve(end - start)
    const result = extractText(bytes, start, end, path, to.bytes, to.length)
    if (typeof result !== 'number') return result
    to.length += result
    return undefined
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const encoder = new TextEncoder()

function computedText(filter: JqFilter, field: string): TextWriter {
  return (bytes, start, end, to) => {
    const scanned = scanLine(bytes, start, end)
    if (!scanned.ok) return scanned
    const value = parseJson(decoder.decode(bytes.subarray(start, end)))
    return append(firstOutput(filter, value), field, to)
  }
}

function firstOutput(filter: JqFilter, value: unknown): FirstOutput {
  try {
    return { output: filter.first(value) }
  } catch (error) {
    if (error instanceof PenstockError && error.code === 'UNSUPPORTED') throw error
    return { failure: (error as Error).message }
  }
}

function givenText(found: readonly FirstOutput[], field: string): TextWriter {
  const outputs = found.values()
  return (bytes, start, end, to) => {
    const scanned = scanLine(bytes, start, end)
    return scanned.ok ? append(outputs.next().value!, field, to) : scanned
  }
}

function append(found: FirstOutput, field: string, to: TextBuffer): ReturnType<TextWriter> {
  if ('failure' in found) {
    return { code: found.code ?? 'FIELD_MISSING', message: `${field} cannot be applied: ${found.failure}` }
  }
  const { output } = found
  if (output === undefined || output === null) return { code: 'FIELD_MISSING', message: `the record has no ${field}` }
  if (typeof output !== 'string') {
    return { code: 'FIELD_NOT_TEXT', message: `expected a string at ${field}, found ${describe(output)}` }
  }
  const text = encoder.encode(output)
  to.reserve(text.byteLength)
  to.bytes.set(text, to.length)
  to.length += text.byteLength
  return undefined
}

function describe(value: unknown): string {
  const type = typeOf(value)
  return type === 'array' || type === 'object' ? `an ${type}` : `a ${type}`
}
