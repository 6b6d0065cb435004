/**
 * Rows of whole documents, `.pack`: the documents of packed files that form each training sample. Little-endian; entries and
 * rows are found by position, so a reader needs no memory for them.
 *
 * | offset | bytes | type | meaning |
 * | --- | --- | --- | --- |
 * | 0 | 8 | ASCII | `PENPACK1` |
 * | 8 | 4 | u32 | tokens per row |
 * | 12 | 4 | u32 | F, number of packed files |
 * | 16 | 8 | u64 | R, number of rows; 0 in an unfinished file |
 * | 24 | 8 | u64 | E, number of entries |
 * | 32 | 8 | u64 | tokens of all entries |
 * | 40 | 8 | u64 | tokens of the documents that are in no row |
 * | 48 | 24 F | u64, u64, u32, u32 | of each file: number of its first document, size of its tokens, bytes per token, 0 |
 * | 48 + 24 F | 16 E | u64, u32, u32 | of each entry: first token in its file, number of tokens, number of the document |
 * | 48 + 24 F + 16 E | 8 (R + 1) | u64 | first entry of each row, then E |
 *
 * An entry is a document, or a part of one that is longer than a row; documents are numbered over all files.
 */
import { PenstockError, type Where } from '../errors.js'

const MAGIC = 'PENPACK1'
const FIXED_BYTES = 48
const FILE_BYTES = 24
export const ENTRY_BYTES = 16
export const OFFSET_BYTES = 8

export interface PackedPart {
  /** Number of the first document of this file among the documents of all files. */
  readonly firstDocument: number
  readonly dataBytes: number
  readonly tokenBytes: number
}

export interface PackHeader {
  readonly rowTokens: number
  readonly rows: number
  readonly entries: number
  /** Tokens of all entries; the rest of the rows is padding. */
  readonly tokens: number
  readonly droppedTokens: number
  readonly files: readonly PackedPart[]
}

export const packHeaderBytes = (files: number): number => FIXED_BYTES + FILE_BYTES * files
export const rowOffsetsAt = ({ files, entries }: Pick<PackHeader, 'files' | 'entries'>): number =>
  packHeaderBytes(files.length) + ENTRY_BYTES * entries

export function encodePackHeader({ rowTokens, rows, entries, tokens, droppedTokens, files }: PackHeader): Uint8Array {
  const bytes = new Uint8Array(packHeaderBytes(files.length))
  const view = new DataView(bytes.buffer)
  bytes.set(new TextEncoder().encode(MAGIC))
  view.setUint32(8, rowTokens, true)
  view.setUint32(12, files.length, true)
  for (const [at, value] of [rows, entries, tokens, droppedTokens].entries()) {
    view.setBigUint64(16 + 8 * at, BigInt(value), true)
  }
  for (const [number, { firstDocument, dataBytes, tokenBytes }] of files.entries()) {
    const at = packHeaderBytes(number)
    view.setBigUint64(at, BigInt(firstDocument), true)
    view.setBigUint64(at + 8, BigInt(dataBytes), true)
    view.setUint32(at + 16, tokenBytes, true)
  }
  return bytes
}

/** Size of the header, from its first 48 bytes. @throws PACK_INVALID */
export function packHeaderSize(bytes: Uint8Array, where: Where = {}): number {
  const magic = new TextDecoder('latin1').decode(bytes.subarray(0, MAGIC.length))
  if (bytes.length < FIXED_BYTES || magic !== MAGIC) {
    throw new PenstockError('PACK_INVALID', 'not a .pack file: it does not start with its header', where)
  }
  return packHeaderBytes(new DataView(bytes.buffer, bytes.byteOffset).getUint32(12, true))
}

/** Decodes a whole header and compares it with the size of its file. @throws PACK_INVALID */
export function decodePackHeader(bytes: Uint8Array, fileBytes: number, where: Where = {}): PackHeader {
  const fileCount = (packHeaderSize(bytes, where) - FIXED_BYTES) / FILE_BYTES
  const refuse = (message: string): never => {
    throw new PenstockError('PACK_INVALID', message, where)
  }
  if (bytes.length < packHeaderBytes(fileCount)) refuse('the file ends inside its header')
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const numberAt = (at: number): number => Number(view.getBigUint64(at, true))
  const files = Array.from({ length: fileCount }, (_, number): PackedPart => {
    const at = packHeaderBytes(number)
    if (view.getUint32(at + 20, true) !== 0) refuse('bytes of its header that must be 0 are not')
    return { firstDocument: numberAt(at), dataBytes: numberAt(at + 8), tokenBytes: view.getUint32(at + 16, true) }
  })
  const [rows, entries, tokens, droppedTokens] = [16, 24, 32, 40].map(numberAt) as [number, number, number, number]
  const header = { rowTokens: view.getUint32(8, true), rows, entries, tokens, droppedTokens, files }
  if (rows === 0) refuse('the file is unfinished: pack the samples again')
  const isAscending = ({ firstDocument }: PackedPart, number: number): boolean =>
    number === 0 ? firstDocument === 0 : firstDocument >= files[number - 1]!.firstDocument
  if (fileCount === 0 || !files.every(isAscending))
    refuse('the documents of its packed files are not numbered from 0 on')
  if (files.some(({ tokenBytes }) => ![1, 2, 4].includes(tokenBytes))) refuse('tokens have 1, 2 or 4 bytes')
  const expected = rowOffsetsAt(header) + OFFSET_BYTES * (rows + 1)
  if (expected !== fileBytes) refuse(`the file has ${fileBytes} bytes, its header needs ${expected}`)
  return header
}

/** Encodes entries one by one into a buffer that grows. */
export class EntryWriter {
  #bytes = new Uint8Array(1 << 16)
  #view = new DataView(this.#bytes.buffer)
  #size = 0

  push(firstToken: number, tokens: number, document: number): void {
    if (this.#size === this.#bytes.length) this.#grow()
    const at = this.#size
    this.#view.setUint32(at, firstToken >>> 0, true)
    this.#view.setUint32(at + 4, Math.floor(firstToken / 2 ** 32), true)
    this.#view.setUint32(at + 8, tokens, true)
    this.#view.setUint32(at + 12, document, true)
    this.#size += ENTRY_BYTES
  }

  /** The entries since the last call; valid until the next `push`. */
  take(): Uint8Array {
    const bytes = this.#bytes.subarray(0, this.#size)
    this.#size = 0
    return bytes
  }

  #grow(): void {
    const larger = new Uint8Array(2 * this.#bytes.length)
    larger.set(this.#bytes)
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}
