/**
 * Source: training samples of packed files, as blocks of sequence_length + 1 tokens. The shuffled order depends only on
 * seed and epoch; it can be sharded by rank and resumed at any position. The files are not rewritten, the bijective
 * order takes no memory, and each block is one small read.
 */
import { createHash } from 'node:crypto'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { DescriptorPool } from '../files/descriptor-pool.js'
import { DocumentIndex } from '../files/document-index.js'
import { checkTokenizer, type PackedManifest, readPackedManifest } from '../files/manifest.js'
import { commonTokenizer, openPackedFile, type PackedFile } from '../files/packed-file.js'
import type { SampleBatch, SampleCursor, TokenizerIdentity, TokenRange } from '../formats/batches.js'
import { blockStart } from '../sampling/block.js'
import { startsAfterToken } from '../sampling/document-starts.js'
import { ORDER_KINDS, sampleOrderSlices } from '../sampling/sample-order.js'
import { chosenRanges, chosenSamples, type FilePart, fileParts } from '../sampling/sample-range.js'
import { positionInEpochs, shardOf } from '../sampling/shard.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'
import { runInSlices } from './stream/time-slices.js'

export const shuffleSamplesOptions = z
  .strictObject({
    path: z.string().min(1).describe('.pbin file to read'),
    more_paths: z.array(z.string().min(1)).default([]).describe('further .pbin files; their samples are appended'),
    sequence_length: z.int().min(2).describe('context length of the model, in tokens'),
    batch_size: z.int().positive().default(8).describe('samples per batch'),
    shuffle: z
      .enum(ORDER_KINDS)
      .default('bijective')
      .describe('order of the samples: bijective (needs no memory), torch (same as Modalities) or none (file order)'),
    seed: z.int().nonnegative().default(0).describe('seed of the shuffle; the epoch number is added'),
    epochs: z
      .union([z.int().positive(), z.literal('endless')])
      .default(1)
      .describe('number of passes over the samples, or endless'),
    rank: z.int().nonnegative().default(0).describe('rank whose share of the samples to read, from 0'),
    world_size: z.int().positive().default(1).describe('number of ranks that share the samples'),
    skip_num_global_samples: z
      .int()
      .nonnegative()
      .default(0)
      .describe('samples of all ranks to skip because they were already trained on'),
    reuse_last_target: z
      .boolean()
      .default(true)
      .describe('let consecutive blocks share one token: the last target of one is the first input of the next'),
    documents: z
      .enum(['join', 'mask'])
      .default('join')
      .describe(
        'attention between the documents of a sample: join lets each token attend to all before it, mask only to those of its own document',
      ),
    from: z.number().min(0).max(1).default(0).describe('start of the range of samples to use, as a fraction of all'),
    to: z
      .number()
      .min(0)
      .max(1)
      .default(1)
      .describe('end of the range of samples to use, as a fraction of all; the rest can be held out for evaluation'),
    tokenizer: z.string().min(1).optional().describe('tokenizer that the file must have been packed with'),
  })
  .refine(({ rank, world_size }) => rank < world_size, 'rank must be below world_size')
  .refine(({ from, to }) => from < to, 'from must be below to')
export type ShuffleSamplesOptions = z.input<typeof shuffleSamplesOptions>
type Checked = z.output<typeof shuffleSamplesOptions>

export const shuffleSamplesStage = defineStage({
  name: 'shuffle-samples',
  summary: 'training samples of packed files: shuffled, sharded, resumable',
  emits: 'samples',
  options: shuffleSamplesOptions,
  create: shuffleSamples,
  reads: ({ path, more_paths }) => [path, ...more_paths],
})

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export function shuffleSamples(options: ShuffleSamplesOptions): SourceStage<SampleBatch> {
  const checked = parseOptions(shuffleSamplesOptions, options, 'shuffle-samples')
  return source('shuffle-samples', async function* (context) {
    const pool = new DescriptorPool()
    try {
      const data = await openData(checked, pool)
      for await (const batch of samples(data, checked, context.signal)) {
        context.count('tokens', batch.rows * checked.sequence_length)
        yield batch
      }
    } finally {
      pool.close()
    }
  })
}

/** The cursor after `globalSamples` samples of all ranks. @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL */
export async function sampleCursor(options: ShuffleSamplesOptions, globalSamples: number): Promise<SampleCursor> {
  return { ...(await describeData(options)).identity, globalSamples }
}

/** Tokens that the options choose, in each file. @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export async function sampleRanges(options: ShuffleSamplesOptions): Promise<readonly TokenRange[]> {
  return (await describeData(options)).ranges
}

async function describeData(options: ShuffleSamplesOptions): Promise<SampleData> {
  const pool = new DescriptorPool()
  try {
    return await openData(parseOptions(shuffleSamplesOptions, options, 'shuffle-samples'), pool)
  } finally {
    pool.close()
  }
}

/** The open files and everything that does not change from batch to batch. */
interface SampleData {
  readonly files: readonly PackedFile[]
  readonly parts: readonly FilePart[]
  readonly first: number
  readonly count: number
  readonly ranges: readonly TokenRange[]
  readonly tokenizer: TokenizerIdentity | undefined
  /** Of each file, where documents are masked and no token ends them; otherwise empty. */
  readonly indexes: readonly DocumentIndex[]
  readonly identity: Omit<SampleCursor, 'globalSamples'>
}

async function openData(options: Checked, pool: DescriptorPool): Promise<SampleData> {
  const files: PackedFile[] = []
  const manifests: (PackedManifest | undefined)[] = []
  for (const path of [options.path, ...options.more_paths]) {
    const file = await openPackedFile(path, pool)
    files.push(file)
    manifests.push(await manifestOf(file, options.tokenizer))
  }
  const tokenizer = tokenizerOf(manifests, files)
  const parts = fileParts(
    files.map(({ tokenCount }) => tokenCount),
    options,
  )
  const { first, count } = chosenSamples(parts, options)
  const ranges = chosenRanges(files, options)
  const identity = {
    version: 1,
    seed: options.seed,
    order: options.shuffle,
    firstSample: first,
    sampleCount: count,
    sequenceLength: options.sequence_length,
    block: parts[0]!.geometry.block,
    dataBytes: files.reduce((sum, { header }) => sum + header.dataBytes, 0),
    tokenBytes: files[0]!.header.tokenBytes,
    files: digestOf(files.map(({ header }) => header.dataBytes)),
    ...contentOf(manifests),
    ...(tokenizer && { tokenizer: tokenizer.sha256 }),
    ...(options.documents === 'mask' && { documents: options.documents }),
  } as const
  const needsIndex = options.documents === 'mask' && tokenizer?.endOfDocumentId === undefined
  const indexes = needsIndex ? await Promise.all(files.map(file => DocumentIndex.read(file))) : []
  return { files, parts, first, count, ranges, tokenizer, indexes, identity }
}

async function* samples(data: SampleData, options: Checked, signal: AbortSignal): AsyncGenerator<SampleBatch> {
  const { first, count, ranges, tokenizer, identity } = data
  const { block } = data.parts[0]!.geometry
  const { batch_size, world_size } = options
  if (count < batch_size * world_size) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `${count} samples of ${block} tokens do not fill one batch of ${batch_size} on each of ${world_size} ranks`,
      { file: options.path },
    )
  }
  const batchesPerEpoch = Math.floor(Math.floor(count / world_size) / batch_size)
  let { epoch, skip } = positionInEpochs(options.skip_num_global_samples, count)
  const epochs = options.epochs === 'endless' ? Number.POSITIVE_INFINITY : options.epochs
  for (let number = 0; epoch < epochs; epoch++, skip = 0) {
    const ordering = sampleOrderSlices({ kind: options.shuffle, length: count, seed: options.seed, epoch })
    const order = await runInSlices(ordering, signal)
    const share = shardOf(order, { skip, rank: options.rank, worldSize: world_size, dropLast: true })
    for (let place = 0; place + batch_size <= share.length; place += batch_size) {
      const numbers = Array.from({ length: batch_size }, (_, row) => first + share.at(place + row))
      const tokens = new Int32Array(batch_size * block)
      for (const [row, sample] of numbers.entries()) tokens.set(readBlock(data, sample), row * block)
      const globalSamples = epoch * count + skip + (place + batch_size) * world_size
      yield {
        kind: 'samples',
        number: number++,
        byteLength: tokens.byteLength,
        tokens,
        rows: batch_size,
        block,
        ...(options.documents === 'mask' && { starts: startsOf(data, numbers, tokens) }),
        cursor: { ...identity, globalSamples },
        tokenizer,
        ranges,
        batchesPerEpoch,
      }
    }
  }
}

function readBlock(data: SampleData, sample: number) {
  const { file, start } = placeOf(data, sample)
  return data.files[file]!.readTokens(start, data.parts[file]!.geometry.block)
}

/** Number of the file of a sample, and its first token there. */
function placeOf({ parts }: SampleData, sample: number): { readonly file: number; readonly start: number } {
  const file = parts.findLastIndex(part => part.firstSample <= sample)
  const { geometry, firstSample } = parts[file]!
  return { file, start: blockStart(geometry, sample - firstSample) }
}

/** Where the documents of the samples start, from the token that ends them, or from the index of their file. */
function startsOf(data: SampleData, samples: readonly number[], tokens: Int32Array): Int32Array {
  const { block } = data.parts[0]!.geometry
  const endId = data.tokenizer?.endOfDocumentId
  if (endId !== undefined) return startsAfterToken(tokens, block, endId)
  const starts = new Int32Array(tokens.length)
  for (const [row, sample] of samples.entries()) {
    const { file, start } = placeOf(data, sample)
    data.indexes[file]!.startsIn(start, starts.subarray(row * block, (row + 1) * block))
  }
  return starts
}

/** The file's manifest. @throws TOKENIZER_MISMATCH if it names another tokenizer than the given one */
async function manifestOf(file: PackedFile, tokenizerPath: string | undefined): Promise<PackedManifest | undefined> {
  const manifest = await readPackedManifest(file.path, file.header)
  if (manifest !== undefined && tokenizerPath !== undefined) {
    // Loaded only here, since few runs need the tokenizer's code.
    const { tokenizerReference } = await import('../workers/tokenizer/load-tokenizer.js')
    checkTokenizer(manifest, await tokenizerReference(tokenizerPath), file.path)
  }
  return manifest
}

/** The tokenizer of all files, without an end-of-document token that not all files use. @throws TOKENIZER_MISMATCH */
function tokenizerOf(
  manifests: readonly (PackedManifest | undefined)[],
  files: readonly PackedFile[],
): TokenizerIdentity | undefined {
  const tokenizers = manifests.map(manifest => manifest?.tokenizer)
  const common = commonTokenizer(tokenizers, files)
  const isEndCommon = tokenizers.every(tokenizer => tokenizer?.endOfDocumentId === common?.endOfDocumentId)
  return common && !isEndCommon ? { ...common, endOfDocumentId: undefined } : common
}

function contentOf(manifests: readonly (PackedManifest | undefined)[]): { content?: string } {
  return manifests.includes(undefined) ? {} : { content: digestOf(manifests.map(manifest => manifest!.checksums)) }
}

const digestOf = (value: unknown): string => createHash('sha256').update(JSON.stringify(value)).digest('hex')
