/** Formats of source files, by file extension and by the first bytes. */
import { PenstockError } from '../errors.js'

export type SourceFormat = 'jsonl' | 'json' | 'parquet' | 'arrow' | 'csv' | 'tsv' | 'text' | 'warc'

const FORMATS: Readonly<Record<string, SourceFormat>> = {
  jsonl: 'jsonl',
  ndjson: 'jsonl',
  json: 'json',
  parquet: 'parquet',
  arrow: 'arrow',
  arrows: 'arrow',
  feather: 'arrow',
  csv: 'csv',
  tsv: 'tsv',
  txt: 'text',
  md: 'text',
  warc: 'warc',
  wet: 'warc',
}

/** Formats whose readers need the uncompressed file: compressed ones are rejected. */
const COMPRESSED_INSIDE: ReadonlySet<SourceFormat> = new Set(['parquet', 'arrow'])

const compressed = (name: string): string => `${name}: decompress it, or compress it again with gzip or zstd`
const archive = (name: string): string => `${name}: unpack it and name the folder`
const convertible = (name: string): string => `${name}: convert it to Parquet`
const unreadable = (name: string): string => `${name}: extract its text first`

/** Common formats that are not supported, with advice. */
const ADVICE: Readonly<Record<string, string>> = {
  bz2: compressed('bzip2'),
  xz: compressed('xz'),
  lzma: compressed('lzma'),
  lz4: compressed('lz4'),
  br: compressed('brotli'),
  sz: compressed('snappy'),
  z: compressed('compress'),
  zip: archive('a zip archive'),
  tar: archive('a tar archive, as of WebDataset'),
  tgz: archive('a tar archive'),
  tbz2: archive('a tar archive'),
  txz: archive('a tar archive'),
  '7z': archive('a 7-Zip archive'),
  rar: archive('a RAR archive'),
  avro: convertible('Avro'),
  orc: convertible('ORC'),
  sqlite: convertible('an SQLite database'),
  sqlite3: convertible('an SQLite database'),
  db: convertible('a database'),
  h5: convertible('HDF5'),
  hdf5: convertible('HDF5'),
  xlsx: convertible('an Excel workbook'),
  xls: convertible('an Excel workbook'),
  npy: convertible('a NumPy array'),
  npz: convertible('a NumPy archive'),
  pkl: convertible('a Python pickle'),
  pickle: convertible('a Python pickle'),
  pt: convertible('a file of PyTorch'),
  tfrecord: convertible('TFRecord'),
  pdf: unreadable('PDF'),
  doc: unreadable('a Word document'),
  docx: unreadable('a Word document'),
  odt: unreadable('an OpenDocument text'),
  pptx: unreadable('a presentation'),
  rtf: unreadable('RTF'),
  epub: unreadable('an EPUB book'),
  html: unreadable('HTML'),
  htm: unreadable('HTML'),
  xhtml: unreadable('HTML'),
  xml: unreadable('XML'),
  wat: 'WAT metadata of a crawl, which has no text: read its WET files',
  pbin: 'a packed file, which holds tokens instead of text: merge, filter and train read it',
}

const COMPRESSION = /\.(gz|zst)$/i

/** The format of a file name, ignoring a compression extension; undefined for an unknown extension. */
export function formatOf(path: string): SourceFormat | undefined {
  const format = FORMATS[endingOf(path.replace(COMPRESSION, ''))]
  return format !== undefined && COMPRESSED_INSIDE.has(format) && COMPRESSION.test(path) ? undefined : format
}

/** `formatOf` for a file that the user named: JSONL by default. @throws UNSUPPORTED with advice */
export function requireFormat(path: string): SourceFormat {
  const format = formatOf(path)
  if (format !== undefined) return format
  const inner = endingOf(path.replace(COMPRESSION, ''))
  const advice =
    inner in FORMATS
      ? `a compressed .${inner} file: decompress it (the format has a compression of its own)`
      : (ADVICE[endingOf(path)] ?? ADVICE[inner])
  if (advice !== undefined) throw new PenstockError('UNSUPPORTED', `this is ${advice}`, { file: path })
  return 'jsonl'
}

/** Lower-case extension without the dot; empty for none. */
export const endingOf = (path: string): string => /\.([^./\\]+)$/.exec(path)?.[1]?.toLowerCase() ?? ''

interface Signature {
  /** Matches the first bytes in hex. */
  readonly hex: RegExp
  readonly advice: string
}

const renamed = (name: string, ending: string): string => `${name}: give it a name that ends in ${ending}`

/** First bytes that no text starts with. */
const SIGNATURES: readonly Signature[] = [
  { hex: /^1f8b08/, advice: renamed('compressed with gzip', '.gz') },
  { hex: /^28b52ffd/, advice: renamed('compressed with zstd', '.zst') },
  { hex: /^50415231(?![2-7]|0[9ad])/, advice: renamed('a Parquet file', '.parquet') },
  { hex: /^4152524f573100/, advice: renamed('an Arrow file', '.arrow') },
  { hex: /^ffffffff....0000/, advice: renamed('an Arrow stream', '.arrow') },
  { hex: /^fd377a585a00/, advice: ADVICE.xz! },
  { hex: /^425a683.314159265359/, advice: ADVICE.bz2! },
  { hex: /^04224d18/, advice: ADVICE.lz4! },
  { hex: /^504b0304/, advice: 'a zip archive, or a document in one (.docx, .xlsx): extract its text first' },
  { hex: /^377abcaf271c/, advice: ADVICE['7z']! },
  { hex: /^526172211a07/, advice: ADVICE.rar! },
  { hex: /^.{514}7573746172(00|20)/, advice: ADVICE.tar! },
  { hex: /^53514c69746520666f726d6174203300/, advice: ADVICE.sqlite! },
  { hex: /^4f5243(?![2-7]|0[9ad])/, advice: ADVICE.orc! },
  { hex: /^4f626a01/, advice: ADVICE.avro! },
  { hex: /^894844460d0a/, advice: ADVICE.hdf5! },
  { hex: /^255044462d3/, advice: ADVICE.pdf! },
  { hex: /^d0cf11e0a1b11ae1/, advice: ADVICE.doc! },
  { hex: /^(fffe|feff)/, advice: 'text in UTF-16: convert it with iconv -f UTF-16 -t UTF-8' },
  { hex: /^([2-7].00){2}/, advice: 'text in UTF-16: convert it with iconv -f UTF-16LE -t UTF-8' },
  { hex: /^(00[2-7].){2}/, advice: 'text in UTF-16: convert it with iconv -f UTF-16BE -t UTF-8' },
]

/** Starts of texts other than JSON. */
const TEXTS_BESIDE_JSON: readonly { readonly start: RegExp; readonly advice: string }[] = [
  { start: /^\s*<(!doctype|html)/i, advice: ADVICE.html! },
  { start: /^\s*<\?xml/i, advice: ADVICE.xml! },
  { start: /^WARC\/\d/, advice: renamed('WARC', '.warc or .wet') },
]

/** Bytes of a file's start that `requireText` reads. */
export const SIGNATURE_BYTES = 512

/**
 * Rejects a file whose first bytes are those of another format, regardless of its name.
 * @throws UNSUPPORTED with advice
 */
export function requireText(file: string, start: Uint8Array, isJson: boolean): void {
  const head = Buffer.from(start.buffer, start.byteOffset, Math.min(start.byteLength, SIGNATURE_BYTES))
  const [hex, text] = [head.toString('hex'), isJson ? head.toString('latin1') : '']
  const found =
    SIGNATURES.find(signature => signature.hex.test(hex)) ?? TEXTS_BESIDE_JSON.find(it => it.start.test(text))
  if (found !== undefined) throw new PenstockError('UNSUPPORTED', `the file is ${found.advice}`, { file })
}
