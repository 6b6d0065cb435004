/**
 * Documents of CSV and TSV files: each row is a record whose keys are the names in the first row. The first row also shows
 * which delimiter a CSV file has.
 */
import { isUtf8 } from 'node:buffer'
import { pipeline } from 'node:stream'
import { PenstockError } from '../../errors.js'
import type { RecordFault } from '../../formats/extract.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { openTextExtractor } from '../extract-text.js'
import { DELIMITERS, delimiterIn } from './csv-delimiter.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { bomBytes, NOT_UTF8, wholeText } from './whole-file.js'

const WINDOW_ROWS = 1000
const BEYOND_ASCII = /[^\0-\x7f]/

type Row = Record<string, string>

/** A row that does not match the header, or whose text is not UTF-8. */
class FaultyRow {
  private readonly code: RecordFault['code']
  private readonly message: string
  private readonly row: Row

  constructor(code: RecordFault['code'], message: string, row: Row) {
    this.code = code
    this.message = message
    this.row = row
  }

  /** @param row number of the row, from 1 */
  fault(file: string, row: number): RecordFault {
    const record = new TextEncoder().encode(JSON.stringify(this.row))
    return { code: this.code, message: this.message, file, line: row, byteOffset: 0, record }
  }
}

/** @param usual the delimiter of the format; undefined where the first row decides */
export async function* tableDocuments(request: ReadRequest, usual?: string): AsyncGenerator<FileDocuments> {
  const { path, field, maxRecordBytes } = request
  const delimiter = request.delimiter === 'auto' ? (usual ?? (await delimiterOf(path))) : DELIMITERS[request.delimiter]
  const { parse } = await import('csv-parse')
  const parser = parse({
    delimiter,
    columns: header => columnsOf(header, path),
    // One character per byte: the parser would replace bytes that are not UTF-8.
    encoding: 'latin1',
    max_record_size: maxRecordBytes,
    // A row with too many or too few fields is one faulty record.
    relax_column_count: true,
    on_record: (record: Row, { error }) =>
      error === undefined ? checkedRow(record) : new FaultyRow('CSV_INVALID', error.message, record),
  })
  const rows = pipeline(withoutMark(wholeText(path)), parser, () => {}) as AsyncIterable<Row | FaultyRow>
  const extractor = await openTextExtractor(field)
  const { done: skip } = (request.from as { done: number } | undefined) ?? { done: 0 }
  let row = 0
  let window: Row[] = []
  /** Rows of the file that the window holds, from 0. */
  let places: number[] = []
  let faults: RecordFault[] = []
  const flush = async (): Promise<FileDocuments> => {
    const lines = rowsAsLines(window, path, 0, 0)
    const found = await extractor.extract({ ...lines, lines: Uint32Array.from(places) })
    const all = [...faults, ...found.faults].toSorted((a, b) => a.line - b.line)
    window = []
    places = []
    faults = []
    return { documents: found.documents, faults: all, position: { done: row }, bytesRead: parser.info.bytes }
  }
  try {
    for await (const record of rows) {
      if (++row <= skip) continue
      if (record instanceof FaultyRow) faults.push(record.fault(path, row))
      else {
        window.push(record)
        places.push(row - 1)
      }
      if (window.length + faults.length >= WINDOW_ROWS) yield await flush()
    }
    if (window.length + faults.length > 0) yield await flush()
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const { lines } = error as { lines?: number }
    const where = { file: path, ...(lines === undefined ? {} : { line: lines }) }
    throw new PenstockError('CSV_INVALID', (error as Error).message, where, error)
  } finally {
    await extractor.close()
  }
}

async function delimiterOf(path: string): Promise<string> {
  for await (const chunk of wholeText(path)) return delimiterIn(new TextDecoder().decode(chunk))
  return DELIMITERS.comma
}

/** The bytes without a byte order mark at their start. */
async function* withoutMark(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let isFirst = true
  for await (const chunk of bytes) {
    yield isFirst ? chunk.subarray(bomBytes(chunk)) : chunk
    isFirst = false
  }
}

/** Decodes the fields of a row in place. */
function checkedRow(row: Row): Row | FaultyRow {
  for (const [name, value] of Object.entries(row)) {
    const text = decoded(value)
    if (text === undefined) return new FaultyRow('UTF8_INVALID', NOT_UTF8, row)
    row[name] = text
  }
  return row
}

/** @param bytes one per character; undefined if they are not UTF-8 */
function decoded(bytes: string): string | undefined {
  if (!BEYOND_ASCII.test(bytes)) return bytes
  const buffer = Buffer.from(bytes, 'latin1')
  return isUtf8(buffer) ? buffer.toString() : undefined
}

/** @throws CSV_INVALID: a record can have only one field of a name; UTF8_INVALID */
function columnsOf(bytes: string[], file: string): string[] {
  const header = bytes.map(name => {
    const text = decoded(name)
    if (text !== undefined) return text
    throw new PenstockError('UTF8_INVALID', NOT_UTF8, { file, line: 1 })
  })
  const repeated = header.find((name, index) => header.indexOf(name) < index)
  if (repeated === undefined) return header
  throw new PenstockError('CSV_INVALID', `two columns are called ${JSON.stringify(repeated)}: rename one`, {
    file,
    line: 1,
  })
}
