/**
 * Random access to a `.pbin` without loading it: tokens by position, documents by a pass over the index. Opening costs one
 * small read regardless of the file's size.
 */
import type { Stats } from 'node:fs'
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
import { mapConcurrently } from './concurrent.js'
import { type Descriptor, DescriptorPool } from './descriptor-pool.js'
import { readPackedManifest } from './manifest.js'
import { readAt, readFully, readFullySync } from './read-at.js'
import { checkSameFile, closeSource, openSource } from './source-file.js'

const INDEX_CHUNK_BYTES = 256 << 10

/**
 * Opens and checks a packed file; the caller closes it.
 * @param pool keeps its descriptor, so that any number of files can be opened
 * @throws FILE_MISSING, FILE_UNREADABLE, PBIN_INVALID
 */
export async function openPackedFile(path: string, pool?: DescriptorPool): Promise<PackedFile> {
  const { handle, stats } = await openSource(path)
  let keepOpen = false
  try {
    const start = Buffer.alloc(PBIN_HEADER_BYTES)
    const bytesRead = await readFully({ path, handle }, start, 0)
    const header = decodePbinHeader(start.subarray(0, bytesRead), stats.size, { file: path })
    keepOpen = pool === undefined
    return new PackedFile(path, pool?.add(path, stats) ?? handle, header, stats)
  } finally {
    if (!keepOpen) await closeSource(path, handle)
  }
}

/** Owns the descriptor until `close` is called. */
export class PackedFile {
  readonly path: string
  readonly header: PbinHeader
  private readonly descriptor: Descriptor
  private readonly stats: Stats

  constructor(path: string, descriptor: Descriptor, header: PbinHeader, stats: Stats) {
    this.path = path
    this.descriptor = descriptor
    this.header = header
    this.stats = stats
  }

  get fileBytes(): number {
    return this.stats.size
  }

  get tokenCount(): number {
    return this.header.dataBytes / this.header.tokenBytes
  }

  /** For synchronous reads by the caller. */
  get fd(): number {
    return this.descriptor.fd
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
    const chunk = new Uint8Array(Math.min(INDEX_CHUNK_BYTES, this.fileBytes - pbinIndexOffset(this.header)))
    // Asynchronous reads need a handle that no pool can close meanwhile.
    const { handle, stats } = await openSource(this.path)
    try {
      checkSameFile(this.path, this.stats, stats)
      for (let position = pbinIndexOffset(this.header); position < this.fileBytes; ) {
        const bytesRead = await readAt({ path: this.path, handle }, chunk, position)
        if (bytesRead === 0) break
        position += bytesRead
        reader.feed(chunk.subarray(0, bytesRead))
        if (length > 0) yield block.subarray(0, length)
        length = 0
      }
    } finally {
      await closeSource(this.path, handle)
    }
    reader.end()
  }

  /** @throws FILE_UNREADABLE */
  async close(): Promise<void> {
    await this.descriptor.close()
  }
}

/** Packed files that can be merged: they have the same token width and, where known, the same tokenizer. */
export interface PackedFiles {
  readonly files: readonly PackedFile[]
  /** Tokenizer of all files; undefined when a file does not record it. */
  readonly tokenizer: TokenizerIdentity | undefined
  close(): void
}

/**
 * Opens any number of files; the caller closes them. Few of them are open at a time, and of their manifests only the
 * tokenizer is kept.
 * @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH
 */
export async function openPackedFiles(paths: readonly string[]): Promise<PackedFiles> {
  const pool = new DescriptorPool()
  const opened = await mapConcurrently(paths, async path => {
    const file = await openPackedFile(path, pool)
    return { file, tokenizer: (await readPackedManifest(path, file.header))?.tokenizer }
  })
  const files = opened.map(({ file }) => file)
  for (const file of files) checkAlike(files[0]!, file)
  const tokenizers = opened.map(({ tokenizer }) => tokenizer)
  return { files, tokenizer: commonTokenizer(tokenizers, files), close: () => pool.close() }
}

function checkAlike(first: PackedFile, other: PackedFile): void {
  const [width, found] = [first.header.tokenBytes, other.header.tokenBytes]
  if (width === found) return
  const message = `the tokens have ${found} bytes, those of ${first.path} have ${width}: files of different token widths cannot be merged`
  throw new PenstockError('TOKENIZER_MISMATCH', message, { file: other.path })
}

/** The tokenizer of all files; undefined if one is unknown. @throws TOKENIZER_MISMATCH for different ones */
export function commonTokenizer(
  tokenizers: readonly (TokenizerIdentity | undefined)[],
  files: readonly PackedFile[],
): TokenizerIdentity | undefined {
  const first = tokenizers.findIndex(tokenizer => tokenizer !== undefined)
  const common = tokenizers[first]
  const other = tokenizers.findIndex(tokenizer => tokenizer !== undefined && tokenizer.sha256 !== common?.sha256)
  if (other >= 0) {
    const message = `packed with a different tokenizer than ${files[first]!.path}`
    throw new PenstockError('TOKENIZER_MISMATCH', message, { file: files[other]!.path })
  }
  return tokenizers.includes(undefined) ? undefined : common
}
