/** Formats of source files by file extension. */
import { PenstockError } from '../errors.js'

export type SourceFormat = 'jsonl' | 'json' | 'parquet' | 'csv' | 'tsv' | 'text'

const FORMATS: Readonly<Record<string, SourceFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  parquet: 'parquet',
  csv: 'csv',
  tsv: 'tsv',
  txt: 'text',
  md: 'text',
}

/** Common formats that are not supported, with advice. */
const ADVICE: Readonly<Record<string, string>> = {
  bz2: 'bzip2: decompress it, or compress it again with zstd',
  xz: 'xz: decompress it, or compress it again with zstd',
  lz4: 'lz4: decompress it, or compress it again with zstd',
  br: 'brotli: decompress it, or compress it again with zstd',
  zip: 'a zip archive: unpack it and name the folder',
  tar: 'a tar archive: unpack it and name the folder',
  tgz: 'a tar archive: unpack it and name the folder',
  '7z': 'a 7-Zip archive: unpack it and name the folder',
  rar: 'a RAR archive: unpack it and name the folder',
  avro: 'Avro: convert it to Parquet',
  orc: 'ORC: convert it to Parquet',
  arrow: 'an Arrow IPC file: convert it to Parquet',
  feather: 'an Arrow IPC file: convert it to Parquet',
  pdf: 'PDF: extract its text first',
  docx: 'a Word document: extract its text first',
  html: 'HTML: extract its text first',
  warc: 'WARC: extract its text first',
}

/** The format of a file name, ignoring a compression extension; undefined for an unknown extension. */
export function formatOf(path: string): SourceFormat | undefined {
  const ending = endingOf(path.replace(/\.(gz|zst)$/i, ''))
  const format = FORMATS[ending]
  // Parquet compresses its pages itself; a compressed file of it has no footer at its end.
  return format === 'parquet' && !/\.parquet$/i.test(path) ? undefined : format
}

/** `formatOf` for a file that the user named: JSONL by default. @throws UNSUPPORTED with advice */
export function requireFormat(path: string): SourceFormat {
  const format = formatOf(path)
  if (format !== undefined) return format
  const advice = ADVICE[endingOf(path)] ?? ADVICE[endingOf(path.replace(/\.(gz|zst)$/i, ''))]
  if (advice !== undefined) throw new PenstockError('UNSUPPORTED', `this is ${advice}`, { file: path })
  return 'jsonl'
}

const endingOf = (path: string): string => /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''
