/**
 * Token ids -> one packed file, `.pbin`: header, tokens, index of documents; byte for byte what the reference system
 * writes. Its memory does not grow with the number of documents: the index waits in a second temporary file. Whole or
 * absent, with a manifest beside it.
 */
import { createReadStream } from 'node:fs'
import { endianness } from 'node:os'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { TokenArray, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { BlockChecksums } from '../formats/checksum.js'
import { encodePbinHeader, PBIN_HEADER_BYTES, type TokenBytes } from '../formats/pbin.js'
import { PairListPickler } from '../formats/pickle.js'
import { writePackedManifest } from './manifest.js'
import { ifExistsOption, type OutputFile, openOutput, writeWhole } from './output-file.js'
import { type SinkStage, type StageContext, sink } from './stage.js'

export const writePbinOptions = z.strictObject({
  path: z.string().min(1).describe('the .pbin file to write'),
  if_exists: ifExistsOption,
})
export type WritePbinOptions = z.input<typeof writePbinOptions>

/** @throws FILE_EXISTS, FILE_LOCKED, FILE_UNWRITABLE; DATA_TOO_SMALL without a single document */
export function writePbin(options: WritePbinOptions): SinkStage<TokenBatch> {
  const { path, if_exists } = writePbinOptions.parse(options)
  return sink('write-pbin', (input, context) =>
    writeWhole(path, if_exists, async file => {
      const index = await openOutput(`${path}.index`, 'override')
      try {
        await writePacked(input, file, index!, context)
      } finally {
        await index?.abandon()
      }
    }),
  )
}

async function writePacked(
  input: AsyncIterable<TokenBatch>,
  file: OutputFile,
  index: OutputFile,
  context: StageContext,
): Promise<void> {
  const pickler = new PairListPickler()
  const checksums = new BlockChecksums()
  const append = async (bytes: Uint8Array): Promise<void> => {
    checksums.update(bytes)
    await file.write(bytes)
  }
  let tokenBytes: TokenBytes | undefined
  let tokenizer: TokenizerIdentity | undefined
  let documents = 0
  let offset = 0
  await file.write(new Uint8Array(PBIN_HEADER_BYTES))
  for await (const batch of input) {
    const width = batch.tokens.BYTES_PER_ELEMENT as TokenBytes
    tokenBytes ??= width
    tokenizer ??= batch.tokenizer
    checkAlike(file.path, { tokenBytes, tokenizer }, { tokenBytes: width, tokenizer: batch.tokenizer })
    await append(littleEndianBytes(batch.tokens))
    batch.release?.()
    for (const length of batch.lengths) {
      pickler.push(offset, length * width)
      offset += length * width
    }
    for (const piece of pickler.take()) await index.write(piece)
    documents += batch.lengths.length
    context.count('tokens', batch.tokens.length)
  }
  if (tokenBytes === undefined || offset === 0) {
    throw new PenstockError('DATA_TOO_SMALL', 'no document came: there is nothing to pack', { file: file.path })
  }
  for (const piece of pickler.finish()) await index.write(piece)
  await index.flush()
  for await (const piece of createReadStream(index.partPath, { highWaterMark: 1 << 18 })) await append(piece)
  await file.patch(encodePbinHeader({ dataBytes: offset, tokenBytes }), 0)
  await writePackedManifest(file.path, {
    version: 1,
    fileBytes: file.size,
    checksums: [...checksums.finish()],
    dataBytes: offset,
    tokenBytes,
    documents,
    tokens: offset / tokenBytes,
    ...(tokenizer === undefined ? {} : { tokenizer }),
  })
}

interface TokenKind {
  readonly tokenBytes: TokenBytes
  readonly tokenizer: TokenizerIdentity | undefined
}

/** Streams that were merged may differ; their tokens must not stand in one file. */
function checkAlike(file: string, first: TokenKind, next: TokenKind): void {
  if (first.tokenBytes !== next.tokenBytes) {
    const message = `tokens of ${first.tokenBytes} and of ${next.tokenBytes} bytes cannot stand in one file`
    throw new PenstockError('TOKENIZER_MISMATCH', message, { file })
  }
  if (first.tokenizer?.sha256 !== next.tokenizer?.sha256) {
    throw new PenstockError('TOKENIZER_MISMATCH', 'tokens of different tokenizers cannot stand in one file', { file })
  }
}

function littleEndianBytes(tokens: TokenArray): Uint8Array {
  const bytes = Buffer.from(tokens.buffer, tokens.byteOffset, tokens.byteLength)
  if (endianness() === 'LE' || tokens.BYTES_PER_ELEMENT === 1) return bytes
  return tokens.BYTES_PER_ELEMENT === 2 ? Buffer.from(bytes).swap16() : Buffer.from(bytes).swap32()
}
