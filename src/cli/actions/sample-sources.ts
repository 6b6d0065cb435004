/** Samples the records of a corpus, format by format, for `init` and `inspect`. */
import { PenstockError } from '../../errors.js'
import { requireFormat, type SourceFormat } from '../../files/source-format.js'
import { sourceSize } from '../../files/source-list.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { type ReadCorpusOptions, readCorpus } from '../../stages/read-corpus.js'

/** Limits for each format. */
const MAX_FILES = 64
const MAX_RECORDS = 1000
const SAMPLE_BYTES = 1 << 20
const MAX_DEPTH = 4

export type TextUnit = ReadCorpusOptions['text_per']

/** A string field of the sampled records. */
export interface SampledField {
  readonly records: number
  readonly bytes: number
}

/** Files of one format, and a sample of their records. */
export interface FormatSample {
  readonly format: SourceFormat
  readonly files: readonly string[]
  /** Of all files, as stored. */
  readonly bytes: number
  readonly records: number
  /** Sampled records that are invalid, or no objects. */
  readonly faulty: number
  /** The first fault, if any. */
  readonly fault: string | undefined
  /** Bytes of the sampled records as JSON. */
  readonly jsonBytes: number
  /** Estimated records of all files; exact if all were sampled. */
  readonly allRecords: number
  readonly isWhole: boolean
  /** By jq path. Plain text has one, `.text`. */
  readonly fields: ReadonlyMap<string, SampledField>
}

/** @throws UNSUPPORTED, FILE_UNREADABLE and the errors of files that cannot be read at all */
export async function sampleSources(files: readonly string[], textPer: TextUnit): Promise<FormatSample[]> {
  const groups = new Map<SourceFormat, string[]>()
  for (const file of files) {
    const format = requireFormat(file)
    const members = groups.get(format)
    if (members === undefined) groups.set(format, [file])
    else members.push(file)
  }
  const samples: FormatSample[] = []
  for (const [format, members] of groups) samples.push(await sampleOf(format, members, textPer))
  return samples
}

async function sampleOf(format: SourceFormat, files: readonly string[], textPer: TextUnit): Promise<FormatSample> {
  const sample = new RecordSample(format === 'text')
  const chosen = spread(files)
  let isFull = false
  for (const file of chosen) if (!isFull) isFull = await sample.read(file, textPer)
  const bytes = files.reduce((sum, file) => sum + (sourceSize(file) ?? 0), 0)
  const isWhole = !isFull && chosen.length === files.length
  return { format, files, bytes, isWhole, ...sample.result(bytes, isWhole) }
}

/** Some of the files: the first, and others at equal distances. */
function spread(files: readonly string[]): string[] {
  const count = Math.min(MAX_FILES, files.length)
  return Array.from({ length: count }, (_, index) => files[Math.floor((index * files.length) / count)]!)
}

class RecordSample {
  private readonly isText: boolean
  private readonly fields = new Map<string, SampledField>()
  private records = 0
  private faulty = 0
  private fault: string | undefined
  private jsonBytes = 0
  /** Bytes of files that were read, as stored, and the records in them, sampled or not. */
  private readBytes = 0
  private readRecords = 0

  constructor(isText: boolean) {
    this.isText = isText
  }

  /** @returns whether the sample is large enough */
  async read(file: string, textPer: TextUnit): Promise<boolean> {
    const options: ReadCorpusOptions = { sources: [file], order: 'given', field: 'tojson', text_per: textPer }
    const stage = readCorpus({ ...options, faulty: 'skip' })
    let isFull = false
    for await (const { bytes, offsets } of stage as AsyncIterable<DocumentBatch>) {
      for (let index = 1; index < offsets.length && !isFull; index++) {
        this.add(bytes.subarray(offsets[index - 1], offsets[index]))
        isFull = this.records >= MAX_RECORDS || this.jsonBytes >= SAMPLE_BYTES
      }
      if (isFull) break
    }
    const { counts, recordsOut, rejected } = stage.stats
    this.readRecords += recordsOut + rejected
    this.readBytes += counts.readBytes ?? 0
    this.records += rejected
    this.faulty += rejected
    if (rejected > 0) this.fault ??= await firstFault(options)
    return isFull
  }

  /** @param bytes of all files, as stored */
  result(bytes: number, isWhole: boolean) {
    const { records, faulty, fault, jsonBytes, readBytes, readRecords, fields } = this
    const allRecords = isWhole ? records : Math.round((bytes * readRecords) / Math.max(1, readBytes))
    return { records, faulty, fault, jsonBytes, allRecords, fields }
  }

  private add(bytes: Uint8Array): void {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
    this.records++
    this.jsonBytes += bytes.byteLength
    const record: unknown = this.isText ? { text } : JSON.parse(text)
    if (typeof record === 'object' && record !== null && !Array.isArray(record)) {
      addStringFields(record, '', 0, this.fields)
    } else this.faulty++
  }
}

async function firstFault(options: ReadCorpusOptions): Promise<string | undefined> {
  try {
    const documents = readCorpus({ ...options, faulty: 'fail' })[Symbol.asyncIterator]()
    while (!(await documents.next()).done);
    return undefined
  } catch (error) {
    if (error instanceof PenstockError) return error.toLine()
    throw error
  }
}

function addField(fields: Map<string, SampledField>, path: string, value: string): void {
  const { records, bytes } = fields.get(path) ?? { records: 0, bytes: 0 }
  fields.set(path, { records: records + 1, bytes: bytes + Buffer.byteLength(value) })
}

function addStringFields(record: object, path: string, depth: number, fields: Map<string, SampledField>): void {
  for (const [key, value] of Object.entries(record) as [string, unknown][]) {
    const fieldPath = /^[a-z_]\w*$/i.test(key)
      ? `${path}.${key}`
      : `${path === '' ? '.' : path}[${JSON.stringify(key)}]`
    if (typeof value === 'string') addField(fields, fieldPath, value)
    else if (typeof value === 'object' && value !== null && !Array.isArray(value) && depth < MAX_DEPTH) {
      addStringFields(value, fieldPath, depth + 1, fields)
    }
  }
}
