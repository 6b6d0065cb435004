/** Messages between `read-ranges` and its workers: setup, task and reply. */
import type { TokenArray } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { Codec as PageCodec } from '../../formats/parquet/text-pages.js'
import type { TokenBytes } from '../../formats/pbin.js'
import type { RetryMode } from '../poison-records.js'
import type { TokenizerSetup } from '../tokenizer/tokenizer-setup.js'
import type { PackedFaults } from './range-faults.js'

/** Setup for workers that tokenize. Without it, lines are only validated. */
export interface RangePacking extends TokenizerSetup {
  readonly path: FieldPath
  /** Defaults to the smallest width that fits the vocabulary. */
  readonly tokenBytes: TokenBytes | undefined
}

interface PartOfFile {
  readonly file: string
  readonly maxLineBytes: number
}

/** The lines that start in bytes [start, end) of a file of lines. */
export interface FileRange extends PartOfFile {
  readonly kind: 'file'
  readonly descriptor: number
  readonly fileBytes: number
  readonly start: number
  readonly end: number
}

/** Complete lines that are in memory already. */
export interface TextRange extends PartOfFile {
  readonly kind: 'text'
  readonly memory: SharedArrayBuffer
  /** Size of the lines, which the memory begins with. */
  readonly byteLength: number
  /** Bytes of an overlong line before the lines, which were skipped. */
  readonly skippedBytes: number
  /** Size of the head of an overlong line that follows the lines in memory; 0 for none. */
  readonly overlongBytes: number
}

/**
 * The lines of complete compressed frames (Zstandard) or members (gzip) at [start, end) of a file. A line belongs to the
 * frames whose text ends with the line feed before it, or later: its start is found without the frames before.
 */
export interface FrameRange extends PartOfFile {
  readonly kind: 'frames'
  readonly codec: Codec
  readonly descriptor: number
  readonly fileBytes: number
  readonly start: number
  readonly end: number
  /** Most text that the frames may have. */
  readonly maxTextBytes: number
}
export type Codec = 'zstd' | 'gzip'

/** Rows of a text column of a Parquet file, in complete pages. */
export interface PageRange extends PartOfFile {
  readonly kind: 'pages'
  readonly descriptor: number
  /** As users write it, such as `.text`. */
  readonly column: string
  /** Number of optional fields on the path of the column. */
  readonly maxDefinition: number
  readonly runs: readonly PageRun[]
}

/** Consecutive pages of a row group, at [start, end) of the file. */
export interface PageRun {
  readonly group: number
  readonly codec: PageCodec
  /** Place of the dictionary, unless it is among the pages. */
  readonly dictionary: { readonly start: number; readonly end: number } | undefined
  readonly start: number
  readonly end: number
  /** Row of the file that the first page begins with, from 0. */
  readonly firstRow: number
  readonly rows: number
}

/** Rows [start, end) of a Parquet file whose columns are not read page by page. */
export interface RowRange extends PartOfFile {
  readonly kind: 'rows'
  readonly start: number
  readonly end: number
  /** All columns if undefined. */
  readonly columns: readonly string[] | undefined
}

/** What a worker processes at a time. */
export type RangePart = FileRange | TextRange | FrameRange | PageRange | RowRange

/** Process a part of a file. */
export interface RangeTask {
  readonly part: RangePart
  /** Whether to return the offsets of the lines. */
  readonly index: boolean
  /** Memory for the reply's arrays, used if they fit. Reused, so that no garbage is created. */
  readonly slot: SharedArrayBuffer
  /** Records are the lines of the range, from 0. */
  readonly retry: RetryMode
}

/** Reply instead of a result: the frames have more text than `maxTextBytes`. */
export const TOO_LARGE = 'too large'
export type TooLarge = typeof TOO_LARGE

export interface RangeReply {
  /** Offset to which `places` are relative: in the file, or in the text of the range if `textBytes` is set. */
  readonly byteOffset: number
  /** Size of the range's text if that is decompressed lines; otherwise 0. */
  readonly textBytes: number
  /** Total size of the range's lines. */
  readonly byteLength: number
  /** Number of lines that start in the range, including faulty ones. */
  readonly lineCount: number
  /** Offsets of the valid lines, if requested. */
  readonly places: { readonly starts: Uint32Array; readonly ends: Uint32Array } | undefined
  /** Relative to `byteOffset`. */
  readonly faults: PackedFaults
  /** Tokens of the valid documents; undefined when lines are only validated. */
  readonly documents: { readonly tokens: TokenArray; readonly lengths: Uint32Array } | undefined
}
