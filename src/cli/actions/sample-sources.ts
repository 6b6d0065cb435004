/** Samples the records of a corpus, format by format, for `init` and `inspect`. */
import { pipeline, Readable } from 'node:stream'
import { PenstockError } from '../../errors.js'
import { isRemote } from '../../files/remote/remote-name.js'
import { isPackedName, openSource } from '../../files/source-file.js'
import { requireFormat, type SourceFormat } from '../../files/source-format.js'
import { sourceSize } from '../../files/source-list.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { extractText } from '../../stages/extract-text.js'
import { type ReadCorpusOptions, readCorpus } from '../../stages/read-corpus.js'
import { readLines } from '../../stages/read-lines.js'
import { validateJson } from '../../stages/validate-json.js'

/** Limits for each format. */
const MAX_FILES = 64
const MAX_RECORDS = 1000
const SAMPLE_BYTES = 1 << 20
const MAX_DEPTH = 4
const LINE_FEED = 10

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
  let isWhole = chosen.length === files.length
  for (const [index, file] of chosen.entries()) {
    const places = placesIn(file, format)
    for (const [number, place] of places.entries()) {
      sample.allow(1 / (places.length - number + chosen.length - index - 1))
      isWhole = (await sample.read(file, place, textPer)) && isWhole
    }
  }
  const bytes = files.reduce((sum, file) => sum + (sourceSize(file) ?? 0), 0)
  return { format, files, bytes, isWhole, ...sample.result(bytes, isWhole) }
}

/** Start, middle and end of a plain JSONL file that is larger than the sample; other files are read from their start. */
function placesIn(file: string, format: SourceFormat): (Place | undefined)[] {
  const size = sourceSize(file) ?? 0
  if (format !== 'jsonl' || size <= SAMPLE_BYTES || isPackedName(file) || isRemote(file)) return [undefined]
  const bytes = Math.floor(SAMPLE_BYTES / 3)
  return [0, Math.floor((size - bytes) / 2), size - bytes].map(start => ({ start, end: start + bytes, size }))
}

/** Part of a file: bytes [start, end). */
interface Place {
  readonly start: number
  readonly end: number
  readonly size: number
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
  private maxRecords = MAX_RECORDS
  private maxBytes = SAMPLE_BYTES
  /** Bytes of files that were read, as stored, and the records in them, sampled or not. */
  private readBytes = 0
  private readRecords = 0

  constructor(isText: boolean) {
    this.isText = isText
  }

  /** Lets the next reads fill a share of the room that is left. */
  allow(share: number): void {
    this.maxRecords = this.records + Math.ceil((MAX_RECORDS - this.records) * share)
    this.maxBytes = this.jsonBytes + Math.ceil((SAMPLE_BYTES - this.jsonBytes) * share)
  }

  /** @returns whether the whole file was read */
  async read(file: string, place: Place | undefined, textPer: TextUnit): Promise<boolean> {
    if (place !== undefined) {
      await this.readPlace(file, place)
      return false
    }
    const options: ReadCorpusOptions = { sources: [file], order: 'given', field: 'tojson', text_per: textPer }
    const stage = readCorpus({ ...options, faulty: 'skip' })
    const isWhole = await this.addAll(stage as AsyncIterable<DocumentBatch>)
    const { counts, recordsOut, rejected } = stage.stats
    this.readRecords += recordsOut + rejected
    this.readBytes += counts.readBytes ?? 0
    if (rejected > 0) await this.addFaults(rejected, () => firstFault(readCorpus({ ...options, faulty: 'fail' })))
    return isWhole
  }

  /** Reads the whole lines in a part of a JSONL file. */
  private async readPlace(file: string, { start, end, size }: Place): Promise<void> {
    const { bytes, at } = await wholeLines(file, start, end, end === size)
    const parse = (faulty: 'skip' | 'fail') => {
      const stages = [readLines(), validateJson({ faulty }), extractText({ field: 'tojson', faulty })] as const
      // Errors are thrown where the last stage is read.
      pipeline(Readable.from([bytes]), ...stages, () => {})
      return stages
    }
    // The place bounds the sample.
    this.maxRecords = Number.POSITIVE_INFINITY
    this.maxBytes = Number.POSITIVE_INFINITY
    const stages = parse('skip')
    await this.addAll(stages[2] as AsyncIterable<DocumentBatch>)
    const rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
    this.readRecords += stages[0].stats.recordsOut
    this.readBytes += bytes.byteLength
    if (rejected === 0) return
    await this.addFaults(rejected, async () => {
      const fault = await firstFault(parse('fail')[2])
      // The line is unknown: only the part was read.
      return (
        fault && new PenstockError(fault.code, fault.message, { file, byteOffset: at + (fault.where.byteOffset ?? 0) })
      )
    })
  }

  /** @returns whether all documents were added, before the sample had its size */
  private async addAll(stage: AsyncIterable<DocumentBatch>): Promise<boolean> {
    for await (const { bytes, offsets } of stage) {
      for (let index = 1; index < offsets.length; index++) {
        if (this.records >= this.maxRecords || this.jsonBytes >= this.maxBytes) return false
        this.add(bytes.subarray(offsets[index - 1], offsets[index]))
      }
    }
    return true
  }

  private async addFaults(rejected: number, describe: () => Promise<PenstockError | undefined>): Promise<void> {
    this.records += rejected
    this.faulty += rejected
    this.fault ??= (await describe())?.toLine()
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

async function firstFault(stage: unknown): Promise<PenstockError | undefined> {
  try {
    for await (const _ of stage as AsyncIterable<DocumentBatch>);
    return undefined
  } catch (error) {
    if (error instanceof PenstockError) return error
    throw error
  }
}

/** The lines that are completely in bytes [start, end) of a file, and their position. */
async function wholeLines(
  file: string,
  start: number,
  end: number,
  isEnd: boolean,
): Promise<{ readonly bytes: Uint8Array; readonly at: number }> {
  const { handle } = await openSource(file)
  try {
    const bytes = new Uint8Array(end - start)
    const { bytesRead } = await handle.read(bytes, 0, bytes.byteLength, start)
    const first = start === 0 ? 0 : bytes.indexOf(LINE_FEED) + 1
    return { bytes: bytes.subarray(first, isEnd ? bytesRead : bytes.lastIndexOf(LINE_FEED) + 1), at: start + first }
  } finally {
    await handle.close()
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
