/** Documents of a JSONL file, compressed or not, and of a JSON document that holds many records. */
import { pipeline } from 'node:stream'
import type { LineBatch, LineCursor } from '../../formats/batches.js'
import { type RecordFault, recordAt } from '../../formats/extract.js'
import { scanLine } from '../../formats/json-scan.js'
import { LineSplitter, withoutLines } from '../../formats/jsonl.js'
import { openTextExtractor } from '../extract-text.js'
import { splitJson } from '../split-json.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { wholeText } from './whole-file.js'

export async function* jsonlDocuments(request: ReadRequest): AsyncGenerator<FileDocuments> {
  const { path, maxRecordBytes, to } = request
  const from = request.from as LineCursor | undefined
  const splitter = new LineSplitter({ source: path, maxLineBytes: maxRecordBytes, from })
  yield* extracted(
    request,
    linesFrom(path, splitter, { from: from?.byteOffset ?? 0, to }, maxRecordBytes, true),
    () => splitter.cursor,
  )
}

const [LF, BRACKET] = [10, 91]
const JSON_SPACE: ReadonlySet<number> = new Set([9, 10, 13, 32])

interface Lines {
  readonly batch: LineBatch
  readonly faults: readonly RecordFault[]
  readonly bytesRead: number
}

/** @param part bytes of the decompressed file to read: from where a resumed splitter expects them */
export async function* linesFrom(
  path: string,
  splitter: LineSplitter,
  part: { readonly from: number; readonly to?: number | undefined },
  limit: number,
  isJson: boolean,
): AsyncGenerator<Lines> {
  const longLines = (): RecordFault[] =>
    splitter.takeLongLines().map(({ line, byteOffset, head }) => ({
      code: 'LINE_TOO_LONG',
      message: `the line is longer than ${limit} bytes`,
      file: path,
      line,
      byteOffset,
      record: head,
    }))
  let read = part.from
  for await (const chunk of wholeText(path, { isJson, ...part })) {
    read += chunk.byteLength
    for (const batch of splitter.push(chunk)) yield { batch, faults: longLines(), bytesRead: read }
  }
  for (const batch of splitter.finish()) yield { batch, faults: longLines(), bytesRead: read }
  const last = longLines()
  if (last.length > 0) yield { batch: emptyBatch(path), faults: last, bytesRead: read }
}

/** The elements of an array, or values over several lines; positions are counts of records. JSONL is read as such. */
export async function* jsonDocuments(request: ReadRequest): AsyncGenerator<FileDocuments> {
  const { path, maxRecordBytes } = request
  const shape = await shapeOf(path)
  if (shape === 'lines') return yield* jsonlDocuments(request)
  const lines = pipeline(
    wholeText(path, { isJson: true }),
    splitJson({ source: path, shape, max_record_bytes: maxRecordBytes }),
    () => {},
  )
  let { done } = (request.from as { done: number } | undefined) ?? { done: 0 }
  let toSkip = done
  async function* batches(): AsyncGenerator<Lines> {
    for await (const batch of lines as AsyncIterable<LineBatch>) {
      const count = batch.starts.length
      const skipped = Math.min(toSkip, count)
      toSkip -= skipped
      if (skipped === count) continue
      done += count - skipped
      yield { batch: withoutLines(batch, new Set(Array(skipped).keys())), faults: [], bytesRead: batch.byteOffset }
    }
  }
  yield* extracted(request, batches(), () => ({ done }))
}

/** A file called .json may well be JSONL: its first line is a whole value. */
async function shapeOf(path: string): Promise<'array' | 'values' | 'lines'> {
  for await (const chunk of wholeText(path, { isJson: true })) {
    const start = chunk.findIndex(byte => !JSON_SPACE.has(byte))
    if (start < 0) continue
    if (chunk[start] === BRACKET) return 'array'
    const end = chunk.indexOf(LF, start)
    const scanned = end < 0 ? undefined : scanLine(chunk, start, end)
    // A value that the line ends inside continues on the next one; any other error is that of a record.
    return scanned?.ok === false && scanned.offset === end ? 'values' : 'lines'
  }
  return 'lines'
}

async function* extracted(
  { field }: ReadRequest,
  lines: AsyncIterable<Lines>,
  position: () => unknown,
): AsyncGenerator<FileDocuments> {
  const extractor = await openTextExtractor(field)
  try {
    for await (const { batch, faults, bytesRead } of lines) {
      const invalid = invalidLines(batch)
      const valid = withoutLines(batch, new Set(invalid.keys()))
      const { documents, faults: missing } = await extractor.extract(valid)
      const all = [...faults, ...invalid.values(), ...missing].toSorted((a, b) => a.line - b.line)
      yield { documents, faults: all, position: position(), bytesRead }
    }
  } finally {
    await extractor.close()
  }
}

/** Faults by the index of the line in the batch. */
function invalidLines(batch: LineBatch): Map<number, RecordFault> {
  const faults = new Map<number, RecordFault>()
  for (let index = 0; index < batch.starts.length; index++) {
    const start = batch.starts[index]!
    const result = scanLine(batch.bytes, start, batch.ends[index]!)
    if (result.ok) continue
    faults.set(index, {
      ...recordAt(batch, index),
      code: result.code,
      message: `${result.message} (column ${result.offset - start + 1})`,
      byteOffset: batch.byteOffset + result.offset,
    })
  }
  return faults
}

function emptyBatch(source: string): LineBatch {
  const none = new Uint32Array(0)
  const bytes = new Uint8Array(0)
  return {
    kind: 'lines',
    number: 0,
    byteLength: 0,
    byteOffset: 0,
    source,
    bytes,
    starts: none,
    ends: none,
    firstLine: 1,
    lines: none,
  }
}
