/** Source of the token ids of a packed file's documents, in the file's order, in batches of about one MiB. */
import * as z from 'zod'
import type { TokenArray, TokenBatch } from '../formats/batches.js'
import { readPackedManifest } from './manifest.js'
import { openPackedFile, type PackedFile } from './packed-file.js'
import { type SourceStage, source } from './stage.js'

const BATCH_TOKENS = 1 << 19

export const readPbinOptions = z.strictObject({
  path: z.string().min(1).describe('the .pbin file'),
  limit: z.int().positive().optional().describe('read only this many documents'),
})
export type ReadPbinOptions = z.input<typeof readPbinOptions>

/** @throws FILE_MISSING, PBIN_INVALID, PICKLE_INVALID */
export function readPbin(options: ReadPbinOptions): SourceStage<TokenBatch> {
  const { path, limit } = readPbinOptions.parse(options)
  return source('read-pbin', async function* (context) {
    const file = await openPackedFile(path)
    try {
      const manifest = await readPackedManifest(path, file.header)
      const tokenizer = manifest?.tokenizer
      let number = 0
      for await (const { tokens, lengths } of tokenBatches(file, limit)) {
        context.count('tokens', tokens.length)
        yield { kind: 'tokens' as const, number: number++, byteLength: tokens.byteLength, tokens, lengths, tokenizer }
      }
    } finally {
      await file.close()
    }
  })
}

/** The documents of a file, in its order, in pieces of about BATCH_TOKENS tokens. */
export async function* tokenBatches(
  file: PackedFile,
  limit?: number,
): AsyncGenerator<{ tokens: TokenArray; lengths: Uint32Array }> {
  for await (const { start, count, lengths } of documentRuns(file, limit)) {
    yield { tokens: file.readTokens(start, count), lengths: Uint32Array.from(lengths) }
  }
}

interface DocumentRun {
  start: number
  count: number
  lengths: number[]
}

/** Documents that stand one behind the other, up to about BATCH_TOKENS tokens together. */
async function* documentRuns(file: PackedFile, limit = Number.POSITIVE_INFINITY): AsyncGenerator<DocumentRun> {
  let run: DocumentRun = { start: 0, count: 0, lengths: [] }
  let documents = 0
  for await (const block of file.documents()) {
    for (let entry = 0; entry < block.length && documents < limit; entry += 2, documents++) {
      const first = block[entry]!
      const length = block[entry + 1]!
      const follows = run.start + run.count === first && run.count + length <= BATCH_TOKENS
      if (run.lengths.length > 0 && !follows) {
        yield run
        run = { start: first, count: 0, lengths: [] }
      } else if (run.lengths.length === 0) {
        run.start = first
      }
      run.count += length
      run.lengths.push(length)
    }
  }
  if (run.lengths.length > 0) yield run
}
