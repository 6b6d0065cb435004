/**
 * Documents of an Arrow IPC file or stream (also Feather version 2 and the shards of Hugging Face data sets), record batch by
 * record batch. A plain path such as `.text` or `.doc.text` reads only that column, into UTF-8 bytes; any other filter sees
 * each row as a JSON record. Of a batch that is not compressed, texts are read in windows of rows; otherwise memory is that
 * of the column in one batch.
 */
import { isUtf8 } from 'node:buffer'
import { PenstockError } from '../../errors.js'
import { columnsOf } from '../../formats/arrow/columns.js'
import { type ArrowField, ArrowType, type BatchLayout } from '../../formats/arrow/messages.js'
import { isTextType, withoutNulls } from '../../formats/arrow/text-column.js'
import { valuesOf } from '../../formats/arrow/values.js'
import { type Documents, documentBatch, joinDocuments } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { compileJq } from '../../formats/jq.js'
import { pageDocuments } from '../../formats/parquet/page-documents.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { openTextExtractor, type TextExtractor } from '../extract-text.js'
import { ArrowDictionaries, placesIn } from './arrow-dictionaries.js'
import { type ArrowBody, arrowParts } from './arrow-stream.js'
import { openArrowTexts } from './arrow-texts.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { wholeFile } from './whole-file.js'

/** Texts that are read at a time, and a batch of documents at least. */
const WINDOW_BYTES = 1 << 20
const MIN_BATCH_BYTES = 256 << 10
/** Rows that a filter sees at a time: they are objects meanwhile. */
const WINDOW_ROWS = 1000

interface RecordBatch {
  readonly layout: BatchLayout
  readonly body: ArrowBody
  /** In the file, from 0. */
  readonly number: number
  readonly firstRow: number
}

type Part = Pick<FileDocuments, 'documents' | 'faults'> & { readonly row: number }

export async function* arrowDocuments(request: ReadRequest): AsyncGenerator<FileDocuments> {
  const { path, from } = request
  const { row: first } = (from as { row: number } | undefined) ?? { row: 0 }
  let reader: ArrowRows | undefined
  let [row, number] = [0, 0]
  try {
    for await (const { message, body, bytesRead } of arrowParts(wholeFile(path))) {
      if (message.kind === 'other') continue
      if (message.kind === 'schema') reader ??= await ArrowRows.open(message.fields, request)
      else if (reader === undefined) throw new PenstockError('ARROW_INVALID', 'a record batch without a schema')
      else if (message.kind === 'dictionary') await reader.dictionaries.add(message, body)
      else {
        const batch = { layout: message.layout, body, number: number++, firstRow: row }
        row += message.layout.rows
        if (row <= first) continue
        for await (const { row: next, ...part } of reader.read(batch, Math.max(first, batch.firstRow))) {
          yield { ...part, position: { row: next }, bytesRead }
        }
      }
    }
    if (reader !== undefined) yield { ...reader.take(row), position: { row }, bytesRead: 0 }
  } catch (error) {
    if (error instanceof RangeError) throw new PenstockError('ARROW_INVALID', error.message, { file: path }, error)
    if (error instanceof PenstockError && error.where.file === undefined) {
      throw new PenstockError(error.code, error.message, { ...error.where, file: path }, error)
    }
    throw error
  } finally {
    await reader?.close()
  }
}

/** Reads the texts of record batches: of one column, or of the results of a filter. */
class ArrowRows {
  readonly dictionaries: ArrowDictionaries
  private readonly request: ReadRequest
  private readonly fields: readonly ArrowField[]
  /** Set for a plain path. */
  private readonly path: readonly string[] | undefined
  /** Set for a filter. */
  private readonly extractor: TextExtractor | undefined
  private pending: Documents[] = []
  private pendingBytes = 0
  private faults: RecordFault[] = []

  private constructor(
    fields: readonly ArrowField[],
    request: ReadRequest,
    path: readonly string[] | undefined,
    extractor: TextExtractor | undefined,
  ) {
    this.fields = fields
    this.request = request
    this.path = path
    this.extractor = extractor
    this.dictionaries = new ArrowDictionaries(fields)
  }

  /** @throws FIELD_MISSING with the columns that there are, FIELD_NOT_TEXT */
  static async open(fields: readonly ArrowField[], request: ReadRequest): Promise<ArrowRows> {
    const path = compileJq(request.field)?.path
    const isColumn = path?.every(part => typeof part === 'string') && requireTextColumn(fields, path as string[])
    if (isColumn) return new ArrowRows(fields, request, path as string[], undefined)
    return new ArrowRows(fields, request, undefined, await openTextExtractor(request.field))
  }

  /** @param from row of the file. The last documents are left for `take`. */
  read(batch: RecordBatch, from: number): AsyncGenerator<Part> {
    return this.path === undefined ? this.filtered(batch, from) : this.columnTexts(batch, from, this.path)
  }

  /** Documents and faults so far, up to a row. */
  take(row: number): Part {
    const documents = documentBatch(joinDocuments(this.pending), this.request.path, 0)
    const { faults } = this
    this.pending = []
    this.pendingBytes = 0
    this.faults = []
    return { documents, faults, row }
  }

  async close(): Promise<void> {
    await this.extractor?.close()
  }

  private async *columnTexts(batch: RecordBatch, from: number, path: readonly string[]): AsyncGenerator<Part> {
    const { layout, body, number, firstRow } = batch
    const texts = await openArrowTexts(columnsOf(this.fields, layout), path, body, this.dictionaries)
    const place = { file: this.request.path, column: `.${path.join('.')}`, part: `record batch ${number}` }
    for (let row = from - firstRow; row < layout.rows; ) {
      const end = this.windowEnd(row, layout.rows, texts.sizeOf)
      if (end === row) {
        this.faults.push(this.longText(place.column, firstRow + row, texts.sizeOf(row)))
        row++
        continue
      }
      const page = withoutNulls(await texts.read(row, end), texts.validity, row)
      const found = pageDocuments(page, { ...place, firstRow: firstRow + row }, isUtf8)
      this.faults.push(...found.faults)
      this.pending.push(found.documents)
      this.pendingBytes += found.documents.bytes.byteLength
      row = end
      if (this.pendingBytes >= MIN_BATCH_BYTES) yield this.take(firstRow + row)
    }
  }

  /** `row` itself if its text exceeds the limit. */
  private windowEnd(row: number, rows: number, sizeOf: (row: number) => number): number {
    let end = row
    for (let size = 0; end < rows; end++) {
      const next = sizeOf(end)
      if (next > this.request.maxRecordBytes || (size > 0 && size + next > WINDOW_BYTES)) break
      size += next
    }
    return end
  }

  private longText(column: string, row: number, bytes: number): RecordFault {
    const { path: file, maxRecordBytes } = this.request
    const message = `${column} has ${bytes} bytes; at most ${maxRecordBytes} are read (max_record_bytes)`
    return { code: 'LINE_TOO_LONG', message, file, line: row + 1, byteOffset: 0, record: new Uint8Array(0) }
  }

  private async *filtered({ layout, body, firstRow }: RecordBatch, from: number): AsyncGenerator<Part> {
    const columns = columnsOf(this.fields, layout)
    const data = this.dictionaries.dataOf(await body.buffers(columns.flatMap(placesIn)))
    const readers = columns.flatMap(column => {
      const values = valuesOf(column, data)
      return values === undefined ? [] : [[column.field.name, values] as const]
    })
    for (let row = from - firstRow; row < layout.rows; ) {
      const end = Math.min(layout.rows, row + WINDOW_ROWS)
      const rows = Array.from({ length: end - row }, (_, index) =>
        Object.fromEntries(readers.map(([name, values]) => [name, values(row + index)])),
      )
      const found = await this.extractor!.extract(rowsAsLines(rows, this.request.path, firstRow + row, 0))
      row = end
      yield { ...found, row: firstRow + row }
    }
  }
}

/**
 * Whether a path names a column of texts; false if it leads into lists, which only a filter reads.
 * @throws FIELD_MISSING, FIELD_NOT_TEXT
 */
function requireTextColumn(fields: readonly ArrowField[], path: readonly string[]): boolean {
  const name = `.${path.join('.')}`
  let level = fields
  for (const [depth, part] of path.entries()) {
    const field = level.find(other => other.name === part)
    if (field === undefined) {
      const message = `no column ${name}; the file has ${columnNames(fields, '').join(', ')}`
      throw new PenstockError('FIELD_MISSING', message)
    }
    if (depth === path.length - 1) {
      if (isTextType(field.type)) return true
      throw new PenstockError('FIELD_NOT_TEXT', `the column ${name} is not a column of texts`)
    }
    if (!isStruct(field)) return false
    level = field.children
  }
  return false
}

const isStruct = ({ type, dictionary }: ArrowField): boolean => type === ArrowType.struct && dictionary === undefined

function columnNames(fields: readonly ArrowField[], prefix: string): string[] {
  return fields.flatMap(field =>
    isStruct(field) ? columnNames(field.children, `${prefix}.${field.name}`) : [`${prefix}.${field.name}`],
  )
}
