/** Texts of a Parquet column: pages that are decoded here, or rows that hyparquet reads. */
import { isUtf8 } from 'node:buffer'
import { PenstockError } from '../../errors.js'
import { openDecompressor } from '../../files/decompress-page.js'
import { ParquetFile } from '../../files/parquet-file.js'
import { type Documents, joinDocuments } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { pageDocuments } from '../../formats/parquet/page-documents.js'
import { readPageHeader } from '../../formats/parquet/page-header.js'
import { type Codec, type Decompress, TextPageDecoder } from '../../formats/parquet/text-pages.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { KeptBuffer } from './kept-buffer.js'
import { type LoadedRange, readFully } from './load-range.js'
import type { PageRange, PageRun, RowRange } from './range-task.js'

/** Pages as they are in the file, and the texts of several pages. */
const [pageBuffer, textBuffer] = [new KeptBuffer(), new KeptBuffer()]

/** The texts of a range, and its rows that have none. Valid until the next range is loaded. */
export interface LoadedTexts {
  readonly documents: Documents
  readonly faults: readonly RecordFault[]
  /** Row of the file that the range begins with, from 0, and number of its rows. */
  readonly firstRow: number
  readonly rows: number
  /** Memory that may be freed with the texts. */
  readonly memory: readonly Uint8Array[]
}

/** @throws PARQUET_INVALID, UNSUPPORTED, FILE_UNREADABLE, FILE_CHANGED */
export async function loadPages(range: PageRange): Promise<LoadedTexts> {
  const parts: Documents[] = []
  const faults: RecordFault[] = []
  const memory: Uint8Array[] = []
  const buffer = pageBuffer.take(range.runs.reduce((sum, { start, end }) => sum + end - start, 0))
  let at = 0
  for (const run of range.runs) {
    const bytes = buffer.subarray(at, at + run.end - run.start)
    at += bytes.byteLength
    readFully(range, bytes, run.start)
    try {
      for (const found of pagesOf(range, run, bytes, await decompressorFor(run.codec))) {
        parts.push(found.documents)
        if (found.documents.bytes.buffer !== buffer.buffer) memory.push(found.documents.bytes)
        faults.push(...found.faults)
      }
    } catch (error) {
      if (!(error instanceof PenstockError) || error.where.file !== undefined) throw error
      throw new PenstockError(error.code, error.message, { file: range.file, byteOffset: run.start }, error)
    }
  }
  const { firstRow } = range.runs[0]!
  const rows = range.runs.reduce((sum, run) => sum + run.rows, 0)
  const documents = joinDocuments(parts, byteLength => textBuffer.take(byteLength))
  return { documents, faults, firstRow, rows, memory }
}

const decompressors = new Map<Codec, Promise<Decompress | undefined>>()

function decompressorFor(codec: Codec): Promise<Decompress | undefined> {
  const decompressor = decompressors.get(codec) ?? openDecompressor(codec)
  decompressors.set(codec, decompressor)
  return decompressor
}

function* pagesOf(range: PageRange, run: PageRun, bytes: Uint8Array, decompress: Decompress | undefined) {
  const { file, column, maxDefinition } = range
  const decoder = new TextPageDecoder(maxDefinition, decompress)
  if (run.dictionary !== undefined) {
    const { start, end } = run.dictionary
    const dictionary = new Uint8Array(end - start)
    readFully(range, dictionary, start)
    for (const { header, body } of pagesIn(dictionary)) decoder.decode(header, body)
  }
  let row = run.firstRow
  for (const { header, body } of pagesIn(bytes)) {
    const page = decoder.decode(header, body)
    if (page === undefined) continue
    yield pageDocuments(page, { file, column, part: `row group ${run.group}`, firstRow: row }, isUtf8)
    row += page.rows
  }
  const found = row - run.firstRow
  if (found === run.rows) return
  throw new PenstockError('PARQUET_INVALID', `row group ${run.group} has ${run.rows} rows, its pages ${found}`)
}

function* pagesIn(bytes: Uint8Array) {
  for (let at = 0; at < bytes.byteLength; ) {
    const header = readPageHeader(bytes.subarray(at))
    if (header === undefined) throw new PenstockError('PARQUET_INVALID', 'a page header does not end')
    const start = at + header.headerBytes
    at = start + header.pageBytes
    if (at > bytes.byteLength) {
      throw new PenstockError('PARQUET_INVALID', 'a page reaches past the end of its column')
    }
    yield { header, body: bytes.subarray(start, at) }
  }
}

/** Rows as lines of JSON. @throws PARQUET_INVALID, FILE_UNREADABLE */
export async function loadRows({ file, start, end, columns }: RowRange): Promise<LoadedRange> {
  const parquet = await ParquetFile.open(file)
  try {
    const { bytes } = rowsAsLines(await parquet.records(start, end, columns), file, start, 0)
    return { bytes, origin: 0, first: 0, stop: bytes.byteLength, overlong: false, textBytes: 0 }
  } finally {
    await parquet.close()
  }
}
