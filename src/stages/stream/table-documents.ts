/** Documents of CSV and TSV files: each row is a record whose keys are the names in the first row. */
import { pipeline } from 'node:stream'
import { PenstockError } from '../../errors.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { openTextExtractor } from '../extract-text.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { wholeText } from './whole-file.js'

const WINDOW_ROWS = 1000

export async function* tableDocuments(request: ReadRequest, delimiter: string): AsyncGenerator<FileDocuments> {
  const { path, field, maxRecordBytes } = request
  const { parse } = await import('csv-parse')
  const parser = parse({ delimiter, columns: true, bom: true, max_record_size: maxRecordBytes })
  const rows = pipeline(wholeText(path), parser, () => {}) as AsyncIterable<Record<string, string>>
  const extractor = await openTextExtractor(field)
  const { done: skip } = (request.from as { done: number } | undefined) ?? { done: 0 }
  let row = 0
  let window: Record<string, string>[] = []
  const flush = async (): Promise<FileDocuments> => {
    const found = await extractor.extract(rowsAsLines(window, path, row - window.length, 0))
    window = []
    return { ...found, position: { done: row }, bytesRead: parser.info.bytes }
  }
  try {
    for await (const record of rows) {
      if (++row <= skip) continue
      window.push(record)
      if (window.length >= WINDOW_ROWS) yield await flush()
    }
    if (window.length > 0) yield await flush()
  } catch (error) {
    if (error instanceof PenstockError) throw error
    const { lines } = error as { lines?: number }
    const where = { file: path, ...(lines === undefined ? {} : { line: lines }) }
    throw new PenstockError('CSV_INVALID', (error as Error).message, where, error)
  } finally {
    await extractor.close()
  }
}
