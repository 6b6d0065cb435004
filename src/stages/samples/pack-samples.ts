/**
 * Documents -> rows of whole documents (`.pack`), without truncation: best-fit decreasing in windows of 2^16 documents in
 * shuffled order, so that similar lengths are not trained on together. Memory: 12 bytes per document and 4 per row.
 */

import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { checkManifestPath, writePackManifest } from '../../files/manifest.js'
import { ifExistsOption, type OutputFile, writeWhole } from '../../files/output-file.js'
import type { SpanBatch } from '../../formats/batches.js'
import { BlockChecksums } from '../../formats/checksum.js'
import { crc32 } from '../../formats/crc32.js'
import { quantity } from '../../formats/message-words.js'
import { EntryWriter, encodePackHeader, type PackedPart, packHeaderBytes } from '../../formats/pack.js'
import { bijection } from '../../sampling/bijection.js'
import { packBins } from '../../sampling/bin-packing.js'
import { type SinkStage, type StageContext, sink } from '../stream/stage.js'
import { defineStage, fileOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { TimeSlices } from '../stream/time-slices.js'

const WINDOW_DOCUMENTS = 1 << 16
const MAX_DOCUMENTS = 2 ** 32

const packSamplesOptions = z.strictObject({
  path: z.string().min(1).describe('.pack file to write'),
  sequence_length: z.int().min(2).describe('context length of the model, in tokens'),
  reuse_last_target: z
    .boolean()
    .default(true)
    .describe('give rows one token more than sequence_length, so that the model sees sequence_length positions'),
  long: z
    .enum(['split', 'drop'])
    .default('split')
    .describe('documents longer than a row: split them into parts that share one token, or drop them'),
  seed: z.int().nonnegative().default(0).describe('seed of the order in which documents are packed'),
  if_exists: ifExistsOption,
})
export type PackSamplesOptions = z.input<typeof packSamplesOptions>
type Checked = z.output<typeof packSamplesOptions>

export const packSamplesStage = defineStage({
  name: 'pack-samples',
  summary: 'packs whole documents into rows of equal length, for training without truncation',
  accepts: 'spans',
  options: packSamplesOptions,
  create: packSamples,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE, DATA_TOO_SMALL, UNSUPPORTED for over 2^32 documents */
export function packSamples(options: PackSamplesOptions): SinkStage<SpanBatch> {
  const checked = parseOptions(packSamplesOptions, options, 'pack-samples')
  return sink(packSamplesStage, async (input, context) => {
    await checkManifestPath(checked.path)
    const documents = await collect(input, checked.path)
    await writeWhole(checked.path, checked.if_exists, file => writeRows(file, documents, checked, context))
  })
}

/** Positions and lengths of all documents, in blocks that are never copied. */
class DocumentTable {
  count = 0
  readonly files: PackedPart[] = []
  readonly #starts: Float64Array[] = []
  readonly #lengths: Uint32Array[] = []

  add({ starts, lengths, file, dataBytes, tokenBytes }: SpanBatch): void {
    if (this.files.length === file) this.files.push({ firstDocument: this.count, dataBytes, tokenBytes })
    for (let document = 0; document < lengths.length; document++) {
      const place = this.count++ % WINDOW_DOCUMENTS
      if (place === 0) {
        this.#starts.push(new Float64Array(WINDOW_DOCUMENTS))
        this.#lengths.push(new Uint32Array(WINDOW_DOCUMENTS))
      }
      this.#starts.at(-1)![place] = starts[document]!
      this.#lengths.at(-1)![place] = lengths[document]!
    }
  }

  startOf(document: number): number {
    return this.#starts[Math.floor(document / WINDOW_DOCUMENTS)]![document % WINDOW_DOCUMENTS]!
  }

  lengthOf(document: number): number {
    return this.#lengths[Math.floor(document / WINDOW_DOCUMENTS)]![document % WINDOW_DOCUMENTS]!
  }
}

async function collect(input: AsyncIterable<SpanBatch>, file: string): Promise<DocumentTable> {
  const table = new DocumentTable()
  for await (const batch of input) table.add(batch)
  if (table.count > MAX_DOCUMENTS) {
    throw new PenstockError(
      'UNSUPPORTED',
      `${quantity(table.count, 'document')} are more than a .pack file can number`,
      { file },
    )
  }
  return table
}

/** Parts of documents that are packed together. */
interface Window {
  readonly documents: Uint32Array
  readonly starts: Float64Array
  readonly lengths: Uint32Array
  readonly droppedTokens: number
}

async function writeRows(
  file: OutputFile,
  table: DocumentTable,
  { sequence_length, reuse_last_target, long, seed }: Checked,
  context: StageContext,
): Promise<void> {
  const rowTokens = sequence_length + Number(reuse_last_target)
  const { files } = table
  await file.write(new Uint8Array(packHeaderBytes(files.length)))
  const checksums = new BlockChecksums()
  const append = async (bytes: Uint8Array): Promise<void> => {
    checksums.update(bytes)
    await file.write(bytes)
  }
  const order = bijection(Math.max(1, table.count), seed)
  const slices = new TimeSlices(context.signal)
  const writer = new EntryWriter()
  const rowEnds: Uint32Array[] = []
  let [entries, tokens, droppedTokens] = [0, 0, 0]
  for (let from = 0; from < table.count; from += WINDOW_DOCUMENTS) {
    const to = Math.min(from + WINDOW_DOCUMENTS, table.count)
    const window = windowOf(table, place => order.at(place), { from, to, rowTokens, long })
    const { items, ends } = packBins(window.lengths, rowTokens)
    for (const item of items) {
      writer.push(window.starts[item]!, window.lengths[item]!, window.documents[item]!)
      tokens += window.lengths[item]!
    }
    await append(writer.take())
    rowEnds.push(ends)
    entries += items.length
    droppedTokens += window.droppedTokens
    if (slices.isExpired) await slices.yieldToEventLoop()
  }
  const rows = await writeOffsets(rowEnds, append)
  if (rows === 0) throw new PenstockError('DATA_TOO_SMALL', 'no documents to pack into rows', { file: file.path })
  const header = encodePackHeader({ rowTokens, rows, entries, tokens, droppedTokens, files })
  await file.patch(header, 0)
  context.stats.counts.rows = rows
  context.stats.counts['padding tokens'] = rows * rowTokens - tokens
  context.stats.counts['dropped tokens'] = droppedTokens
  const sums = { checksums: [...checksums.finish()], headerChecksum: crc32(header) }
  const manifest = { version: 1 as const, fileBytes: file.size, ...sums, rows }
  await writePackManifest(file.path, manifest, context.journal?.reservations)
}

interface WindowOptions extends Pick<Checked, 'long'> {
  /** Places [from, to) of the shuffled order. */
  readonly from: number
  readonly to: number
  readonly rowTokens: number
}

function windowOf(
  table: DocumentTable,
  documentAt: (place: number) => number,
  { from, to, rowTokens, long }: WindowOptions,
): Window {
  const chosen = Uint32Array.from({ length: to - from }, (_, place) => documentAt(from + place))
  const parts = chosen.map(document => partsOf(table.lengthOf(document), rowTokens, long))
  const count = parts.reduce((sum, part) => sum + part, 0)
  const [documents, starts] = [new Uint32Array(count), new Float64Array(count)]
  const lengths = new Uint32Array(count)
  let [at, droppedTokens] = [0, 0]
  for (const [place, document] of chosen.entries()) {
    const [start, length] = [table.startOf(document), table.lengthOf(document)]
    if (parts[place] === 0) droppedTokens += length
    for (let part = 0; part < parts[place]!; part++, at++) {
      const skipped = part * (rowTokens - 1)
      documents[at] = document
      starts[at] = start + skipped
      lengths[at] = Math.min(rowTokens, length - skipped)
    }
  }
  return { documents, starts, lengths, droppedTokens }
}

/** Number of parts of a document. Each part but the first starts with the last token of the one before, to predict its next. */
function partsOf(length: number, rowTokens: number, long: Checked['long']): number {
  if (length <= rowTokens) return Math.min(1, length)
  return long === 'drop' ? 0 : Math.ceil((length - 1) / (rowTokens - 1))
}

/** Writes the first entry of each row, then the end of the last. @returns the number of rows */
async function writeOffsets(
  rowEnds: readonly Uint32Array[],
  append: (bytes: Uint8Array) => Promise<void>,
): Promise<number> {
  let [rows, first] = [0, 0]
  await append(new Uint8Array(8))
  for (const ends of rowEnds) {
    const bytes = new DataView(new ArrayBuffer(8 * ends.length))
    for (const [row, end] of ends.entries()) bytes.setBigUint64(8 * row, BigInt(first + end), true)
    await append(new Uint8Array(bytes.buffer))
    rows += ends.length
    first += ends.at(-1) ?? 0
  }
  return rows
}
