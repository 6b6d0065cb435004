/**
 * Source of training samples from a packed file: blocks of sequence_length + 1 tokens in a shuffled order that depends
 * on seed and epoch alone, one rank's share of it, from any position on. The file is never rearranged and the order
 * takes no memory; each block is one small read.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { SampleBatch, SampleCursor } from '../formats/batches.js'
import { type BlockGeometry, blockGeometry, blockStart } from '../sampling/block.js'
import { ORDER_KINDS, sampleOrder } from '../sampling/sample-order.js'
import { positionInEpochs, shardOf } from '../sampling/shard.js'
import { checkTokenizer, readPackedManifest } from './manifest.js'
import { openPackedFile, type PackedFile } from './packed-file.js'
import { type SourceStage, source } from './stage.js'
import { openTokenizer } from './tokenizer-file.js'

export const shuffleSamplesOptions = z
  .strictObject({
    path: z.string().min(1).describe('the .pbin file'),
    sequence_length: z.int().min(2).describe('tokens that the model sees at once'),
    batch_size: z.int().positive().default(8).describe('samples in a batch'),
    shuffle: z
      .enum(ORDER_KINDS)
      .default('bijective')
      .describe('order: bijective (no memory), torch (that of the reference system) or none (as in the file)'),
    seed: z.int().nonnegative().default(0).describe('of the order; the epoch is added'),
    epochs: z
      .union([z.int().positive(), z.literal('endless')])
      .default(1)
      .describe('passes over the samples, or endless'),
    rank: z.int().nonnegative().default(0).describe('which share of the samples, from 0'),
    world_size: z.int().positive().default(1).describe('how many shares there are'),
    skip_num_global_samples: z.int().nonnegative().default(0).describe('samples of all ranks that are done already'),
    reuse_last_target: z.boolean().default(true).describe('the last target of a block is the first input of the next'),
    from: z.number().min(0).max(1).default(0).describe('start of the part of the file to take, as a fraction'),
    to: z.number().min(0).max(1).default(1).describe('end of that part: hold the rest out for evaluation'),
    tokenizer: z.string().min(1).optional().describe('refuse a file that was packed with another tokenizer'),
  })
  .refine(({ rank, world_size }) => rank < world_size, 'rank must be below world_size')
  .refine(({ from, to }) => from < to, 'from must be below to')
export type ShuffleSamplesOptions = z.input<typeof shuffleSamplesOptions>
type Checked = z.output<typeof shuffleSamplesOptions>

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export function shuffleSamples(options: ShuffleSamplesOptions): SourceStage<SampleBatch> {
  const checked = shuffleSamplesOptions.parse(options)
  return source('shuffle-samples', async function* (context) {
    const file = await openPackedFile(checked.path)
    try {
      await checkPackedWith(checked.tokenizer, file)
      for (const batch of samples(file, checked)) {
        context.count('tokens', batch.rows * checked.sequence_length)
        yield batch
      }
    } finally {
      await file.close()
    }
  })
}

/** The samples [first, first + count) of a file that an option pair from/to chooses. */
export function chosenPart(
  file: PackedFile,
  options: Pick<Checked, 'sequence_length' | 'reuse_last_target' | 'from' | 'to'>,
) {
  const geometry = blockGeometry(file.tokenCount, options.sequence_length, options.reuse_last_target)
  const first = Math.round(options.from * geometry.count)
  return { geometry, first, count: Math.round(options.to * geometry.count) - first }
}

function* samples(file: PackedFile, options: Checked): Generator<SampleBatch> {
  const { geometry, first, count } = chosenPart(file, options)
  const { batch_size, world_size } = options
  if (count < batch_size * world_size) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `${count} samples of ${geometry.block} tokens are fewer than a batch of ${batch_size} for each of ${world_size} ranks`,
      { file: file.path },
    )
  }
  let { epoch, skip } = positionInEpochs(options.skip_num_global_samples, count)
  const epochs = options.epochs === 'endless' ? Number.POSITIVE_INFINITY : options.epochs
  for (let number = 0; epoch < epochs; epoch++, skip = 0) {
    const order = sampleOrder({ kind: options.shuffle, length: count, seed: options.seed, epoch })
    const share = shardOf(order, { skip, rank: options.rank, worldSize: world_size, dropLast: true })
    for (let place = 0; place + batch_size <= share.length; place += batch_size) {
      const tokens = new Int32Array(batch_size * geometry.block)
      for (let row = 0; row < batch_size; row++) {
        tokens.set(readBlock(file, geometry, first + share.at(place + row)), row * geometry.block)
      }
      const globalSamples = epoch * count + skip + (place + batch_size) * world_size
      yield {
        kind: 'samples',
        number: number++,
        byteLength: tokens.byteLength,
        tokens,
        rows: batch_size,
        block: geometry.block,
        cursor: cursorAt(globalSamples, count, file, options),
      }
    }
  }
}

function readBlock(file: PackedFile, geometry: BlockGeometry, sample: number) {
  return file.readTokens(blockStart(geometry, sample), geometry.block)
}

function cursorAt(globalSamples: number, sampleCount: number, file: PackedFile, options: Checked): SampleCursor {
  return {
    version: 1,
    globalSamples,
    seed: options.seed,
    sampleCount,
    sequenceLength: options.sequence_length,
    dataBytes: file.header.dataBytes,
    tokenBytes: file.header.tokenBytes,
  }
}

/** @throws TOKENIZER_MISMATCH when the file's manifest names another tokenizer */
async function checkPackedWith(tokenizerPath: string | undefined, file: PackedFile): Promise<void> {
  if (tokenizerPath === undefined) return
  const manifest = await readPackedManifest(file.path, file.header)
  if (manifest !== undefined) checkTokenizer(manifest, await openTokenizer(tokenizerPath), file.path)
}
