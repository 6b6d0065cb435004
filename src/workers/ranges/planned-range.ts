/** Result of dividing a file: its ranges, and the places between them. */
import type { Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import type { FieldPath } from '../../formats/json-scan.js'
import type { RangePart } from './range-task.js'

/** How a file is divided: anywhere, at the borders of compressed frames if it has any, or by rows. */
export type RangeFormat = 'lines' | 'zstd' | 'gzip' | 'parquet'

/** A place in a file between two ranges, from which a run can be resumed. */
export interface SourcePosition {
  /** Bytes of the file before it, as stored. */
  readonly byteOffset: number
  /** Set in the part of a file that is decompressed as one stream. */
  readonly stream?: StreamPosition | undefined
  /** The next row, from 0, of a Parquet file. */
  readonly row?: number | undefined
}

export interface StreamPosition {
  /** Offset of the stream in the file. */
  readonly from: number
  /** Text of the stream before the place. */
  readonly skip: number
  /** Whether the place is inside a line that has been processed. */
  readonly isInLine: boolean
}

export interface OpenSource {
  readonly handle: FileHandle
  readonly stats: Stats
}

export interface PlannedFile extends OpenSource {
  readonly path: string
  readonly format: RangeFormat
  /** Where to stop: byte of a file of lines that begins a line, row of a Parquet file; undefined for the end. */
  readonly to?: number | undefined
  /** The text of a record; needed for a Parquet file. */
  readonly field: FieldPath | undefined
  readonly maxLineBytes: number
  /** Text of a range. */
  readonly rangeBytes: number
  /** Provides memory of at least the given size for a range of text. */
  readonly newMemory: (byteLength: number) => SharedArrayBuffer
}

export interface PlannedRange {
  readonly part: RangePart
  /** The place after the range. */
  readonly next: SourcePosition
}
