/**
 * The raw index of a JSONL file, `.idx`: a pickled list with one pair per record, (byte offset, byte length without the
 * line feed), in file order. The file consists of that pickle; see pickle.ts for its layout. Python reads it with
 * `pickle.load`; Modalities writes the same bytes.
 */
import { PenstockError, type Where } from '../errors.js'
import { PairListPickler } from './pickle.js'
import { type OnPairs, PairListReader, readPairList } from './pickle-reader.js'

/** Writes one (byte offset, byte length) per record: call `push` or `pushLines`, `take` finished bytes, then `finish`. */
export class IndexWriter extends PairListPickler {
  /** Adds lines at [starts, ends) relative to `byteOffset`. */
  pushLines(byteOffset: number, starts: Uint32Array, ends: Uint32Array): void {
    for (let line = 0; line < starts.length; line++) {
      this.push(byteOffset + starts[line]!, ends[line]! - starts[line]!)
    }
  }
}

export interface IndexReaderOptions {
  /** Size of the JSONL file: an index that points beyond it is rejected. */
  readonly sourceBytes?: number
  readonly where?: Where
}

/**
 * Reads an index in chunks of any size: `feed`, then `end`.
 * @throws PICKLE_INVALID if it is not such a list; IDX_INVALID if records overlap or exceed the source
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

/** Records are in file order; lines between them may have been dropped. */
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
          `the record at byte ${offset} starts before the end of the previous one, byte ${previousEnd}`,
          {
            ...where,
            record,
          },
        )
      }
      if (end > sourceBytes) {
        throw new PenstockError(
          'IDX_INVALID',
          `the record ends at byte ${end}, but the indexed file has ${sourceBytes} bytes: it is a different file or changed after it was indexed`,
          { ...where, record },
        )
      }
      previousEnd = end
    }
  }
}
