/** Documents of plain text: a file is one document. */
import { isUtf8 } from 'node:buffer'
import { PenstockError } from '../../errors.js'
import { documentBatch } from '../../formats/documents.js'
import type { FileDocuments, ReadRequest } from './document-reader.js'
import { wholeFile } from './whole-file.js'

const BOM = [0xef, 0xbb, 0xbf]

export async function* textDocuments({ path, maxRecordBytes, from }: ReadRequest): AsyncGenerator<FileDocuments> {
  if (from !== undefined) return
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of wholeFile(path)) {
    size += chunk.byteLength
    if (size > maxRecordBytes) {
      throw new PenstockError('LINE_TOO_LONG', `the text is longer than ${maxRecordBytes} bytes`, { file: path })
    }
    chunks.push(chunk)
  }
  const whole = Buffer.concat(chunks)
  const bytes = BOM.every((byte, index) => whole[index] === byte) ? whole.subarray(3) : whole
  const isValid = isUtf8(bytes)
  const fault = {
    code: 'UTF8_INVALID' as const,
    message: 'the text is not valid UTF-8',
    file: path,
    line: 1,
    byteOffset: 0,
    record: bytes,
  }
  const documents = isValid
    ? { bytes, offsets: Uint32Array.of(0, bytes.length), rows: Uint32Array.of(0) }
    : { bytes: new Uint8Array(0), offsets: new Uint32Array(1), rows: new Uint32Array(0) }
  yield {
    documents: documentBatch(documents, path, 0),
    faults: isValid ? [] : [fault],
    position: true,
    bytesRead: size,
  }
}
