/**
 * Documents of a web archive (WARC, WET): conversion records, whose text a crawl has extracted, and plain text as a server
 * sent it. A filter sees `{text, url, date, type, id, content_type, languages, headers}`. HTML is not extracted: its records
 * are counted.
 */
import { isUtf8 } from 'node:buffer'
import {
  type HeaderFields,
  type WarcCursor,
  type WarcDamage,
  type WarcRecord,
  WarcSplitter,
} from '../../formats/archives/warc-records.js'
import { concatBytes } from '../../formats/bytes.js'
import { documentBatch } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { compileJq } from '../../formats/jq.js'
import { firstInvalidUtf8 } from '../../formats/json-scan.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { openTextExtractor, type TextExtractor } from '../extract-text.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { receivedText } from './received-text.js'
import { wholeFile } from './whole-file.js'

const BATCH_BYTES = 1 << 20

interface Cursor extends WarcCursor {
  /** Records before the position. */
  readonly records: number
}

interface TextRecord {
  readonly fields: HeaderFields
  /** Number of the record in the file, from 0. */
  readonly row: number
  readonly text: Uint8Array
}

export async function* warcDocuments({
  path,
  field,
  from,
  maxRecordBytes,
}: ReadRequest): AsyncGenerator<FileDocuments> {
  const cursor = (from as Cursor | undefined) ?? { byteOffset: 0, isLost: false, records: 0 }
  const wants = (fields: HeaderFields, length: number): boolean => mayHoldText(fields) && length <= maxRecordBytes
  const splitter = new WarcSplitter(wants, cursor)
  const batch = new WarcBatch(path, cursor.records, maxRecordBytes)
  const isPlain = compileJq(field)?.path?.join() === 'text'
  const extractor = isPlain ? undefined : await openTextExtractor(field)
  let read = 0
  const take = async (): Promise<FileDocuments> => {
    const position: Cursor = { ...splitter.cursor, records: batch.records }
    return { ...(await batch.take(extractor)), position, bytesRead: read }
  }
  try {
    for await (const chunk of wholeFile(path)) {
      const start = Math.max(0, cursor.byteOffset - read)
      read += chunk.byteLength
      if (start >= chunk.byteLength) continue
      for (const found of splitter.push(chunk.subarray(start))) {
        batch.add(found)
        if (batch.bytes >= BATCH_BYTES) yield await take()
      }
    }
    for (const found of splitter.finish()) batch.add(found)
    yield await take()
  } finally {
    await extractor?.close()
  }
}

/** Texts of records until they are taken. */
class WarcBatch {
  bytes = 0
  records: number
  private readonly path: string
  private readonly maxRecordBytes: number
  private texts: TextRecord[] = []
  private faults: RecordFault[] = []
  private passedOver = new Map<string, number>()

  constructor(path: string, records: number, maxRecordBytes: number) {
    this.path = path
    this.records = records
    this.maxRecordBytes = maxRecordBytes
  }

  add(found: WarcRecord | WarcDamage): void {
    const row = this.records++
    const outcome = outcomeOf(found, this.maxRecordBytes)
    if (outcome instanceof Uint8Array) {
      this.bytes += outcome.byteLength
      this.texts.push({ fields: (found as WarcRecord).fields, row, text: outcome })
    } else if (typeof outcome === 'string') {
      this.passedOver.set(outcome, (this.passedOver.get(outcome) ?? 0) + 1)
    } else {
      this.faults.push({ ...outcome, file: this.path, line: row + 1, byteOffset: found.byteOffset })
    }
  }

  async take(extractor: TextExtractor | undefined): Promise<Omit<FileDocuments, 'position' | 'bytesRead'>> {
    const { texts, faults, passedOver, path } = this
    this.texts = []
    this.faults = []
    this.passedOver = new Map()
    this.bytes = 0
    if (extractor === undefined) return { documents: documentsOf(texts, path), faults, passedOver }
    const lines = { ...rowsAsLines(texts.map(recordOf), path, 0, 0), lines: Uint32Array.from(texts, ({ row }) => row) }
    const found = await extractor.extract(lines)
    const all = [...faults, ...found.faults].toSorted((a, b) => a.line - b.line)
    return { documents: found.documents, faults: all, passedOver }
  }
}

type Fault = Pick<RecordFault, 'code' | 'message' | 'record'>

/** The text of a record as UTF-8; the kind of a record that holds none; or what is wrong with the record. */
function outcomeOf(found: WarcRecord | WarcDamage, maxBytes: number): Uint8Array | string | Fault {
  if (found.kind === 'damage') return { code: 'WARC_INVALID', message: found.message, record: found.head }
  const { fields, block } = found
  if (!mayHoldText(fields)) return typeOf(fields)
  if (block === undefined) {
    if (typeOf(fields) !== 'conversion') return `${typeOf(fields)} over ${maxBytes} bytes`
    const message = `a text of ${fields.get('content-length')} bytes; at most ${maxBytes} are read (max_record_bytes)`
    return { code: 'LINE_TOO_LONG', message, record: new Uint8Array(0) }
  }
  try {
    const text = textOf(fields, block, maxBytes)
    if (typeof text === 'string' || isUtf8(text)) return text
    const message = `the text is not valid UTF-8 (byte ${firstInvalidUtf8(text, 0, text.length)} of the record)`
    return { code: 'UTF8_INVALID', message, record: text }
  } catch (error) {
    const message = `the text cannot be decoded: ${(error as Error).message}`
    return { code: 'WARC_INVALID', message, record: concatBytes(block) }
  }
}

const typeOf = (fields: HeaderFields): string => fields.get('warc-type')?.toLowerCase() ?? 'record without a type'

/** Whether the block must be read. */
function mayHoldText(fields: HeaderFields): boolean {
  const type = typeOf(fields)
  if (type === 'conversion') return true
  if (type !== 'response' && type !== 'resource') return false
  return (fields.get('warc-identified-payload-type') ?? 'text/plain') === 'text/plain'
}

/** The text of a record as UTF-8, or the kind of a record that has none. Throws errors of decoders. */
function textOf(fields: HeaderFields, block: readonly Uint8Array[], maxBytes: number): Uint8Array | string {
  const type = typeOf(fields)
  const whole = (): Uint8Array => (block.length === 1 ? block[0]! : concatBytes(block))
  if (type === 'conversion') return whole()
  const contentType = fields.get('content-type') ?? ''
  if (type === 'resource') return contentType.startsWith('text/plain') ? whole() : `resource ${contentType}`
  return receivedText(block, maxBytes)
}

function documentsOf(texts: readonly TextRecord[], path: string) {
  const offsets = new Uint32Array(texts.length + 1)
  for (const [index, { text }] of texts.entries()) offsets[index + 1] = offsets[index]! + text.byteLength
  const bytes = concatBytes(texts.map(({ text }) => text))
  return documentBatch({ bytes, offsets, rows: Uint32Array.from(texts, ({ row }) => row) }, path, 0)
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

function recordOf({ fields, text }: TextRecord): Record<string, unknown> {
  return {
    text: decoder.decode(text),
    url: fields.get('warc-target-uri') ?? null,
    date: fields.get('warc-date') ?? null,
    type: typeOf(fields),
    id: fields.get('warc-record-id') ?? null,
    content_type: fields.get('content-type') ?? null,
    languages: fields.get('warc-identified-content-language') ?? null,
    headers: Object.fromEntries(fields),
  }
}
