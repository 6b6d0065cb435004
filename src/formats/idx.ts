/**
 * The raw index of a JSONL file, `.idx`: a pickled list with one pair a record, (byte offset, byte length without the
 * line feed), in the order of the file. The whole file is that pickle; see pickle.ts for its layout. Python reads it
 * with `pickle.load`, the reference system writes the same bytes.
 */
import { PenstockError, type Where } from '../errors.js'
import { PairListPickler } from './pickle.js'
import { type OnPairs, PairListReader, readPairList } from './pickle-reader.js'

/** Takes one (byte offset, byte length) a record: `push` or `pushLines`, `take` what is final, `finish`. */
export class IndexWriter extends PairListPickler {
  /** Adds lines that stand at [starts, ends) from `byteOffset` on. */
  pushLines(byteOffset: number, starts: Uint32Array, ends: Uint32Array): void {
    for (let line = 0; line < starts.length; line++) {
      this.push(byteOffset + starts[line]!, ends[line]! - starts[line]!)
    }
  }
}

export interface IndexReaderOptions {
  /** Size of the JSONL file. Given, an index that points outside of it is refused. */
  readonly sourceBytes?: number
  readonly where?: Where
}

/**
 * Reads an index from pieces of any size: `feed`, then `end`.
 * @throws PICKLE_INVALID if it is no such list; IDX_INVALID if its records overlap or leave the source
 */
export function createIndexReader(onEntries: OnPairs, options: IndexReaderOptions = {}): PairListReader {
  const check = createEntryCheck(options)
  const checked: OnPairs = entries => {
    check(entries)
    onEntries(entries)
  }
  return new PairListReader(checked, options.where)
}

/** Reads a whole index: [offset0, length0, offset1, length1, ...]. @throws PICKLE_INVALID, IDX_INVALID */
export function readIndex(bytes: Uint8Array, options: IndexReaderOptions = {}): Float64Array {
  const entries = readPairList(bytes, options.where)
  createEntryCheck(options)(entries)
  return entries
}

/** Records stand in the order of the file; lines between them may have been dropped. */
function createEntryCheck({ sourceBytes = Number.MAX_SAFE_INTEGER, where = {} }: IndexReaderOptions): OnPairs {
  let record = 0
  let previousEnd = 0
  return entries => {
    for (let i = 0; i < entries.length; i += 2, record++) {
      const offset = entries[i]!
      const end = offset + entries[i + 1]!
      if (offset < previousEnd) {
        throw new PenstockError(
          'IDX_INVALID',
          `record at byte ${offset} starts before the end of the one before, ${previousEnd}`,
          {
            ...where,
            record,
          },
        )
      }
      if (end > sourceBytes) {
        throw new PenstockError(
          'IDX_INVALID',
          `record ends at byte ${end}, the indexed file has ${sourceBytes}: it is another file, or was changed after indexing`,
          { ...where, record },
        )
      }
      previousEnd = end
    }
  }
}
