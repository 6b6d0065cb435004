/** Interface of the readers of a corpus: one function per format, all with the same result, so that a corpus can mix them. */
import type { DocumentBatch } from '../../formats/batches.js'
import type { RecordFault } from '../../formats/extract.js'
import type { DelimiterName } from './csv-delimiter.js'

export type TextPer = 'file' | 'line'

/** Documents of a part of a file. Batches of one file carry no numbers: the stage that mixes files gives them. */
export interface FileDocuments {
  readonly documents: DocumentBatch
  /** Records of this part that have no text. */
  readonly faults: readonly RecordFault[]
  /** Resume position after this part, passed back as `from` by a resumed run. JSON values only. */
  readonly position: unknown
  /** Bytes of the file read so far, on disk where that is known. */
  readonly bytesRead: number
  /** Records of this part that hold no text by their kind, which is not a fault: numbers of them by kind. */
  readonly passedOver?: ReadonlyMap<string, number>
}

export interface ReadRequest {
  readonly path: string
  /** The text of a record, as a jq filter; a text file has no records. */
  readonly field: string
  /** A `position` of an earlier run over the same file. */
  readonly from: unknown
  /** Where to stop: byte of a JSONL file, row of a Parquet file; other formats are read to their end. */
  readonly to: number | undefined
  /** A document of a plain text file: the file, or each line that is not blank. */
  readonly textPer: TextPer
  /** Between the fields of a CSV or TSV file. */
  readonly delimiter: DelimiterName | 'auto'
  readonly maxRecordBytes: number
  readonly signal: AbortSignal
}

export type DocumentReader = (request: ReadRequest) => AsyncGenerator<FileDocuments>
