/**
 * Token ids -> one packed file (`.pbin`): header, tokens, document index; byte-identical to the file that Modalities
 * writes. Memory is constant: the index is collected in a second temporary file. The file is written atomically,
 * together with a manifest.
 */
import { endianness } from 'node:os'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { checkManifestPath, writePackedManifest } from '../files/manifest.js'
import { ifExistsOption, type OutputFile, writeWhole } from '../files/output-file.js'
import { recordSources } from '../files/sources/source-record.js'
import type { TokenArray, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { BlockChecksums, type ChecksumState } from '../formats/checksum.js'
import { encodePbinHeader, PBIN_HEADER_BYTES, type TokenBytes } from '../formats/pbin.js'
import { PairListPickler, type PicklerState } from '../formats/pickle.js'
import { ChunkWriter, type SharedTokens } from '../workers/chunk-writer.js'
import { type SinkStage, type StageContext, sink } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const writePbinOptions = z.strictObject({
  path: z.string().min(1).describe('.pbin file to write'),
  if_exists: ifExistsOption,
})
export type WritePbinOptions = z.input<typeof writePbinOptions>

const INDEX_CHUNK_BYTES = 256 << 10

export const writePbinStage = defineStage({
  name: 'write-pbin',
  summary: 'writes token ids to one packed .pbin file',
  accepts: 'tokens',
  options: writePbinOptions,
  resumable: true,
  create: writePbin,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE; DATA_TOO_SMALL without any document */
export function writePbin(options: WritePbinOptions): SinkStage<TokenBatch> {
  const { path, if_exists } = parseOptions(writePbinOptions, options, 'write-pbin')
  return sink(writePbinStage, async (input, context) => {
    await checkManifestPath(path)
    const write = (file: OutputFile): Promise<void> => writePacked(input, file, context)
    return writeWhole(path, if_exists, write, context.journal?.reservations)
  })
}

/** Progress of the packed file. */
interface Packed {
  readonly kind: TokenKind
  readonly documents: number
  readonly dataBytes: number
}
interface PackedState extends Packed {
  readonly pickler: PicklerState
  readonly checksums: ChecksumState
}

async function writePacked(input: AsyncIterable<TokenBatch>, file: OutputFile, context: StageContext): Promise<void> {
  const resumed = file.resumedState as PackedState | undefined
  const index = await file.scratch()
  const pickler = new PairListPickler(resumed?.pickler)
  const tokens = new TokenWriter(file, resumed?.checksums)
  let packed: Packed | undefined = resumed
  let checksums: BlockChecksums
  if (resumed === undefined) await file.write(new Uint8Array(PBIN_HEADER_BYTES))
  else context.count('tokens', resumed.dataBytes / resumed.kind.tokenBytes)
  try {
    for await (const batch of input) {
      packed = addBatch(packed, batch, pickler, file.path)
      await tokens.append(batch)
      await index.write(pickler.take())
      context.count('tokens', batch.tokens.length)
      if (batch.mark === undefined) continue
      await tokens.flush()
      const progress = { ...packed, pickler: pickler.state() }
      await file.mark(batch.mark, () => ({
        state: tokens.checksums().then(checksums => ({ ...progress, checksums }) satisfies PackedState),
      }))
    }
    if (packed === undefined || packed.dataBytes === 0) {
      throw new PenstockError('DATA_TOO_SMALL', 'no documents to pack', { file: file.path })
    }
    await tokens.flush()
    checksums = new BlockChecksums(await tokens.checksums())
  } finally {
    await tokens.close()
  }
  await index.write(pickler.finish())
  await index.flush()
  const chunk = new Uint8Array(INDEX_CHUNK_BYTES)
  for (let position = 0; position < index.size; position += chunk.byteLength) {
    const bytes = chunk.subarray(0, await index.read(chunk, position))
    checksums.update(bytes)
    await file.write(bytes)
  }
  const { documents, dataBytes, kind } = packed
  const { tokenBytes, tokenizer } = kind
  await file.patch(encodePbinHeader({ dataBytes, tokenBytes }), 0)
  const sources = await recordSources(context.sources, context.reading)
  const manifest = {
    version: 1 as const,
    fileBytes: file.size,
    checksums: [...checksums.finish()],
    dataBytes,
    tokenBytes,
    documents,
    tokens: dataBytes / tokenBytes,
    ...(tokenizer === undefined ? {} : { tokenizer }),
    ...(sources === undefined ? {} : { sources }),
  }
  await writePackedManifest(file.path, manifest, context.journal?.reservations)
}

/** Appends tokens: in this thread or, if they are in shared memory, in the threads that produced them. */
class TokenWriter {
  private readonly file: OutputFile
  private readonly own: BlockChecksums
  private threads: ChunkWriter | undefined

  constructor(file: OutputFile, from: ChecksumState | undefined) {
    this.file = file
    this.own = new BlockChecksums(from)
  }

  /** Releases the batch, now or later. */
  async append(batch: SharedTokens): Promise<void> {
    const bytes = littleEndianBytes(batch.tokens)
    const release = (): void => batch.release?.()
    if (batch.threads !== undefined) this.threads ??= new ChunkWriter(this.file, batch.threads, this.own.state())
    if (this.threads !== undefined) return this.threads.append(bytes, release)
    this.own.update(bytes)
    await this.file.write(bytes)
    release()
  }

  /** Starts to write everything appended so far. */
  async flush(): Promise<void> {
    await this.threads?.flush()
  }

  /** Checksums of the flushed tokens, once they are written. */
  async checksums(): Promise<ChecksumState> {
    return this.threads === undefined ? this.own.state() : this.threads.checksums()
  }

  async close(): Promise<void> {
    await this.threads?.close()
  }
}

/** Adds the offsets and lengths of a batch's documents to the index. @throws TOKENIZER_MISMATCH */
function addBatch(before: Packed | undefined, batch: TokenBatch, pickler: PairListPickler, file: string): Packed {
  const tokenBytes = batch.tokens.BYTES_PER_ELEMENT as TokenBytes
  const found: TokenKind = { tokenBytes, tokenizer: batch.tokenizer }
  const { kind, documents, dataBytes } = before ?? { kind: found, documents: 0, dataBytes: 0 }
  checkSameKind(file, kind, found)
  let offset = dataBytes
  // An index loop: an iterator would allocate one object per document.
  for (let document = 0; document < batch.lengths.length; document++) {
    const byteLength = batch.lengths[document]! * tokenBytes
    pickler.push(offset, byteLength)
    offset += byteLength
  }
  return { kind, documents: documents + batch.lengths.length, dataBytes: offset }
}

interface TokenKind {
  readonly tokenBytes: TokenBytes
  readonly tokenizer: TokenizerIdentity | undefined
}

/** Merged streams may differ in token width or tokenizer; one packed file must not mix them. */
function checkSameKind(file: string, first: TokenKind, next: TokenKind): void {
  if (first.tokenBytes !== next.tokenBytes) {
    const message = `cannot write tokens of ${first.tokenBytes} and of ${next.tokenBytes} bytes to the same file`
    throw new PenstockError('TOKENIZER_MISMATCH', message, { file })
  }
  if (first.tokenizer?.sha256 !== next.tokenizer?.sha256) {
    throw new PenstockError('TOKENIZER_MISMATCH', 'cannot write tokens of different tokenizers to the same file', {
      file,
    })
  }
}

function littleEndianBytes(tokens: TokenArray): Uint8Array {
  const bytes = Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength)
  if (endianness() === 'LE' || tokens.BYTES_PER_ELEMENT === 1) return bytes
  return tokens.BYTES_PER_ELEMENT === 2 ? Buffer.from(bytes).swap16() : Buffer.from(bytes).swap32()
}
