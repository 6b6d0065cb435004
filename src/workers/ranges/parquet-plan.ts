/**
 * Ranges of a text column of a Parquet file: row groups, several small ones together, and pages of large ones. Only headers
 * are read here. Columns that are not read page by page are divided into rows, which hyparquet reads in the workers.
 */
import { PenstockError } from '../../errors.js'
import { ParquetFile, type TextChunk, type TextColumn } from '../../files/parquet-file.js'
import type { FieldPath } from '../../formats/json-scan.js'
import { needsDictionary } from '../../formats/parquet/text-pages.js'
import type { PlannedFile, PlannedRange, SourcePosition } from './planned-range.js'
import type { PageRun } from './range-task.js'

/** Most text of a range of several row groups or pages, in sizes of a range. */
const MAX_JOINED_RANGES = 1.5
/** Rows that hyparquet reads at a time: they are objects meanwhile. */
const WINDOW_ROWS = 1000

/** @throws PARQUET_INVALID, FIELD_MISSING, FIELD_NOT_TEXT, FILE_UNREADABLE */
export async function* planParquet(
  file: PlannedFile,
  field: FieldPath,
  { row = 0 }: SourcePosition,
): AsyncGenerator<PlannedRange> {
  const parquet = await ParquetFile.open(file.path)
  try {
    const isPath = field.every(part => typeof part === 'string')
    const column = isPath ? parquet.textColumn(field as string[]) : undefined
    yield* column?.chunks === undefined
      ? planRows(file, parquet, column, row)
      : planPages(file, parquet, column, column.chunks, row)
  } finally {
    await parquet.close()
  }
}

async function* planRows(
  { path, stats, maxLineBytes, to }: PlannedFile,
  parquet: ParquetFile,
  column: TextColumn | undefined,
  from: number,
): AsyncGenerator<PlannedRange> {
  const columns = column === undefined ? undefined : [column.path[0]!]
  const rows = to ?? parquet.rows
  for (let start = from; start < rows; start += WINDOW_ROWS) {
    const end = Math.min(rows, start + WINDOW_ROWS)
    yield {
      part: { kind: 'rows', file: path, maxLineBytes, start, end, columns },
      next: { byteOffset: Math.floor((stats.size * end) / parquet.rows), row: end },
    }
  }
}

async function* planPages(
  file: PlannedFile,
  parquet: ParquetFile,
  { path, maxDefinition }: TextColumn,
  chunks: readonly TextChunk[],
  from: number,
): AsyncGenerator<PlannedRange> {
  const common = { file: file.path, maxLineBytes: file.maxLineBytes, descriptor: file.handle.fd, maxDefinition }
  let runs: PageRun[] = []
  let pageBytes = 0
  let next: SourcePosition = { byteOffset: 0, row: 0 }
  const take = (): PlannedRange => {
    const planned = { part: { kind: 'pages' as const, ...common, column: `.${path.join('.')}`, runs }, next }
    runs = []
    pageBytes = 0
    return planned
  }
  for (const chunk of chunks) {
    if (chunk.firstRow + chunk.rows <= from) continue
    if (chunk.firstRow >= (file.to ?? parquet.rows)) break
    for await (const { run, uncompressedBytes } of runsOf(parquet, chunk, file.rangeBytes)) {
      if (run.firstRow + run.rows <= from) continue
      if (runs.length > 0 && pageBytes + uncompressedBytes > MAX_JOINED_RANGES * file.rangeBytes) yield take()
      runs.push(run)
      pageBytes += uncompressedBytes
      next = { byteOffset: Math.max(next.byteOffset, run.end), row: run.firstRow + run.rows }
      if (pageBytes >= file.rangeBytes) yield take()
    }
  }
  if (runs.length > 0) yield take()
}

interface SizedRun {
  readonly run: PageRun
  readonly uncompressedBytes: number
}

/**
 * A small chunk as a whole, whose pages the worker finds; or groups of its pages. A group has the dictionary only if one
 * of its pages refers to it: writers stop using it when it has grown to a megabyte or so, and decoding it for each group
 * doubled the time of a file.
 */
async function* runsOf(parquet: ParquetFile, chunk: TextChunk, rangeBytes: number): AsyncGenerator<SizedRun> {
  const { codec, group, firstRow, rows, start, end, uncompressedBytes } = chunk
  const common = { codec, group }
  if (uncompressedBytes <= 2 * rangeBytes) {
    yield { run: { ...common, dictionary: undefined, firstRow, rows, start, end }, uncompressedBytes }
    return
  }
  let dictionary: PageRun['dictionary']
  let usesDictionary = false
  let first = { at: start, row: firstRow }
  let row = firstRow
  let size = 0
  const runTo = (end: number): SizedRun => {
    const needed = usesDictionary ? dictionary : undefined
    const run = { ...common, dictionary: needed, firstRow: first.row, rows: row - first.row, start: first.at, end }
    const sized = { run, uncompressedBytes: size }
    first = { at: end, row }
    size = 0
    usesDictionary = false
    return sized
  }
  for await (const { header, at } of parquet.pageHeaders(chunk)) {
    const pageEnd = at + header.headerBytes + header.pageBytes
    if (header.kind === 'dictionary') {
      dictionary = { start: at, end: pageEnd }
      first = { at: pageEnd, row }
    }
    if (header.kind !== 'data' && header.kind !== 'data-v2') continue
    row += header.values
    size += header.uncompressedBytes
    usesDictionary ||= needsDictionary(header)
    if (size >= rangeBytes) yield runTo(pageEnd)
  }
  if (row > first.row) yield runTo(end)
  if (row === firstRow + rows) return
  const message = `row group ${group} has ${rows} rows, its pages ${row - firstRow}`
  throw new PenstockError('PARQUET_INVALID', message, { file: parquet.path })
}
