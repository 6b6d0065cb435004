/** Finds the index of a packed file by its format when the header does not give its position. */
import { PenstockError } from '../errors.js'
import { readFullySync } from '../files/read-at.js'
import { PBIN_HEADER_BYTES, type TokenBytes } from '../formats/pbin.js'
import { PairListReader } from '../formats/pickle-reader.js'

interface PlainFile {
  readonly path: string
  readonly fd: number
}

export interface FoundIndex {
  /** Bytes of tokens before the index. */
  readonly dataBytes: number
  /** The index ends at the end of the file and covers all tokens. */
  readonly isComplete: boolean
}

/** First bytes of every index, of Modalities and of this library: PROTO 4, FRAME. */
const INDEX_START = Buffer.from([0x80, 4, 0x95])
const WINDOW_BYTES = 1 << 20

/** The last position at which an index, or the beginning of one, can be parsed. */
export function findIndex(file: PlainFile, fileBytes: number, tokenBytes: TokenBytes): FoundIndex | undefined {
  const overlap = INDEX_START.length - 1
  for (let end = fileBytes; end > PBIN_HEADER_BYTES; end -= WINDOW_BYTES) {
    const start = Math.max(PBIN_HEADER_BYTES, end - WINDOW_BYTES)
    const window = readBytes(file, start, Math.min(fileBytes, end + overlap) - start)
    for (let place = window.lastIndexOf(INDEX_START); place >= 0; place = lastBefore(window, place)) {
      const dataBytes = start + place - PBIN_HEADER_BYTES
      if (dataBytes === 0 || dataBytes % tokenBytes !== 0) continue
      const isComplete = readsAsIndex(file, fileBytes, dataBytes)
      if (isComplete !== undefined) return { dataBytes, isComplete }
    }
  }
  return undefined
}

const lastBefore = (window: Buffer, place: number): number =>
  place === 0 ? -1 : window.lastIndexOf(INDEX_START, place - 1)

/** Whether the index at this position is complete; undefined when there is none. */
function readsAsIndex(file: PlainFile, fileBytes: number, dataBytes: number): boolean | undefined {
  let next = 0
  const reader = new PairListReader(pairs => {
    for (let entry = 0; entry < pairs.length; entry += 2) {
      if (pairs[entry] !== next)
        throw new PenstockError('PBIN_INVALID', 'no document index found after the tokens', { file: file.path })
      next += pairs[entry + 1]!
    }
  })
  try {
    for (let position = PBIN_HEADER_BYTES + dataBytes; position < fileBytes; position += WINDOW_BYTES) {
      reader.feed(readBytes(file, position, Math.min(WINDOW_BYTES, fileBytes - position)))
    }
  } catch (error) {
    if (error instanceof PenstockError) return undefined
    throw error
  }
  if (next === 0 || next > dataBytes) return undefined
  try {
    reader.end()
    return next === dataBytes
  } catch {
    return false
  }
}

/** @throws FILE_UNREADABLE; PBIN_INVALID when the file is shorter */
export function readBytes(file: PlainFile, position: number, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  if (readFullySync(file, bytes, position) < length) {
    const where = { file: file.path, byteOffset: position }
    throw new PenstockError('PBIN_INVALID', 'the file shrank while it was read', where)
  }
  return bytes
}
