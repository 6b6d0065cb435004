/**
 * Source: training samples of packed files, as blocks of sequence_length + 1 tokens. The shuffled order depends only on
 * seed and epoch; it can be sharded by rank and resumed at any position. The files are not rewritten, the bijective
 * order takes no memory, and each block is one small read.
 */

import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { DescriptorPool } from '../../files/descriptor-pool.js'
import type { SampleBatch, SampleCursor, TokenRange } from '../../formats/batches.js'
import { quantity } from '../../formats/message-words.js'
import { ORDER_KINDS, sampleOrderSlices } from '../../sampling/sample-order.js'
import { positionInEpochs, shardOf } from '../../sampling/shard.js'
import { type SourceStage, source } from '../stream/stage.js'
import { defineStage } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { runInSlices } from '../stream/time-slices.js'
import {
  emptyRows,
  openPackedSamples,
  type PackedSamples,
  packOption,
  rangeOptions,
  sampleOptions,
} from './packed-samples.js'

export const shuffleSamplesOptions = z
  .strictObject({
    path: z.string().min(1).describe('.pbin file to read'),
    more_paths: z.array(z.string().min(1)).default([]).describe('further .pbin files; their samples are appended'),
    pack: packOption,
    shuffle: z
      .enum(ORDER_KINDS)
      .default('bijective')
      .describe('order of the samples: bijective (needs no memory), torch (same as Modalities) or none (file order)'),
    seed: z.int().nonnegative().default(0).describe('seed of the shuffle; the epoch number is added'),
    epochs: z
      .union([z.int().positive(), z.literal('endless')])
      .default(1)
      .describe('number of passes over the samples, or endless'),
    ...sampleOptions,
    ...rangeOptions('all'),
  })
  .refine(({ rank, world_size }) => rank < world_size, 'rank must be below world_size')
  .refine(({ from, to }) => from < to, 'from must be below to')
export type ShuffleSamplesOptions = z.input<typeof shuffleSamplesOptions>
export type ShuffleSamplesSettings = z.output<typeof shuffleSamplesOptions>

export const shuffleSamplesStage = defineStage({
  name: 'shuffle-samples',
  summary: 'training samples of packed files: shuffled, sharded, resumable',
  emits: 'samples',
  options: shuffleSamplesOptions,
  create: shuffleSamples,
  reads: ({ path, more_paths, pack }) => [path, ...more_paths, ...(pack === undefined ? [] : [pack])],
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
  return { ...(await describeData(options)).cursor, globalSamples }
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

interface SampleData extends PackedSamples {
  readonly cursor: Omit<SampleCursor, 'globalSamples'>
}

async function openData(options: ShuffleSamplesSettings, pool: DescriptorPool): Promise<SampleData> {
  const samples = await openPackedSamples({ ...options, paths: [options.path, ...options.more_paths] }, pool)
  const { first, count, block, tokenizer, identity } = samples
  const cursor = {
    version: 1,
    seed: options.seed,
    order: options.shuffle,
    firstSample: first,
    sampleCount: count,
    sequenceLength: options.sequence_length,
    block,
    ...identity,
    ...(tokenizer && { tokenizer: tokenizer.sha256 }),
    ...(options.documents === 'mask' && { documents: options.documents }),
  } as const
  return { ...samples, cursor }
}

async function* samples(
  data: SampleData,
  options: ShuffleSamplesSettings,
  signal: AbortSignal,
): AsyncGenerator<SampleBatch> {
  const { count, block, ranges, tokenizer, cursor } = data
  const { batch_size, world_size } = options
  if (count < batch_size * world_size) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `${quantity(count, 'sample')} of ${quantity(block, 'token')} do not fill one batch of ${batch_size} on each of ${quantity(world_size, 'rank')}`,
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
      const rows = emptyRows(data, batch_size)
      for (let row = 0; row < batch_size; row++) data.readInto(rows, row, share.at(place + row))
      const globalSamples = epoch * count + skip + (place + batch_size) * world_size
      yield {
        kind: 'samples',
        number: number++,
        byteLength: rows.tokens.byteLength,
        ...rows,
        rows: batch_size,
        block,
        cursor: { ...cursor, globalSamples },
        tokenizer,
        ranges,
        batchesPerEpoch,
      }
    }
  }
}
