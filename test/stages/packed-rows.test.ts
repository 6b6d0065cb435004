/** Training on the rows of a .pack file: samples, resume with any world size, and rejected combinations. */
import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { type FeedTrainerOptions, feedTrainer } from '#src/stages/feed-trainer'
import { listDocuments } from '#src/stages/samples/list-documents'
import { mixSamples } from '#src/stages/samples/mix-samples'
import { packSamples } from '#src/stages/samples/pack-samples'
import { type ShuffleSamplesOptions, shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { TrainingEvent } from '#src/training/training-events'
import { torchPython } from '../training/torch/fixtures.js'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)

/** Document d of a file has the tokens offset + d, offset + d + 1, ... modulo 97. */
function packed(name: string, lengths: readonly number[], offset = 0): string {
  const tokens = lengths.flatMap((length, document) =>
    Array.from({ length }, (_, place) => (offset + document + place) % 97),
  )
  const starts = lengths.map((_, document) => lengths.slice(0, document).reduce((sum, length) => sum + length, 0))
  const pairs = lengths.map((length, document): [number, number] => [starts[document]!, length])
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  writeFileSync(at(name), Buffer.concat([header, Uint8Array.from(tokens), writePairList(pairs)]))
  return at(name)
}

const lengths = Array.from({ length: 60 }, (_, document) => 2 + ((5 * document) % 8))
const [path, second] = [packed('one.pbin', lengths), packed('two.pbin', lengths.slice(0, 30), 40)]
const pack = at('rows.pack')
const data = { path, more_paths: [second], pack, sequence_length: 8, documents: 'mask' as const }

beforeAll(async () => {
  await pipeline(listDocuments({ paths: [path, second] }), packSamples({ path: pack, sequence_length: 8 }))
  await pipeline(listDocuments({ paths: [path] }), packSamples({ path: at('one.pack'), sequence_length: 8 }))
  const seeded = { path: at('seeded.pack'), sequence_length: 8, seed: 1 }
  await pipeline(listDocuments({ paths: [path, second] }), packSamples(seeded))
})

async function batches(options: Partial<ShuffleSamplesOptions>): Promise<SampleBatch[]> {
  return gather<SampleBatch>(shuffleSamples({ ...data, batch_size: 2, ...options }))
}

/** The documents of a batch, as text. */
function documentsOf({ tokens, starts, lengths: used, rows, block }: SampleBatch): string[] {
  return Array.from({ length: rows }, (_, row) => {
    const places = [...starts!.subarray(row * block, (row + 1) * block).entries()]
    const firsts = places.flatMap(([place, start]) => (place === start && place < used![row]! ? [place] : []))
    return firsts.map((first, index) => {
      const end = firsts[index + 1] ?? used![row]!
      return tokens.subarray(row * block + first, row * block + end).join()
    })
  }).flat()
}

test('an epoch has every document once, whole', async () => {
  const found = (await batches({ batch_size: 1 })).flatMap(documentsOf)
  const expected = [lengths, lengths.slice(0, 30)].flatMap((file, number) =>
    file.map((length, document) => Array.from({ length }, (_, place) => (40 * number + document + place) % 97).join()),
  )
  expect(found.sort()).toEqual(expected.sort())
})

test('padding is a document of its own and counts as no token', async () => {
  for (const { tokens, starts, lengths: used, rows, block } of await batches({})) {
    for (let row = 0; row < rows; row++) {
      const padding = block - used![row]!
      expect([...tokens.subarray(row * block + used![row]!, (row + 1) * block)]).toEqual(new Array(padding).fill(0))
      const own = starts!.subarray(row * block + used![row]!, (row + 1) * block)
      expect([...own]).toEqual(new Array(padding).fill(used![row]!))
    }
  }
})

test('after any number of samples, any world size gets the samples of the uninterrupted run', async () => {
  const rowsOf = (found: readonly SampleBatch[]) =>
    found.flatMap(({ tokens, rows, block }) =>
      Array.from({ length: rows }, (_, row) => tokens.subarray(row * block, (row + 1) * block).join()),
    )
  const whole = rowsOf(await batches({ batch_size: 1 }))
  for (let skip = 0; skip < 12; skip++) {
    for (const world_size of [1, 2, 3]) {
      const ranks = await Promise.all(
        Array.from({ length: world_size }, async (_, rank) =>
          rowsOf(await batches({ batch_size: 1, rank, world_size, skip_num_global_samples: skip })),
        ),
      )
      const together = ranks[0]!.flatMap((_, place) => ranks.map(rank => rank[place]))
      expect(together).toEqual(whole.slice(skip, skip + together.length))
      expect(together.length).toBeGreaterThan(whole.length - skip - world_size)
    }
  }
})

test('ranges of rows are disjoint, and cover all rows', async () => {
  const part = async (from: number, to: number) =>
    (await batches({ batch_size: 1, shuffle: 'none', from, to })).flatMap(documentsOf)
  expect([...(await part(0, 0.7)), ...(await part(0.7, 1))]).toEqual(await part(0, 1))
})

test('a source of a mixture can be rows, beside one that is not', async () => {
  const sources = [
    { name: 'rows', paths: [path, second], pack, weight: 1, max_epochs: 'endless' as const },
    { name: 'blocks', paths: [path], weight: 1, max_epochs: 'endless' as const },
  ]
  const mixed = mixSamples({ sources, sequence_length: 8, batch_size: 4, documents: 'mask' })
  const found: SampleBatch[] = []
  for await (const batch of mixed as AsyncIterable<SampleBatch>) {
    if (found.push(batch) === 3) break
  }
  const full = found.flatMap(({ lengths: used, block }) => [...used!].filter(length => length === block))
  expect(full.length).toBeGreaterThanOrEqual(6)
  expect(found.flatMap(documentsOf).length).toBeGreaterThan(12)
})

describe('a training on rows', () => {
  const model = { vocab_size: 128, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 32 }

  async function train(
    options: FeedTrainerOptions,
    { samples = {}, skip = 0 }: { samples?: Partial<ShuffleSamplesOptions>; skip?: number } = {},
  ): Promise<number[]> {
    const losses: number[] = []
    const end = feedTrainer({
      model,
      batch_size: 4,
      restart_positions: true,
      ignore_first_targets: true,
      log_every_steps: 1,
      schedule: { decay: 'constant' },
      ...options,
    })
    end.on('report', (event: TrainingEvent) => event.kind === 'step' && losses.push(event.loss))
    const source = shuffleSamples({ ...data, batch_size: 4, skip_num_global_samples: skip, ...samples })
    await pipeline(source, end)
    return losses
  }

  test('has the losses of the uninterrupted run after a resume at every step', async () => {
    const steps = 5
    const whole = await train({ steps })
    expect(whole).toHaveLength(steps)
    for (let cut = 1; cut < steps; cut++) {
      const checkpoint = { folder: at('checkpoints'), every_steps: 1 }
      const before = await train({ steps: cut, checkpoint })
      const after = await train({ steps, checkpoint }, { skip: 4 * cut })
      expect([...before, ...after], `cut after ${cut}`).toEqual(whole)
      await rm(checkpoint.folder, { recursive: true })
    }
  })

  test.skipIf(torchPython === undefined)(
    'has the losses of tfjs in torch, resumed at every step with another number of ranks',
    { timeout: 300_000 },
    async () => {
      const steps = 3
      const whole = await train({ steps })
      const checkpoint = { folder: at('torch checkpoints'), every_steps: 1 }
      const found: number[] = []
      for (let cut = 0; cut < steps; cut++) {
        const torch = { nproc: 1 + (cut % 2), device: 'cpu' } as const
        found.push(...(await train({ engine: 'torch', torch, steps: cut + 1, checkpoint }, { skip: 4 * cut })))
      }
      expect(found).toHaveLength(steps)
      for (const [step, loss] of found.entries()) expect(Math.abs(loss - whole[step]!)).toBeLessThan(1e-4)
    },
  )

  test.each<[string, Partial<ShuffleSamplesOptions>]>([
    ['rows of another .pack file', { more_paths: [], pack: at('one.pack') }],
    ['rows packed with another seed', { pack: at('seeded.pack') }],
    ['samples cut by position', { pack: undefined } as object],
  ])('is not resumed with %s', async (name, samples) => {
    const checkpoint = { folder: at(`checkpoints ${name}`), every_steps: 1 }
    await train({ steps: 1, checkpoint })
    await expect(train({ steps: 2, checkpoint }, { samples, skip: 4 })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
    })
  })

  const evaluation = { every_steps: 1, batches: 1 }
  test('evaluates on other rows', async () => {
    const held_out = { path, more_paths: [second], pack, from: 0.7 }
    expect(await train({ steps: 1, held_out, evaluation }, { samples: { to: 0.7 } })).toHaveLength(1)
  })

  test.each([
    ['the same rows', { path, more_paths: [second], pack, from: 0.6 }],
    ['samples of the packed files', { path: second, from: 0.5 }],
    ['rows of the same files in another .pack file', { path, pack: at('one.pack'), from: 0.5 }],
  ])('rejects held-out samples that may be among its own: %s', async (_, held_out) => {
    const run = train({ steps: 1, held_out, evaluation }, { samples: { to: 0.7 } })
    await expect(run).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })
})

test.each<[string, Partial<ShuffleSamplesOptions>, string]>([
  ['other packed files', { more_paths: [] }, 'PACK_INVALID'],
  ['packed files in another order', { path: second, more_paths: [path] }, 'PACK_INVALID'],
  ['another sequence length', { sequence_length: 9 }, 'OPTION_INVALID'],
])('a .pack file is rejected with %s', async (_, options, code) => {
  await expect(batches(options)).rejects.toMatchObject({ code })
})
