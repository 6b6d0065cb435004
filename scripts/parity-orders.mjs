// Orders and numbers: compares samplers, shuffles, chunks, splits and number conversions with Modalities' classes.
import { createHash } from 'node:crypto'
import { numberConversion } from '../dist/modalities/components/number-conversion.js'
import { chunkRange, chunkSeed } from '../dist/sampling/chunk.js'
import { numpyGenerator } from '../dist/sampling/numpy-pcg64.js'
import { pythonRandom } from '../dist/sampling/python-random.js'
import { sampleOrder } from '../dist/sampling/sample-order.js'
import { samplesOfRank } from '../dist/sampling/shard.js'

export function orderChecks() {
  return [
    ...samplerChecks(),
    ...plainSamplerChecks(),
    ...shuffleChecks(),
    ...chunkChecks(),
    ...splitChecks(),
    ...numberChecks(),
  ]
}

const numbersFrom = (start, end) => Array.from({ length: end - start }, (_, index) => start + index)
const valueIn = answer => answer.value ?? { refused: answer.error }

/** Thirty settings: sizes near multiples of the ranks, all seeds and epochs, early, late and complete skips. */
function samplerChecks() {
  const worlds = [
    [1, 1, 0],
    [2, 2, 0],
    [10, 3, 0],
    [10, 3, 4],
    [10, 4, 9],
    [10, 4, 10],
    [7, 8, 0],
    [7, 8, 3],
    [100, 7, 1],
    [100, 8, 99],
    [101, 8, 50],
    [1000, 16, 3],
    [1000, 3, 998],
    [4096, 4, 128],
    [5000, 6, 4999],
  ]
  return worlds.flatMap(([n, ranks, skip], at) =>
    [true, false].map(dropLast => {
      const [seed, epoch, shuffle] = [at * 7919, at % 4, at % 5 !== 4]
      const job = { do: 'sampler', n, seed, epoch, ranks, skip, drop_last: dropLast, shuffle }
      const order = () => sampleOrder({ kind: shuffle ? 'torch' : 'none', length: n, seed, epoch })
      const shard = rank => ({ skip, rank, worldSize: ranks, dropLast })
      return {
        name: `sampler ${JSON.stringify(job)}`,
        job,
        ours: answer => [numbersFrom(0, ranks).map(rank => [...samplesOfRank(order(), shard(rank))]), valueIn(answer)],
      }
    }),
  )
}

/** torch's own sampler, which Modalities uses for evaluation. */
function plainSamplerChecks() {
  const worlds = [
    [10, 3, true],
    [10, 3, false],
    [1000, 8, true],
    [7, 8, true],
  ]
  return worlds.map(([n, ranks, shuffle]) => ({
    name: `distributed_sampler of ${n}, ${ranks} ranks, shuffle ${shuffle}`,
    job: { do: 'distributed_sampler', n, seed: 5, epoch: 2, ranks, shuffle },
    ours: answer => {
      const order = sampleOrder({ kind: shuffle ? 'torch' : 'none', length: n, seed: 5, epoch: 2 })
      const shard = rank => ({ skip: 0, rank, worldSize: ranks, dropLast: true })
      return [numbersFrom(0, ranks).map(rank => [...samplesOfRank(order, shard(rank))]), valueIn(answer)]
    },
  }))
}

function shuffleChecks() {
  return [0, 1, 42, 123456789, 2 ** 40].map(seed => ({
    name: `shuffle of packed data and JSONL, seed ${seed}`,
    job: { do: 'python_shuffle', n: 20_000, seed },
    ours: answer => {
      const items = numbersFrom(0, 20_000)
      pythonRandom(seed).shuffle(items)
      return [items, valueIn(answer)]
    },
  }))
}

function chunkChecks() {
  const sha256 = text => createHash('sha256').update(text).digest()
  const cases = [
    [20_000, 7, 0, 42],
    [20_000, 7, 6, 42],
    [5, 5, 4, 0],
    [5, 3, 1, 1],
    [3, 5, 4, 7],
    [100, 1, 0, 2 ** 40],
  ]
  return cases.map(([documents, chunks, chunk, globalSeed]) => ({
    name: `chunk ${chunk} of ${chunks}, ${documents} documents, seed ${globalSeed}`,
    job: { do: 'chunk', documents, chunks, chunk_id: chunk, global_seed: globalSeed },
    ours: answer => {
      const { start, end } = chunkRange(documents, chunks, chunk)
      const seed = chunkSeed(globalSeed, chunk, sha256)
      const order = numbersFrom(start, end)
      numpyGenerator(seed).shuffle(order)
      return [{ seed, order }, valueIn(answer)]
    },
  }))
}

function splitChecks() {
  return [
    [1234, [70, 15, 15]],
    [7, [100, 0, 0]],
    [99, [1, 98, 1]],
  ].map(([seed, weights]) => ({
    name: `split ${weights} with seed ${seed}`,
    job: { do: 'split', n: 5000, seed, weights },
    ours: answer => {
      const random = pythonRandom(seed)
      return [numbersFrom(0, 5000).map(() => random.choose(weights)), valueIn(answer)]
    },
  }))
}

function numberChecks() {
  const sizes = { dp_degree: 3, local_micro_batch_size: 5, gradient_accumulation_steps: 2 }
  const checkpoint = '/x/eid_1-seen_steps_11-seen_tokens_45056-target_steps_22-target_tokens_90112'
  const paths = [
    'last_step',
    'num_seen_steps',
    'global_num_seen_tokens',
    'num_target_steps',
    'global_num_target_tokens',
  ]
  const cases = [
    ['num_steps_from_num_tokens', { ...sizes, sequence_length: 7, global_num_tokens: 123_457 }],
    ['num_tokens_from_num_steps', { ...sizes, sequence_length: 7, num_steps: 13 }],
    ['num_samples_from_num_tokens', { num_tokens: 1000, sequence_length: 7 }],
    ['local_num_batches_from_num_samples', { num_ranks: 3, global_num_samples: 1000, local_micro_batch_size: 7 }],
    [
      'local_num_batches_from_num_tokens',
      { num_ranks: 3, global_num_tokens: 10_000, sequence_length: 9, local_micro_batch_size: 7 },
    ],
    ...[checkpoint, '/no/numbers', `${checkpoint}/seen_steps_3`].flatMap(path =>
      paths.map(name => [`${name}_from_checkpoint_path`, { checkpoint_path: path }]),
    ),
  ]
  return cases.map(([name, args]) => ({
    name: `${name} ${JSON.stringify(args)}`,
    job: { do: 'number', name, arguments: args },
    ours: answer => [
      orRefused(() => numberConversion[name].compute(args, {})),
      answer.error === undefined ? answer.value : 'refused',
    ],
  }))
}

function orRefused(compute) {
  try {
    return compute()
  } catch {
    return 'refused'
  }
}
