/**
 * Source: training samples of several sources of packed files, mixed by weight. The place of each sample is computed from its
 * position (sampling/mixture.ts), so the mixture takes no memory, can be sharded by rank and resumed at any position, and its
 * weights can change at given steps. Each source has its own shuffled order in every epoch. Ends before the first batch
 * in which a source would exceed its max_epochs.
 */
import { createHash } from 'node:crypto'
import { PenstockError } from '../../errors.js'
import { DescriptorPool } from '../../files/descriptor-pool.js'
import { commonTokenizer } from '../../files/packed-file.js'
import type {
  BatchOfMixture,
  MixtureIdentity,
  SampleBatch,
  SampleCursor,
  TokenizerIdentity,
} from '../../formats/batches.js'
import { type Bijection, bijection } from '../../sampling/bijection.js'
import { integerWeights } from '../../sampling/mixture.js'
import { type SourceStage, source } from '../stream/stage.js'
import { defineStage } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { type MixSamplesOptions, type MixSamplesSettings, mixSamplesOptions } from './mix-options.js'
import { mixtureLimit, mixtureOf, mixtureSteps, phasesOf } from './mix-order.js'
import { digestOf, emptyRows, openPackedSamples, type PackedSamples } from './packed-samples.js'

export type { MixSamplesOptions } from './mix-options.js'

export const mixSamplesStage = defineStage({
  name: 'mix-samples',
  summary: 'training samples of several sources, mixed by weight: shuffled, sharded, resumable',
  emits: 'samples',
  options: mixSamplesOptions,
  create: mixSamples,
  reads: ({ sources }) => sources.flatMap(({ paths, pack }) => (pack === undefined ? paths : [...paths, pack])),
})

/** @throws FILE_MISSING, PBIN_INVALID, DATA_TOO_SMALL, TOKENIZER_MISMATCH */
export function mixSamples(options: MixSamplesOptions): SourceStage<SampleBatch> {
  const checked = parseOptions(mixSamplesOptions, options, 'mix-samples')
  return source('mix-samples', async function* (context) {
    const pool = new DescriptorPool()
    try {
      const sources: Source[] = []
      for (const options of checked.sources) sources.push(await openSource(options, checked, pool))
      for (const batch of batches(sources, checked)) {
        context.count('tokens', batch.rows * checked.sequence_length)
        for (const row of batch.mixture.sources) context.count(`samples of ${sources[row]!.name}`, 1)
        yield batch
      }
    } finally {
      pool.close()
    }
  })
}

interface Source extends PackedSamples {
  readonly name: string
  readonly seed: number
  /** Distinguishes the orders of sources with the same seed. */
  readonly stream: number
  readonly shuffle: 'bijective' | 'none'
  /** Order of the epoch in progress. */
  order?: { readonly epoch: number; readonly bijection: Bijection }
}

async function openSource(
  options: MixSamplesSettings['sources'][number],
  { seed, shuffle, ...shared }: MixSamplesSettings,
  pool: DescriptorPool,
): Promise<Source> {
  const { name, seed: own = seed } = options
  const samples = await openPackedSamples({ ...shared, ...options }, pool)
  if (samples.count === 0) {
    throw new PenstockError('DATA_TOO_SMALL', `source ${name} has no samples in its range`, { file: options.paths[0]! })
  }
  const stream = createHash('sha256').update(name).digest().readUInt32BE()
  return { ...samples, name, seed: own, stream, shuffle }
}

interface MixedBatch extends SampleBatch {
  readonly mixture: BatchOfMixture
}

function* batches(sources: Source[], options: MixSamplesSettings): Generator<MixedBatch> {
  const { batch_size: rows, world_size: worldSize, rank } = options
  const { block } = sources[0]!
  const facts = factsOf(sources, options)
  const mixed = mixtureOf(options)
  const ranges = sources.flatMap(({ ranges }) => ranges)
  for (let number = 0, position = options.skip_num_global_samples; ; number++) {
    const globalSamples = position + rows * worldSize
    if (globalSamples > facts.mixture.availableSamples) return
    const arrays = emptyRows({ ...sources[0]!, hasPadding: sources.some(source => source.hasPadding) }, rows)
    const rowSources = new Uint16Array(rows)
    for (let row = 0; row < rows; row++) {
      const place = mixed.at(position + row * worldSize + rank)
      const from = sources[place.source]!
      from.readInto(arrays, row, sampleAt(from, place.index))
      rowSources[row] = place.source
    }
    position = globalSamples
    yield {
      kind: 'samples',
      number,
      byteLength: arrays.tokens.byteLength,
      ...arrays,
      rows,
      block,
      ranges,
      cursor: { ...facts.cursor, globalSamples },
      tokenizer: facts.tokenizer,
      mixture: { ...facts.mixture, sources: rowSources },
    }
  }
}

/** Number of the sample that a source provides at an index: its order in the epoch of the index. */
function sampleAt(from: Source, index: number): number {
  const epoch = Math.floor(index / from.count)
  const place = index - epoch * from.count
  if (from.shuffle === 'none') return place
  if (from.order?.epoch !== epoch) {
    from.order = { epoch, bijection: bijection(from.count, from.seed, epoch, from.stream) }
  }
  return from.order.bijection.at(place)
}

interface Facts {
  readonly cursor: Omit<SampleCursor, 'globalSamples'>
  readonly tokenizer: TokenizerIdentity | undefined
  readonly mixture: Omit<BatchOfMixture, 'sources'>
}

/** What all batches have in common. */
function factsOf(sources: readonly Source[], options: MixSamplesSettings): Facts {
  const tokenizer = commonTokenizer(
    sources.map(source => source.tokenizer),
    sources.map(({ files }) => files[0]!),
  )
  const counts = sources.map(({ count }) => count)
  return {
    tokenizer,
    cursor: {
      version: 1,
      seed: options.seed,
      order: options.shuffle,
      sequenceLength: options.sequence_length,
      block: sources[0]!.block,
      tokenBytes: sources[0]!.identity.tokenBytes,
      // Samples and files may be added with a new source; `mixture` identifies those of each source.
      sampleCount: 0,
      dataBytes: 0,
      ...(tokenizer && { tokenizer: tokenizer.sha256 }),
      ...(options.documents === 'mask' && { documents: options.documents }),
      mixture: identityOf(sources, options),
    },
    mixture: {
      names: sources.map(({ name }) => name),
      ...mixtureSteps(options),
      ...mixtureLimit(options, counts),
    },
  }
}

function identityOf(sources: readonly Source[], options: MixSamplesSettings): MixtureIdentity {
  return {
    sources: Object.fromEntries(
      sources.map(({ name, seed, count, ranges, identity: { content, ...data } }) => {
        const places = ranges.map(({ start, end, stride }) => ({ start, end, stride }))
        return [name, { samples: digestOf({ seed, count, places, ...data }), ...(content && { content }) }]
      }),
    ),
    phases: phasesOf(options).map(({ firstSample, weights }) => {
      const entries = Object.entries(weights).filter(([, own]) => own > 0)
      const integers = integerWeights(entries.map(([, own]) => own)).map(String)
      return { firstSample, weights: Object.fromEntries(entries.map(([name], index) => [name, integers[index]!])) }
    }),
  }
}
