/**
 * Repairs a packed file whose header or index is lost: with an index found in the file, or by rebuilding the index from
 * the end-of-document tokens. The result is a new file; the damaged one is only read.
 */
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { PenstockError } from '../errors.js'
import { refuseInputs } from '../files/file-identity.js'
import { PackedFile } from '../files/packed-file.js'
import { closeSource, openSource } from '../files/source-file.js'
import type { TokenArray, TokenBatch } from '../formats/batches.js'
import { PBIN_HEADER_BYTES, type TokenBytes } from '../formats/pbin.js'
import { tokenBatches } from '../stages/read-pbin.js'
import { writePbin } from '../stages/write-pbin.js'
import { findIndex, readBytes } from './find-index.js'

export interface RepairOptions {
  /** Path of the repaired file; an existing file is replaced once the new one is complete. */
  readonly output: string
  /** Token that ends each document, needed when the index is lost. */
  readonly endOfDocumentId: number | undefined
}

export interface Repair {
  readonly output: string
  readonly documents: number
  readonly tokens: number
  /** Descriptions of what was found and what is lost. */
  readonly notes: readonly string[]
}

type Documents = AsyncGenerator<{ readonly tokens: TokenArray; readonly lengths: Uint32Array }>

const WINDOW_TOKENS = 1 << 18

/**
 * @throws FILE_IS_SOURCE; PBIN_INVALID when the file cannot be repaired: no header, or neither an index nor an end-of-document token
 */
export async function repairPacked(path: string, { output, endOfDocumentId }: RepairOptions): Promise<Repair> {
  refuseInputs([output], [path])
  const { handle, stats } = await openSource(path)
  try {
    const place = { path, fd: handle.fd }
    const { tokenBytes, promised } = readHeader(place, stats.size)
    const index = findIndex(place, stats.size, tokenBytes)
    const dataBytes = index?.dataBytes ?? dataBytesOf(promised, stats.size, tokenBytes)
    const notes = [
      promised === dataBytes
        ? 'the header is correct'
        : `the header says ${promised} bytes of tokens; found ${dataBytes}`,
      index === undefined ? 'no index found' : index.isComplete ? 'the index is complete' : 'the index is truncated',
    ]
    const file = new PackedFile(path, handle, { tokenBytes, dataBytes }, stats)
    const documents = index?.isComplete ? tokenBatches(file) : documentsByEnd(file, endOfDocumentId, notes)
    const written = { documents: 0, tokens: 0 }
    const sink = writePbin({ path: output, if_exists: 'override' })
    await pipeline(Readable.from(counted(documents, written)), sink as Writable)
    return { output, ...written, notes }
  } finally {
    await closeSource(path, handle)
  }
}

/** Requires only a valid token width. */
function readHeader(
  file: { path: string; fd: number },
  fileBytes: number,
): { tokenBytes: TokenBytes; promised: number } {
  const header = readBytes(file, 0, Math.min(PBIN_HEADER_BYTES, fileBytes))
  const tokenBytes = header.length < PBIN_HEADER_BYTES ? 0 : header.readUInt32LE(8)
  if (tokenBytes !== 1 && tokenBytes !== 2 && tokenBytes !== 4) {
    const message = 'the header has no valid token width: the file cannot be repaired'
    throw new PenstockError('PBIN_INVALID', message, { file: file.path, byteOffset: 8 })
  }
  return { tokenBytes, promised: Number(header.readBigUInt64LE(0)) }
}

/** Size of the data of a file without an index: from the header, or everything after it. */
function dataBytesOf(promised: number, fileBytes: number, tokenBytes: TokenBytes): number {
  const room = fileBytes - PBIN_HEADER_BYTES
  if (promised > 0 && promised <= room && promised % tokenBytes === 0) return promised
  return room - (room % tokenBytes)
}

/** Splits the tokens into documents after each end token. */
async function* documentsByEnd(file: PackedFile, end: number | undefined, notes: string[]): Documents {
  if (end === undefined) {
    const message = 'the index is lost: give the end-of-document token to find the documents'
    throw new PenstockError('PBIN_INVALID', message, { file: file.path })
  }
  let start = 0
  while (start < file.tokenCount) {
    const { length, lengths } = documentsFrom(file, start, end)
    if (length === 0) break
    yield { tokens: file.readTokens(start, length), lengths: Uint32Array.from(lengths) }
    start += length
  }
  const lost = file.tokenCount - start
  if (lost > 0) notes.push(`${lost} tokens after the last end of a document are dropped`)
}

/** The complete documents in a window of tokens; the window grows until it contains one. */
function documentsFrom(file: PackedFile, start: number, end: number): { length: number; lengths: number[] } {
  for (let size = WINDOW_TOKENS; ; size *= 4) {
    const tokens = file.readTokens(start, Math.min(size, file.tokenCount - start))
    const lengths: number[] = []
    let length = 0
    for (let place = tokens.indexOf(end); place >= 0; place = tokens.indexOf(end, length)) {
      lengths.push(place + 1 - length)
      length = place + 1
    }
    if (length > 0 || start + size >= file.tokenCount) return { length, lengths }
  }
}

async function* counted(
  documents: Documents,
  written: { documents: number; tokens: number },
): AsyncGenerator<TokenBatch> {
  let number = 0
  for await (const { tokens, lengths } of documents) {
    written.documents += lengths.length
    written.tokens += tokens.length
    yield { kind: 'tokens', number: number++, byteLength: tokens.byteLength, tokens, lengths, tokenizer: undefined }
  }
}
