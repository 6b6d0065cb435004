/** Texts of a Parquet column: pages that are decoded here, or rows that hyparquet reads. */
import { isUtf8 } from 'node:buffer'
import { PenstockError } from '../../errors.js'
import { decompressorOf } from '../../files/decompress-page.js'
import { ParquetFile } from '../../files/parquet-file.js'
import { type Documents, joinPlaces } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { pageDocuments } from '../../formats/parquet/page-documents.js'
import { readPageHeader } from '../../formats/parquet/page-header.js'
import { type Allocate, type Codec, type Decompress, TextPageDecoder } from '../../formats/parquet/text-pages.js'
import { rowsAsLines } from '../../formats/row-lines.js'
import { KeptBuffer } from './kept-buffer.js'
import { type LoadedRange, readFully } from './load-range.js'
import type { PageRange, PageRun, RowRange } from './range-task.js'

/** The texts of a range, and its rows that have none. Valid until the next range is loaded. */
export interface LoadedTexts {
  readonly documents: Documents
  readonly faults: readonly RecordFault[]
  /** Row of the file that the range begins with, from 0, and number of its rows. */
  readonly firstRow: number
  readonly rows: number
}

/** Pages as they are in the file; texts of several pages. */
const [fileBytes, joined] = [new KeptBuffer(), new KeptBuffer()]
/** Memory of the decoder. */
const decoded = { dictionary: new KeptBuffer(), texts: new KeptBuffer() }
const allocate: Allocate = (use, byteLength) => reserved(decoded[use], byteLength)

/** @throws PARQUET_INVALID, UNSUPPORTED, FILE_UNREADABLE, FILE_CHANGED */
export function loadPages(range: PageRange): LoadedTexts {
  const texts = new JoinedTexts()
  const faults: RecordFault[] = []
  for (const run of range.runs) {
    texts.keep()
    try {
      loadRun(range, run, texts, faults)
    } catch (error) {
      if (!(error instanceof PenstockError) || error.where.file !== undefined) throw error
      throw new PenstockError(error.code, error.message, { file: range.file, byteOffset: run.start }, error)
    }
  }
  const { firstRow } = range.runs[0]!
  const rows = range.runs.reduce((sum, run) => sum + run.rows, 0)
  return { documents: texts.all(), faults, firstRow, rows }
}

/** Texts of pages, each of which is valid until the next is decoded: they are copied only if there is a next one. */
class JoinedTexts {
  private readonly parts: Omit<Documents, 'bytes'>[] = []
  private newest: Documents | undefined

  constructor() {
    joined.clear()
  }

  add(documents: Documents): void {
    this.newest = documents
  }

  /** Copies the newest texts, before their memory is used for others. */
  keep(): void {
    if (this.newest === undefined) return
    joined.append(this.newest.bytes)
    this.parts.push(this.newest)
    this.newest = undefined
  }

  all(): Documents {
    if (this.parts.length === 0 && this.newest !== undefined) return this.newest
    this.keep()
    return { bytes: joined.bytes, ...joinPlaces(this.parts) }
  }
}

const decompressors = new Map<Codec, Decompress | undefined>()

function decompressorFor(codec: Codec): Decompress | undefined {
  if (!decompressors.has(codec)) decompressors.set(codec, decompressorOf(codec))
  return decompressors.get(codec)
}

function loadRun(range: PageRange, run: PageRun, texts: JoinedTexts, faults: RecordFault[]): void {
  const { file, column, maxDefinition } = range
  const decoder = new TextPageDecoder(maxDefinition, decompressorFor(run.codec), allocate)
  if (run.dictionary !== undefined) {
    for (const { header, body } of pagesIn(bytesOf(range, run.dictionary))) decoder.decode(header, body)
  }
  let row = run.firstRow
  for (const { header, body } of pagesIn(bytesOf(range, run))) {
    texts.keep()
    const page = decoder.decode(header, body)
    if (page === undefined) continue
    const found = pageDocuments(page, { file, column, part: `row group ${run.group}`, firstRow: row }, isUtf8)
    texts.add(found.documents)
    faults.push(...found.faults)
    row += page.rows
  }
  const rows = row - run.firstRow
  if (rows === run.rows) return
  throw new PenstockError('PARQUET_INVALID', `row group ${run.group} has ${run.rows} rows, its pages ${rows}`)
}

/** Valid until the next call. */
function bytesOf(range: PageRange, { start, end }: { readonly start: number; readonly end: number }): Uint8Array {
  const bytes = reserved(fileBytes, end - start)
  readFully(range, bytes, start)
  return bytes
}

function reserved(buffer: KeptBuffer, byteLength: number): Uint8Array {
  buffer.clear()
  return buffer.reserve(byteLength)
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
