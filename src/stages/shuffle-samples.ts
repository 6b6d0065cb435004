/**
 * Source: training samples of packed files, as blocks of sequence_length + 1 tokens. The shuffled order depends only on
 * seed and epoch; it can be sharded by rank and resumed at any position. The files are not rewritten, the bijective
 * order takes no memory, and each block is one small read.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { DescriptorPool } from '../files/descriptor-pool.js'
import { checkTokenizer, readPackedManifest } from '../files/manifest.js'
import { openPackedFile, type PackedFile } from '../files/packed-file.js'
import type { SampleBatch, SampleCursor, TokenizerIdentity } from '../formats/batches.js'
import { type BlockGeometry, blockGeometry, blockStart } from '../sampling/block.js'
import { ORDER_KINDS, sampleOrderSlices } from '../sampling/sample-order.js'
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
    const files: PackedFile[] = []
    const tokenizers: (TokenizerIdentity | undefined)[] = []
    try {
      for (const path of [checked.path, ...checked.more_paths]) {
        const file = await openPackedFile(path, pool)
        files.push(file)
        tokenizers.push(await packedWith(file, checked.tokenizer))
      }
      const tokenizer = commonIdentity(tokenizers)
      for await (const batch of samples(files, checked, context.signal)) {
        context.count('tokens', batch.rows * checked.sequence_length)
        yield { ...batch, tokenizer }
      }
    } finally {
      pool.close()
    }
  })
}

/** The cursor after `globalSamples` samples of all ranks. @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL */
export async function sampleCursor(options: ShuffleSamplesOptions, globalSamples: number): Promise<SampleCursor> {
  const checked = parseOptions(shuffleSamplesOptions, options, 'shuffle-samples')
  const pool = new DescriptorPool()
  const files: PackedFile[] = []
  for (const path of [checked.path, ...checked.more_paths]) files.push(await openPackedFile(path, pool))
  return cursorAt(globalSamples, chosenPart(partsOf(files, checked), checked).count, files, checked)
}

/** One file and the number of its first sample among all files. */
interface FilePart {
  readonly file: PackedFile
  readonly geometry: BlockGeometry
  readonly firstSample: number
}

/** Blocks never cross from one file into the next. */
function partsOf(files: readonly PackedFile[], { sequence_length, reuse_last_target }: Checked): FilePart[] {
  let firstSample = 0
  return files.map(file => {
    const part = { file, geometry: blockGeometry(file.tokenCount, sequence_length, reuse_last_target), firstSample }
    firstSample += part.geometry.count
    return part
  })
}

/** The samples [first, first + count) selected by the options `from` and `to`. */
function chosenPart(parts: readonly FilePart[], { from, to }: Checked): { first: number; count: number } {
  const total = parts.reduce((sum, { geometry }) => sum + geometry.count, 0)
  const first = Math.round(from * total)
  return { first, count: Math.round(to * total) - first }
}

async function* samples(
  files: readonly PackedFile[],
  options: Checked,
  signal: AbortSignal,
): AsyncGenerator<SampleBatch> {
  const parts = partsOf(files, options)
  const { block } = parts[0]!.geometry
  const { first, count } = chosenPart(parts, options)
  const { batch_size, world_size } = options
  if (count < batch_size * world_size) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `${count} samples of ${block} tokens do not fill one batch of ${batch_size} on each of ${world_size} ranks`,
      { file: options.path },
    )
  }
  let { epoch, skip } = positionInEpochs(options.skip_num_global_samples, count)
  const epochs = options.epochs === 'endless' ? Number.POSITIVE_INFINITY : options.epochs
  for (let number = 0; epoch < epochs; epoch++, skip = 0) {
    const ordering = sampleOrderSlices({ kind: options.shuffle, length: count, seed: options.seed, epoch })
    const order = await runInSlices(ordering, signal)
    const share = shardOf(order, { skip, rank: options.rank, worldSize: world_size, dropLast: true })
    for (let place = 0; place + batch_size <= share.length; place += batch_size) {
      const tokens = new Int32Array(batch_size * block)
      for (let row = 0; row < batch_size; row++) {
        tokens.set(readBlock(parts, first + share.at(place + row)), row * block)
      }
      const globalSamples = epoch * count + skip + (place + batch_size) * world_size
      yield {
        kind: 'samples',
        number: number++,
        byteLength: tokens.byteLength,
        tokens,
        rows: batch_size,
        block,
        cursor: cursorAt(globalSamples, count, files, options),
      }
    }
  }
}

function readBlock(parts: readonly FilePart[], sample: number) {
  const { file, geometry, firstSample } = parts.findLast(part => part.firstSample <= sample)!
  return file.readTokens(blockStart(geometry, sample - firstSample), geometry.block)
}

function cursorAt(
  globalSamples: number,
  sampleCount: number,
  files: readonly PackedFile[],
  options: Checked,
): SampleCursor {
  return {
    version: 1,
    globalSamples,
    seed: options.seed,
    sampleCount,
    sequenceLength: options.sequence_length,
    dataBytes: files.reduce((sum, { header }) => sum + header.dataBytes, 0),
    tokenBytes: files[0]!.header.tokenBytes,
  }
}

/** The tokenizer in the file's manifest. @throws TOKENIZER_MISMATCH if it differs from the given one */
async function packedWith(file: PackedFile, tokenizerPath: string | undefined): Promise<TokenizerIdentity | undefined> {
  const manifest = await readPackedManifest(file.path, file.header)
  if (manifest === undefined) return undefined
  if (tokenizerPath !== undefined) {
    // Loaded only here, since few runs need the tokenizer's code.
    const { tokenizerReference } = await import('../workers/tokenizer/load-tokenizer.js')
    checkTokenizer(manifest, await tokenizerReference(tokenizerPath), file.path)
  }
  return manifest.tokenizer
}

/** The tokenizer of all files; undefined if it is unknown for one of them or differs. */
function commonIdentity(tokenizers: readonly (TokenizerIdentity | undefined)[]): TokenizerIdentity | undefined {
  const first = tokenizers[0]
  const isCommon = tokenizers.every(
    other => other?.sha256 === first?.sha256 && other?.endOfDocumentId === first?.endOfDocumentId,
  )
  return isCommon ? first : undefined
}
