/** Documents of many files of any format, one file after the other. */
import { PenstockError, toPenstockError } from '../../errors.js'
import type { SourceFormat } from '../../files/source-format.js'
import { sourceSize } from '../../files/source-list.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { DEFAULT_LINE_BYTES } from '../../formats/jsonl.js'
import type { DocumentReader, ReadRequest, TextPer } from './document-reader.js'
import type { FaultHandler } from './fault-handler.js'
import type { StageContext } from './stage.js'

/** Loaded with the first file of a format. */
const READERS: Readonly<Record<SourceFormat, () => Promise<DocumentReader>>> = {
  jsonl: async () => (await import('./jsonl-documents.js')).jsonlDocuments,
  json: async () => (await import('./jsonl-documents.js')).jsonDocuments,
  parquet: async () => (await import('./parquet-documents.js')).parquetDocuments,
  arrow: async () => (await import('./arrow-documents.js')).arrowDocuments,
  csv: async () => (await import('./table-documents.js')).tableDocuments,
  tsv: async () => tsvDocuments(),
  text: async () => (await import('./text-documents.js')).textDocuments,
  warc: async () => (await import('./warc-documents.js')).warcDocuments,
}

async function tsvDocuments(): Promise<DocumentReader> {
  const { tableDocuments } = await import('./table-documents.js')
  return request => tableDocuments(request, '\t')
}

export interface CorpusFile {
  readonly path: string
  readonly format: SourceFormat
}

interface CorpusOptions {
  readonly field: string
  readonly max_record_bytes?: number | undefined
  readonly text_per?: TextPer | undefined
  readonly delimiter?: ReadRequest['delimiter'] | undefined
  /** Start in the first file and end in the last one: bytes of lines, rows of Parquet. */
  readonly from?: number
  readonly to?: number | undefined
}

/** Where to resume: index of the file in the list, and position in it. */
interface CorpusCursor {
  readonly file: number
  readonly position: unknown
}

/** @throws what the readers of the formats throw, with the file in `where` */
export async function* corpusDocuments(
  files: readonly CorpusFile[],
  options: CorpusOptions,
  faults: FaultHandler,
  { journal, stats, signal }: StageContext,
): AsyncGenerator<DocumentBatch> {
  const { field, max_record_bytes: maxRecordBytes = DEFAULT_LINE_BYTES } = options
  const { text_per: textPer = 'file', delimiter = 'auto' } = options
  const cursor = journal?.cursor<CorpusCursor>() ?? { file: 0, position: startIn(files[0]!, options.from) }
  const { counts } = stats
  faults.orderSources(files.map(({ path }) => path))
  // A missing file is reported when it is read.
  const sizes = files.map(({ path }) => sourceSize(path) ?? 0)
  counts.totalBytes = sum(sizes)
  counts.totalFiles = files.length
  let done = sum(sizes.slice(0, cursor.file))
  let number = 0
  const passedOver = new Map<string, number>()
  for (const [index, { path, format }] of files.entries()) {
    if (index < cursor.file) continue
    const read = await READERS[format]()
    const from = index === cursor.file ? cursor.position : undefined
    const to = index === files.length - 1 ? options.to : undefined
    const size = sizes[index]!
    try {
      for await (const part of read({ path, field, from, to, maxRecordBytes, textPer, delimiter, signal })) {
        for (const fault of part.faults) await faults.handle(fault)
        for (const [kind, records] of part.passedOver ?? []) passedOver.set(kind, (passedOver.get(kind) ?? 0) + records)
        counts.readBytes = done + Math.min(size, part.bytesRead)
        const { position } = part
        const mark = journal?.markAfter(
          part.documents.byteLength,
          () => ({ file: index, position }) satisfies CorpusCursor,
        )
        yield { ...part.documents, number: number++, mark }
      }
    } catch (error) {
      if (error instanceof PenstockError) throw error
      throw toPenstockError(error, 'FILE_UNREADABLE', { file: path })
    }
    done += size
    counts.readBytes = done
    counts.files = index + 1
  }
  if (passedOver.size > 0) stats.notes.push(`records without text were passed over: ${countsText(passedOver)}`)
}

/** The position at which the reader of a format starts. */
function startIn({ format }: CorpusFile, from = 0): unknown {
  if (from === 0) return undefined
  return format === 'parquet' ? { row: from } : { byteOffset: from, line: 1 }
}

/** The most frequent first. */
function countsText(counts: ReadonlyMap<string, number>): string {
  const sorted = [...counts].toSorted(([, a], [, b]) => b - a)
  return sorted.map(([kind, count]) => `${count} ${kind}`).join(', ')
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0)
