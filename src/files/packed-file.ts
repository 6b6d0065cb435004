/**
 * Random access to a `.pbin` without loading it: tokens by position, documents by a pass over the index. Opening costs one
 * small read regardless of the file's size.
 */
import type { FileHandle } from 'node:fs/promises'
import { PenstockError } from '../errors.js'
import type { TokenArray, TokenizerIdentity } from '../formats/batches.js'
import {
  createPbinIndexReader,
  decodePbinHeader,
  PBIN_HEADER_BYTES,
  type PbinHeader,
  pbinIndexOffset,
  viewTokens,
} from '../formats/pbin.js'
import { type PackedManifest, readPackedManifest } from './manifest.js'
import { readAt, readFullySync } from './read-at.js'
import { openSource } from './source-file.js'

const INDEX_CHUNK_BYTES = 256 << 10

/** Opens and checks a packed file; the caller closes it. @throws FILE_MISSING, FILE_UNREADABLE, PBIN_INVALID */
export async function openPackedFile(path: string): Promise<PackedFile> {
  const { handle, stats } = await openSource(path)
  try {
    const start = Buffer.alloc(PBIN_HEADER_BYTES)
    const bytesRead = await readAt({ path, handle }, start, 0)
    const header = decodePbinHeader(start.subarray(0, bytesRead), stats.size, { file: path })
    return new PackedFile(path, handle, header, stats.size)
  } catch (error) {
    await handle.close()
    throw error
  }
}

/** Owns the handle until `close`. */
export class PackedFile {
  readonly path: string
  readonly header: PbinHeader
  readonly fileBytes: number
  private readonly handle: FileHandle

  constructor(path: string, handle: FileHandle, header: PbinHeader, fileBytes: number) {
    this.path = path
    this.handle = handle
    this.header = header
    this.fileBytes = fileBytes
  }

  get tokenCount(): number {
    return this.header.dataBytes / this.header.tokenBytes
  }

  /** For direct reads by the caller. */
  get fd(): number {
    return this.handle.fd
  }

  /**
   * Tokens [start, start + count).
   * @throws FILE_UNREADABLE; PBIN_INVALID when the file ends early
   */
  readTokens(start: number, count: number): TokenArray {
    const { tokenBytes } = this.header
    const bytes = new Uint8Array(count * tokenBytes)
    const position = PBIN_HEADER_BYTES + start * tokenBytes
    const read = readFullySync(this, bytes, position)
    if (read < bytes.byteLength) {
      throw new PenstockError('PBIN_INVALID', 'the file ends inside its tokens: it was truncated while it was read', {
        file: this.path,
        byteOffset: position + read,
      })
    }
    return viewTokens(bytes, tokenBytes)
  }

  /**
   * Documents as [first token, token count, ...], in blocks, in file order. A block is valid until the next one is
   * requested.
   */
  async *documents(): AsyncGenerator<Float64Array> {
    const { tokenBytes } = this.header
    let block = new Float64Array(0)
    let length = 0
    const take = (pairs: Float64Array): void => {
      if (length + pairs.length > block.length) {
        const larger = new Float64Array(2 * block.length + pairs.length)
        larger.set(block)
        block = larger
      }
      // `map` would allocate an object per number.
      for (let entry = 0; entry < pairs.length; entry++) block[length++] = pairs[entry]! / tokenBytes
    }
    const reader = createPbinIndexReader(this.header, take, { file: this.path })
    const chunk = new Uint8Array(INDEX_CHUNK_BYTES)
    for (let position = pbinIndexOffset(this.header); position < this.fileBytes; ) {
      const bytesRead = await readAt({ path: this.path, handle: this.handle }, chunk, position)
      if (bytesRead === 0) break
      position += bytesRead
      reader.feed(chunk.subarray(0, bytesRead))
      if (length > 0) yield block.subarray(0, length)
      length = 0
    }
    reader.end()
  }

  async close(): Promise<void> {
    await this.handle.close()
  }
}

/** Packed files that can be merged: they have the same token width and, where known, the same tokenizer. */
export interface PackedFiles {
  readonly files: readonly PackedFile[]
  /** Tokenizer of all files; undefined when a file does not record it. */
  readonly tokenizer: TokenizerIdentity | undefined
  close(): Promise<void>
}

/** Opens all files; the caller closes them. @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH */
export async function openPackedFiles(paths: readonly string[]): Promise<PackedFiles> {
  const files: PackedFile[] = []
  const close = async (): Promise<void> => {
    for (const file of files) await file.close()
  }
  try {
    const manifests: (PackedManifest | undefined)[] = []
    for (const path of paths) {
      const file = await openPackedFile(path)
      files.push(file)
      manifests.push(await readPackedManifest(path, file.header))
      checkAlike(files[0]!, file)
    }
    return { files, tokenizer: commonTokenizer(manifests, files), close }
  } catch (error) {
    await close()
    throw error
  }
}

function checkAlike(first: PackedFile, other: PackedFile): void {
  const [width, found] = [first.header.tokenBytes, other.header.tokenBytes]
  if (width === found) return
  const message = `the tokens have ${found} bytes, those of ${first.path} have ${width}: files of different token widths cannot be merged`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { file: other.path })
}

function commonTokenizer(
  manifests: readonly (PackedManifest | undefined)[],
  files: readonly PackedFile[],
): TokenizerIdentity | undefined {
  const known = manifests.flatMap((manifest, index) =>
    manifest?.tokenizer === undefined ? [] : [{ index, tokenizer: manifest.tokenizer }],
  )
  const [first] = known
  const other = known.find(({ tokenizer }) => tokenizer.sha256 !== first!.tokenizer.sha256)
  if (other !== undefined) {
    const message = `packed with a different tokenizer than ${files[first!.index]!.path}`
    throw new PenstockError('TOKENIZER_MISMATCH', message, { file: files[other.index]!.path })
  }
  if (first === undefined || known.length < manifests.length) return undefined
  return first.tokenizer
}
