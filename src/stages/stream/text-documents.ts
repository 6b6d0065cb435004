/** Documents of plain text: a file is one document, or each of its lines that is not blank. */
import { isUtf8 } from 'node:buffer'
import type { LineCursor } from '../../formats/batches.js'
import { concatBytes } from '../../formats/bytes.js'
import { documentBatch } from '../../formats/documents.js'
import type { RecordFault } from '../../formats/extract.js'
import { firstInvalidUtf8 } from '../../formats/json-scan.js'
import { LineSplitter } from '../../formats/jsonl.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { linesFrom } from './jsonl-documents.js'
import { bomBytes, NOT_UTF8, wholeText } from './whole-file.js'

const [CR, SPACE] = [13, 32]
const HEAD_BYTES = 1024

export function textDocuments(request: ReadRequest): AsyncGenerator<FileDocuments> {
  return request.textPer === 'line' ? lineDocuments(request) : fileDocument(request)
}

async function* fileDocument({ path, maxRecordBytes, from }: ReadRequest): AsyncGenerator<FileDocuments> {
  if (from !== undefined) return
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of wholeText(path)) {
    size += chunk.byteLength
    if (size <= maxRecordBytes) chunks.push(chunk)
    else chunks.splice(1)
  }
  const whole = concatBytes(chunks)
  const start = bomBytes(whole)
  const fault =
    size > maxRecordBytes
      ? longText(path, whole, maxRecordBytes)
      : encodingFault(path, whole, { line: 1, byteOffset: 0, start })
  const texts = fault === undefined ? [{ start, end: size, line: 0 }] : []
  yield {
    documents: documentsAt(whole, texts, path),
    faults: fault === undefined ? [] : [fault],
    position: true,
    bytesRead: size,
  }
}

async function* lineDocuments({ path, maxRecordBytes, from }: ReadRequest): AsyncGenerator<FileDocuments> {
  const cursor = from as LineCursor | undefined
  const splitter = new LineSplitter({ source: path, maxLineBytes: maxRecordBytes, from: cursor })
  for await (const part of linesFrom(path, splitter, { from: cursor?.byteOffset ?? 0 }, maxRecordBytes, false)) {
    const { bytes, starts, ends, byteOffset, firstLine, lines } = part.batch
    const faults = [...part.faults]
    const texts: Place[] = []
    const areUtf8 = isUtf8(bytes)
    for (let index = 0; index < starts.length; index++) {
      const line = firstLine + lines[index]! - 1
      const start = starts[index]! + (line === 0 ? bomBytes(bytes) : 0)
      const end = withoutBlanks(bytes, start, ends[index]!)
      if (start === end) continue
      const place = { line: line + 1, byteOffset: byteOffset + start, start: 0 }
      const fault = areUtf8 ? undefined : encodingFault(path, bytes.subarray(start, end), place)
      if (fault === undefined)
        texts.push({ start, end: bytes[ends[index]! - 1] === CR ? ends[index]! - 1 : ends[index]!, line })
      else faults.push(fault)
    }
    faults.sort((a, b) => a.line - b.line)
    yield { documents: documentsAt(bytes, texts, path), faults, position: splitter.cursor, bytesRead: part.bytesRead }
  }
}

interface Place {
  readonly start: number
  readonly end: number
  /** From 0. */
  readonly line: number
}

function documentsAt(bytes: Uint8Array, places: readonly Place[], path: string) {
  const offsets = new Uint32Array(places.length + 1)
  const joined = new Uint8Array(places.reduce((sum, { start, end }) => sum + end - start, 0))
  for (const [index, { start, end }] of places.entries()) {
    joined.set(bytes.subarray(start, end), offsets[index])
    offsets[index + 1] = offsets[index]! + end - start
  }
  return documentBatch({ bytes: joined, offsets, rows: Uint32Array.from(places, ({ line }) => line) }, path, 0)
}

/** End of the text without white space after it. */
function withoutBlanks(bytes: Uint8Array, start: number, end: number): number {
  let last = end
  while (last > start && bytes[last - 1]! <= SPACE) last--
  return last
}

/** @param place line and offset of `bytes` in the file, and the index at which their text starts */
function encodingFault(
  path: string,
  bytes: Uint8Array,
  place: { readonly line: number; readonly byteOffset: number; readonly start: number },
): RecordFault | undefined {
  if (isUtf8(bytes)) return undefined
  const invalid = firstInvalidUtf8(bytes, place.start, bytes.length)
  return {
    code: 'UTF8_INVALID',
    message: NOT_UTF8,
    file: path,
    line: place.line,
    byteOffset: place.byteOffset + invalid,
    record: bytes,
  }
}

const longText = (file: string, bytes: Uint8Array, limit: number): RecordFault => ({
  code: 'LINE_TOO_LONG',
  message: `the text is longer than ${limit} bytes`,
  file,
  line: 1,
  byteOffset: 0,
  record: bytes.subarray(0, HEAD_BYTES),
})
