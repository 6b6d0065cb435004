/**
 * The packed token file, `.pbin`. Little-endian throughout:
 *
 * | offset | bytes | type | meaning |
 * | --- | --- | --- | --- |
 * | 0 | 8 | u64 | D, size of the data section; 0 in an unfinished file |
 * | 8 | 4 | u32 | W, bytes per token: 1, 2 or 4 |
 * | 12 | D | u8, u16 or u32 | tokens of all documents, concatenated |
 * | 12 + D | to the end | pickle | one (offset, length) per document, in bytes from the start of the data section |
 *
 * Source: Modalities' `packed_data.py`. Its readers and ours map the file from byte 12.
 */

import { PenstockError, type Where } from '../errors.js'
import type { TokenArray } from './batches.js'
import { quantity } from './message-words.js'
import { type OnPairs, PairListReader } from './pickle-reader.js'

export const PBIN_HEADER_BYTES = 12
/** PROTO, EMPTY_LIST, MEMOIZE and STOP: the index of an empty file. */
const MIN_INDEX_BYTES = 5

export type TokenBytes = 1 | 2 | 4

export interface PbinHeader {
  /** Size of the data section. */
  readonly dataBytes: number
  readonly tokenBytes: TokenBytes
}

/** The smallest token width for the ids 0 to vocabSize - 1, as chosen by Modalities: 1, 2 or 4 bytes, never 3. */
export function tokenBytesFor(vocabSize: number): TokenBytes {
  if (!Number.isSafeInteger(vocabSize) || vocabSize < 1 || vocabSize > 2 ** 32) {
    throw new PenstockError('OPTION_INVALID', `a vocabulary of ${vocabSize} tokens; expected 1 to 2^32`)
  }
  return vocabSize <= 0x100 ? 1 : vocabSize <= 0x10000 ? 2 : 4
}

/** Token width for the ids of a tokenizer. */
export function tokenBytesOf({ vocabSize, totalSize }: { vocabSize: number; totalSize: number }): TokenBytes {
  return tokenBytesFor(Math.max(vocabSize, totalSize))
}

export function encodePbinHeader(header: PbinHeader): Uint8Array {
  const bytes = new Uint8Array(PBIN_HEADER_BYTES)
  const view = new DataView(bytes.buffer)
  view.setBigUint64(0, BigInt(header.dataBytes), true)
  view.setUint32(8, header.tokenBytes, true)
  return bytes
}

/**
 * Decodes the first 12 bytes of a file of `fileBytes` bytes, and rejects a header that does not match that size.
 * @throws PBIN_INVALID
 */
export function decodePbinHeader(bytes: Uint8Array, fileBytes: number, where: Where = {}): PbinHeader {
  const refuse = (byteOffset: number, message: string): never => {
    throw new PenstockError('PBIN_INVALID', message, { ...where, byteOffset })
  }
  if (fileBytes < PBIN_HEADER_BYTES || bytes.length < PBIN_HEADER_BYTES) {
    refuse(
      0,
      `not a packed file: ${Math.min(fileBytes, bytes.length)} bytes, the header alone has ${PBIN_HEADER_BYTES}`,
    )
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, PBIN_HEADER_BYTES)
  const dataBytes = Number(view.getBigUint64(0, true))
  const tokenBytes = view.getUint32(8, true)
  if (tokenBytes !== 1 && tokenBytes !== 2 && tokenBytes !== 4) {
    return refuse(8, `not a packed file: ${tokenBytes} bytes per token; expected 1, 2 or 4`)
  }
  if (dataBytes === 0) {
    refuse(0, 'the packed file is unfinished: its header has no data size; pack it again or use penstock repair')
  }
  if (dataBytes > fileBytes - PBIN_HEADER_BYTES) {
    const expected = Number.isSafeInteger(dataBytes) ? `${dataBytes}` : 'over 2^53'
    refuse(
      0,
      `the file is truncated: the header says ${expected} bytes of tokens, but only ${fileBytes - PBIN_HEADER_BYTES} bytes follow it`,
    )
  }
  if (dataBytes % tokenBytes !== 0) {
    refuse(0, `${dataBytes} bytes of tokens are not a multiple of ${tokenBytes} bytes per token`)
  }
  if (fileBytes - PBIN_HEADER_BYTES - dataBytes < MIN_INDEX_BYTES) {
    refuse(PBIN_HEADER_BYTES + dataBytes, 'the packed file is truncated: no index after its tokens')
  }
  return { dataBytes, tokenBytes }
}

/** Offset of the pickled index, which extends to the end of the file. */
export function pbinIndexOffset(header: PbinHeader): number {
  return PBIN_HEADER_BYTES + header.dataBytes
}

/** The bytes as token ids: a view if they are aligned, otherwise a copy. */
export function viewTokens(bytes: Uint8Array, tokenBytes: TokenBytes): TokenArray {
  if (tokenBytes === 1) return bytes
  const aligned = bytes.byteOffset % tokenBytes === 0 ? bytes : bytes.slice()
  const count = Math.floor(bytes.length / tokenBytes)
  const { buffer, byteOffset } = aligned
  return tokenBytes === 2 ? new Uint16Array(buffer, byteOffset, count) : new Uint32Array(buffer, byteOffset, count)
}

/**
 * Reads the index in chunks of any size: `feed` the bytes from `pbinIndexOffset`, then `end`. `onDocuments` receives
 * (offset, length) in bytes from the start of the data section.
 * @throws PICKLE_INVALID if it is not a list of pairs; PBIN_INVALID if a document exceeds the data or splits a token
 */
export function createPbinIndexReader(header: PbinHeader, onDocuments: OnPairs, where: Where = {}): PairListReader {
  let document = 0
  const refuse = (message: string): never => {
    throw new PenstockError('PBIN_INVALID', message, { ...where, record: document })
  }
  const checked: OnPairs = documents => {
    for (let i = 0; i < documents.length; i += 2, document++) {
      const offset = documents[i]!
      const byteLength = documents[i + 1]!
      if (offset % header.tokenBytes !== 0 || byteLength % header.tokenBytes !== 0) {
        refuse(
          `offset ${offset} or length ${byteLength} is not a multiple of the token width, ${header.tokenBytes} bytes`,
        )
      }
      if (offset + byteLength > header.dataBytes) {
        refuse(`offset ${offset} + length ${byteLength} exceeds the ${quantity(header.dataBytes, 'byte')} of tokens`)
      }
    }
    onDocuments(documents)
  }
  return new PairListReader(checked, { ...where, byteOffset: pbinIndexOffset(header) })
}
