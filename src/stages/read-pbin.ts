/** Source: the token ids of a packed file's documents, in file order, in batches of about one MiB. */
import * as z from 'zod'
import { readPackedManifest } from '../files/manifest.js'
import { openPackedFile, type PackedFile } from '../files/packed-file.js'
import type { TokenArray, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { type SourceStage, type StageContext, source } from './stream/stage.js'
import { defineStage, fileOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const BATCH_TOKENS = 1 << 19

const readPbinOptions = z.strictObject({
  path: z.string().min(1).describe('.pbin file to read'),
  limit: z.int().positive().optional().describe('stop after this many documents'),
  from: z.int().nonnegative().default(0).describe('number of the first document to read, from 0'),
})
export type ReadPbinOptions = z.input<typeof readPbinOptions>

export const readPbinStage = defineStage({
  name: 'read-pbin',
  summary: 'reads the token ids of the documents of a packed file',
  emits: 'tokens',
  options: readPbinOptions,
  resumable: true,
  create: readPbin,
  reads: fileOf,
})

/** @throws FILE_MISSING, PBIN_INVALID, PICKLE_INVALID */
export function readPbin(options: ReadPbinOptions): SourceStage<TokenBatch> {
  const { path, limit, from } = parseOptions(readPbinOptions, options, 'read-pbin')
  return source('read-pbin', async function* (context) {
    const file = await openPackedFile(path)
    try {
      context.stats.counts.totalBytes = file.header.dataBytes
      const manifest = await readPackedManifest(path, file.header)
      yield* documentsOf([file], manifest?.tokenizer, context, {
        first: from,
        end: limit === undefined ? undefined : from + limit,
      })
    } finally {
      await file.close()
    }
  })
}

/** Position at which to resume reading documents from several files. */
interface DocumentCursor {
  readonly file: number
  readonly document: number
}

/** The documents of several files, concatenated, batched by `tokenBatches`. */
export async function* documentsOf(
  files: readonly PackedFile[],
  tokenizer: TokenizerIdentity | undefined,
  { journal, count }: StageContext,
  { first = 0, end }: { readonly first?: number; readonly end?: number | undefined } = {},
): AsyncGenerator<TokenBatch> {
  const from = journal?.cursor<DocumentCursor>() ?? { file: 0, document: first }
  let number = 0
  for (let file = from.file; file < files.length; file++) {
    let document = file === from.file ? from.document : 0
    for await (const { tokens, lengths } of tokenBatches(files[file]!, end, document)) {
      const { byteLength } = tokens
      document += lengths.length
      count('tokens', tokens.length)
      const mark = journal?.markAfter(byteLength, () => ({ file, document }))
      yield { kind: 'tokens', number: number++, byteLength, tokens, lengths, tokenizer, mark }
    }
  }
}

/**
 * The documents of a file, in file order, in batches of about BATCH_TOKENS tokens.
 * @param from index of the first document to read, from 0
 */
export async function* tokenBatches(
  file: PackedFile,
  limit?: number,
  from = 0,
): AsyncGenerator<{ tokens: TokenArray; lengths: Uint32Array }> {
  for await (const { start, count, lengths } of documentRuns(file, limit, from)) {
    yield { tokens: file.readTokens(start, count), lengths: lengths.slice() }
  }
}

interface DocumentRun {
  readonly start: number
  readonly count: number
  /** A view of reused memory: valid until the next run. */
  readonly lengths: Uint32Array
}

/** Runs of adjacent documents with about BATCH_TOKENS tokens in total. */
async function* documentRuns(file: PackedFile, limit: number | undefined, from: number): AsyncGenerator<DocumentRun> {
  let lengths = new Uint32Array(1024)
  let documents = 0
  let start = 0
  let count = 0
  const run = (): DocumentRun => ({ start, count, lengths: lengths.subarray(0, documents) })
  const end = limit ?? Number.POSITIVE_INFINITY
  let document = 0
  for await (const block of file.documents()) {
    for (let entry = 0; entry < block.length && document < end; entry += 2, document++) {
      if (document < from) continue
      const first = block[entry]!
      const length = block[entry + 1]!
      const follows = start + count === first && count + length <= BATCH_TOKENS
      if (documents > 0 && !follows) {
        yield run()
        documents = 0
      }
      if (documents === 0) {
        start = first
        count = 0
      }
      if (documents === lengths.length) lengths = doubled(lengths)
      lengths[documents++] = length
      count += length
    }
  }
  if (documents > 0) yield run()
}

function doubled(values: Uint32Array): Uint32Array<ArrayBuffer> {
  const twice = new Uint32Array(2 * values.length)
  twice.set(values)
  return twice
}
