/** Messages between `read-ranges` and its workers: how a worker is set up, one task, and its reply. */
import type { TokenArray } from '../../formats/batches.js'
import type { RecordFault } from '../../formats/extract.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { TokenBytes } from '../../formats/pbin.js'
import type { RetryMode } from '../poison-records.js'
import type { TokenizerSetup } from '../tokenizer/tokenizer-setup.js'
import type { FileRange } from './load-range.js'

/** What to do with the lines beside checking them. */
export interface RangePacking extends TokenizerSetup {
  readonly path: FieldPath
  /** What the vocabulary needs when undefined. */
  readonly tokenBytes: TokenBytes | undefined
}

/** The lines that start in the range are the task's. */
export interface RangeTask extends FileRange {
  /** Whether the places of the lines are asked for. */
  readonly index: boolean
  /** Where the reply's arrays go if they fit: memory that is used again needs no garbage collector. */
  readonly slot: SharedArrayBuffer
  /** Pieces are the range's lines, from 0. */
  readonly retry: RetryMode
}

/** A fault's line is counted from the range's first, which is 0. */
export type RangeFault = Omit<RecordFault, 'file'>

export interface RangeReply {
  /** What `places` are counted from: an offset in the file. */
  readonly byteOffset: number
  /** Of the range's lines. */
  readonly byteLength: number
  /** Lines that start in the range, faulty ones included. */
  readonly lineCount: number
  /** Of the valid lines, where they are asked for. */
  readonly places: { readonly starts: Uint32Array; readonly ends: Uint32Array } | undefined
  readonly faults: readonly RangeFault[]
  /** Of the lines that are documents; undefined when nothing is packed. */
  readonly documents: { readonly tokens: TokenArray; readonly lengths: Uint32Array } | undefined
}
