/**
 * A Parquet file opened for reading one text column: where the column's pages are, and the pages themselves one after the
 * other, so that memory does not grow with a row group. The footer is read by hyparquet, which also reads the columns
 * that `formats/parquet` does not decode.
 */
import type { AsyncBuffer, ColumnChunk, FileMetaData, SchemaTree } from 'hyparquet'
import { PenstockError, toPenstockError } from '../errors.js'
import { type PageHeader, readPageHeader } from '../formats/parquet/page-header.js'
import { CODECS, type Codec } from '../formats/parquet/text-pages.js'
import { readFully } from './read-at.js'
import { closeSource, type OpenedSource, openAnySource, type SourceHandle } from './source-file.js'

/** A page header is some 30 bytes; the statistics in it may hold whole values. */
const HEADER_BYTES = 4096
const MAX_HEADER_BYTES = 16 << 20
/** The magic number twice, and the size of the metadata. */
const MIN_FILE_BYTES = 12
/** Most bytes of a page, compressed or not. */
export const MAX_PAGE_BYTES = 512 << 20

/** One column of one row group. */
export interface TextChunk {
  readonly group: number
  /** In the file, half-open. */
  readonly start: number
  readonly end: number
  readonly codec: Codec
  /** Size of its pages, uncompressed. */
  readonly uncompressedBytes: number
  /** Row of the file that the group begins with, from 0. */
  readonly firstRow: number
  readonly rows: number
}

export interface TextColumn {
  readonly path: readonly string[]
  /** Number of optional fields on the path. */
  readonly maxDefinition: number
  /** By row group; undefined where only hyparquet reads the column. */
  readonly chunks: readonly TextChunk[] | undefined
}

export interface ParquetPage {
  readonly header: PageHeader
  readonly body: Uint8Array
}

/** Owns its handle until `close`. */
export class ParquetFile {
  readonly path: string
  readonly handle: SourceHandle
  readonly size: number
  private readonly source: OpenedSource
  readonly metadata: FileMetaData
  private readonly columns: readonly SchemaTree[]

  private constructor(source: OpenedSource, metadata: FileMetaData, schema: SchemaTree) {
    this.path = source.path
    this.handle = source.handle
    this.size = source.size
    this.source = source
    this.metadata = metadata
    this.columns = leavesOf(schema)
  }

  /** @throws FILE_MISSING, FILE_UNREADABLE; PARQUET_INVALID for a footer that cannot be read */
  static async open(path: string, signal?: AbortSignal): Promise<ParquetFile> {
    const source = await openAnySource(path, signal)
    try {
      if (source.size < MIN_FILE_BYTES) throw tooShort(source.size)
      const { parquetMetadataAsync, parquetSchema } = await import('hyparquet')
      const metadata = await parquetMetadataAsync(asyncBuffer(source), { geoparquet: false })
      return new ParquetFile(source, metadata, parquetSchema(metadata))
    } catch (error) {
      await source.handle.close()
      throw toPenstockError(error, 'PARQUET_INVALID', { file: path })
    }
  }

  get rows(): number {
    return Number(this.metadata.num_rows)
  }

  /** Rows and uncompressed size of each row group. */
  rowGroups(): { readonly rows: number; readonly bytes: number }[] {
    return this.metadata.row_groups.map(group => ({
      rows: Number(group.num_rows),
      bytes: Number(group.total_byte_size),
    }))
  }

  /** Paths of all columns, as jq filters. */
  get columnNames(): string[] {
    return this.columns.map(column => `.${column.path.join('.')}`)
  }

  /** @throws FIELD_MISSING with the columns that there are; FIELD_NOT_TEXT for a column of another type */
  textColumn(path: readonly string[]): TextColumn {
    const where = { file: this.path }
    const column = this.columns.find(leaf => leaf.path.join('\n') === path.join('\n'))
    if (column === undefined) {
      const message = `no column .${path.join('.')}; the file has ${this.columnNames.join(', ')}`
      throw new PenstockError('FIELD_MISSING', message, where)
    }
    if (column.element.type !== 'BYTE_ARRAY') {
      const message = `the column .${path.join('.')} has the type ${column.element.type}, where text is expected`
      throw new PenstockError('FIELD_NOT_TEXT', message, where)
    }
    const { optional, repeated } = this.nesting(path)
    return { path, maxDefinition: optional, chunks: repeated ? undefined : this.chunksOf(path) }
  }

  /** The pages of a chunk, dictionary included. A page's bytes are the caller's. @throws PARQUET_INVALID, FILE_UNREADABLE */
  async *pages(chunk: TextChunk): AsyncGenerator<ParquetPage> {
    for await (const { header, at } of this.pageHeaders(chunk)) {
      const body = new Uint8Array(header.pageBytes)
      const read = await readFully(this, body, at + header.headerBytes)
      if (read < header.pageBytes) throw this.invalid('the file ends inside a page', at)
      yield { header, body }
    }
  }

  /** The headers of the pages of a chunk, and their positions in the file. @throws PARQUET_INVALID, FILE_UNREADABLE */
  async *pageHeaders(chunk: TextChunk): AsyncGenerator<{ readonly header: PageHeader; readonly at: number }> {
    for (let at = chunk.start; at < chunk.end; ) {
      const header = await this.headerAt(at, chunk.end)
      const { pageBytes, uncompressedBytes, headerBytes } = header
      const end = at + headerBytes + pageBytes
      if (end > chunk.end) throw this.invalid('a page reaches past the end of its column', at)
      const largest = Math.max(pageBytes, uncompressedBytes)
      if (largest > MAX_PAGE_BYTES) {
        throw this.invalid(`a page of ${largest} bytes; at most ${MAX_PAGE_BYTES} are read`, at)
      }
      yield { header, at }
      at = end
    }
  }

  /**
   * Values of a column that is not read page by page, or of several columns as records: rows [from, to).
   * @throws PARQUET_INVALID
   */
  async records(from: number, to: number, columns?: readonly string[]): Promise<Record<string, unknown>[]> {
    const [{ parquetReadObjects }, { compressors }] = await Promise.all([
      import('hyparquet'),
      import('hyparquet-compressors'),
    ])
    try {
      return await parquetReadObjects({
        file: asyncBuffer(this.source),
        metadata: this.metadata,
        ...(columns === undefined ? {} : { columns: [...columns] }),
        rowStart: from,
        rowEnd: to,
        compressors,
      })
    } catch (error) {
      throw toPenstockError(error, 'PARQUET_INVALID', { file: this.path })
    }
  }

  /** Checks that the file did not change, as `OpenedSource.check` does. @throws FILE_CHANGED */
  check(now?: boolean): Promise<void> {
    return this.source.check(now)
  }

  async close(): Promise<void> {
    await closeSource(this.path, this.handle)
  }

  private invalid(message: string, byteOffset: number): PenstockError {
    return new PenstockError('PARQUET_INVALID', message, { file: this.path, byteOffset })
  }

  private async headerAt(at: number, end: number): Promise<PageHeader> {
    for (let size = HEADER_BYTES; ; size *= 16) {
      const bytes = new Uint8Array(Math.min(size, end - at))
      const read = await readFully(this, bytes, at)
      let header: PageHeader | undefined
      try {
        header = readPageHeader(bytes.subarray(0, read))
      } catch (error) {
        throw this.invalid((error as Error).message, at)
      }
      if (header !== undefined) return header
      if (read < bytes.length || size >= end - at || size >= MAX_HEADER_BYTES) {
        throw this.invalid('a page header does not end', at)
      }
    }
  }

  private nesting(path: readonly string[]): { optional: number; repeated: boolean } {
    const { schema } = this.metadata
    let optional = 0
    let repeated = false
    let at = 1
    for (const name of path) {
      while (schema[at]!.name !== name) at = afterElement(schema, at)
      if (schema[at]!.repetition_type === 'OPTIONAL') optional++
      if (schema[at]!.repetition_type === 'REPEATED') repeated = true
      at++
    }
    return { optional, repeated }
  }

  /** Undefined when a group has a codec or an encoding that is not decoded here. */
  private chunksOf(path: readonly string[]): TextChunk[] | undefined {
    const chunks: TextChunk[] = []
    let firstRow = 0
    for (const [group, { columns, num_rows }] of this.metadata.row_groups.entries()) {
      const rows = Number(num_rows)
      // Writers leave out the pages, so the group has no place.
      if (rows === 0) continue
      const chunk = columns.find(column => column.meta_data?.path_in_schema.join('\n') === path.join('\n'))
      if (chunk === undefined)
        throw new PenstockError('PARQUET_INVALID', `row group ${group} lacks a column`, { file: this.path })
      const place = placeOf(chunk)
      if (place === undefined) return undefined
      if (!(place.start >= 4 && place.end >= place.start && place.end <= this.size)) {
        throw new PenstockError('PARQUET_INVALID', `row group ${group} lies outside the file`, { file: this.path })
      }
      chunks.push({ ...place, group, firstRow, rows })
      firstRow += rows
    }
    return chunks
  }
}

function tooShort(bytes: number): Error {
  return new Error(bytes === 0 ? 'the file is empty: write it again' : `a file of ${bytes} bytes is no Parquet file`)
}

const DIRECT_ENCODINGS: readonly string[] = ['PLAIN', 'PLAIN_DICTIONARY', 'RLE_DICTIONARY', 'RLE', 'BIT_PACKED']

function placeOf({ meta_data: column, crypto_metadata: encrypted, file_path: elsewhere }: ColumnChunk) {
  if (column === undefined || encrypted !== undefined || elsewhere !== undefined) return undefined
  if (!CODECS.includes(column.codec) || !column.encodings.every(name => DIRECT_ENCODINGS.includes(name)))
    return undefined
  const start = Math.min(
    Number(column.data_page_offset),
    Number(column.dictionary_page_offset || column.data_page_offset),
  )
  return {
    start,
    end: start + Number(column.total_compressed_size),
    codec: column.codec as Codec,
    uncompressedBytes: Number(column.total_uncompressed_size),
  }
}

function leavesOf(tree: SchemaTree): SchemaTree[] {
  return tree.children.length === 0 && tree.path.length > 0 ? [tree] : tree.children.flatMap(leavesOf)
}

/** Position after an element and its descendants in the flat list of a schema. */
function afterElement(schema: FileMetaData['schema'], at: number): number {
  let next = at + 1
  for (let child = 0; child < (schema[at]!.num_children ?? 0); child++) next = afterElement(schema, next)
  return next
}

function asyncBuffer({ path, handle, size: byteLength }: OpenedSource): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      const bytes = new Uint8Array(Math.max(0, end - start))
      const read = await readFully({ path, handle }, bytes, start)
      if (read < bytes.length) {
        throw new PenstockError('PARQUET_INVALID', 'the file ends early', { file: path, byteOffset: start + read })
      }
      return bytes.buffer
    },
  }
}
