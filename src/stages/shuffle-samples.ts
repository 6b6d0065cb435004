/**
 * Source of training samples from a packed file: blocks of sequence_length + 1 tokens in a shuffled order that depends
 * on seed and epoch alone, one rank's share of it, from any position on. The file is never rearranged and the order
 * takes no memory; each block is one small read.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { checkTokenizer, readPackedManifest } from '../files/manifest.js'
import { openPackedFile, type PackedFile } from '../files/packed-file.js'
import type { SampleBatch, SampleCursor } from '../formats/batches.js'
import { type BlockGeometry, blockGeometry, blockStart } from '../sampling/block.js'
import { ORDER_KINDS, sampleOrderSlices } from '../sampling/sample-order.js'
import { positionInEpochs, shardOf } from '../sampling/shard.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'
import { runInSlices } from './stream/time-slices.js'

export const shuffleSamplesOptions = z
  .strictObject({
    path: z.string().min(1).describe('the .pbin file'),
    more_paths: z.array(z.string().min(1)).default([]).describe('further files, whose samples come behind its own'),
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

export const shuffleSamplesStage = defineStage({
  name: 'shuffle-samples',
  summary: 'training samples of a packed file, shuffled, sharded, resumable',
  emits: 'samples',
  options: shuffleSamplesOptions,
  create: shuffleSamples,
  reads: ({ path, more_paths }) => [path, ...more_paths],
})

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export function shuffleSamples(options: ShuffleSamplesOptions): SourceStage<SampleBatch> {
  const checked = parseOptions(shuffleSamplesOptions, options, 'shuffle-samples')
  return source('shuffle-samples', async function* (context) {
    const files: PackedFile[] = []
    try {
      for (const path of [checked.path, ...checked.more_paths]) {
        const file = await openPackedFile(path)
        files.push(file)
        await checkPackedWith(checked.tokenizer, file)
      }
      for await (const batch of samples(files, checked, context.signal)) {
        context.count('tokens', batch.rows * checked.sequence_length)
        yield batch
      }
    } finally {
      for (const file of files) await file.close()
    }
  })
}

/** The cursor of a run that has seen so many samples of all ranks. @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL */
export async function sampleCursor(options: ShuffleSamplesOptions, globalSamples: number): Promise<SampleCursor> {
  const checked = parseOptions(shuffleSamplesOptions, options, 'shuffle-samples')
  const files: PackedFile[] = []
  try {
    for (const path of [checked.path, ...checked.more_paths]) files.push(await openPackedFile(path))
    return cursorAt(globalSamples, chosenPart(partsOf(files, checked), checked).count, files, checked)
  } finally {
    for (const file of files) await file.close()
  }
}

/** The samples of a file, behind those of the files before it. */
interface FilePart {
  readonly file: PackedFile
  readonly geometry: BlockGeometry
  readonly firstSample: number
}

/** Blocks never reach from one file into the next. */
function partsOf(files: readonly PackedFile[], { sequence_length, reuse_last_target }: Checked): FilePart[] {
  let firstSample = 0
  return files.map(file => {
    const part = { file, geometry: blockGeometry(file.tokenCount, sequence_length, reuse_last_target), firstSample }
    firstSample += part.geometry.count
    return part
  })
}

/** The samples [first, first + count) that an option pair from/to chooses. */
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
      `${count} samples of ${block} tokens are fewer than a batch of ${batch_size} for each of ${world_size} ranks`,
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

/** @throws TOKENIZER_MISMATCH when the file's manifest names another tokenizer */
async function checkPackedWith(tokenizerPath: string | undefined, file: PackedFile): Promise<void> {
  if (tokenizerPath === undefined) return
  const manifest = await readPackedManifest(file.path, file.header)
  if (manifest === undefined) return
  // Few runs get here; the others need not load the tokenizer's code.
  const { tokenizerReference } = await import('../workers/tokenizer/load-tokenizer.js')
  checkTokenizer(manifest, await tokenizerReference(tokenizerPath), file.path)
}
