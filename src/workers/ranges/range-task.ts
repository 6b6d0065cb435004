/** Messages between `read-ranges` and its workers: setup, task and reply. */
import type { TokenArray } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { TokenBytes } from '../../formats/pbin.js'
import type { RetryMode } from '../poison-records.js'
import type { TokenizerSetup } from '../tokenizer/tokenizer-setup.js'
import type { FileRange } from './load-range.js'
import type { PackedFaults } from './range-faults.js'

/** Setup for workers that tokenize. Without it, lines are only validated. */
export interface RangePacking extends TokenizerSetup {
  readonly path: FieldPath
  /** Defaults to the smallest width that fits the vocabulary. */
  readonly tokenBytes: TokenBytes | undefined
}

/** Process the lines that start in the range. */
export interface RangeTask extends FileRange {
  /** Whether to return the offsets of the lines. */
  readonly index: boolean
  /** Memory for the reply's arrays, used if they fit. Reused, so that no garbage is created. */
  readonly slot: SharedArrayBuffer
  /** Records are the lines of the range, from 0. */
  readonly retry: RetryMode
}

export interface RangeReply {
  /** File offset to which `places` are relative. */
  readonly byteOffset: number
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
