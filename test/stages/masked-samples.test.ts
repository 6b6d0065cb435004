/** Samples with `documents: mask`: their document starts, and runs that resume with them. */
import { writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { writePackedManifest } from '#src/files/manifest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { type FeedTrainerOptions, feedTrainer } from '#src/stages/feed-trainer'
import { type ShuffleSamplesOptions, shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { TrainingEvent } from '#src/training/training-events'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const END = 11

/** Writes documents of the given lengths; each ends with the token END, which the manifest records if `named`. */
async function packed(name: string, lengths: readonly number[], named: boolean): Promise<string> {
  const path = join(folder, name)
  const tokens = lengths.flatMap((length, document) =>
    Array.from({ length }, (_, at) => (at === length - 1 ? END : (document + at) % END)),
  )
  const pairs = lengths.map((length, at): [number, number] => [lengths.slice(0, at).reduce((a, b) => a + b, 0), length])
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  writeFileSync(path, Buffer.concat([header, Uint8Array.from(tokens), writePairList(pairs)]))
  if (named) {
    const counts = { documents: lengths.length, tokens: tokens.length, dataBytes: tokens.length, tokenBytes: 1 }
    const tokenizer = { sha256: '0'.repeat(64), vocabSize: 12, endOfDocumentId: END }
    await writePackedManifest(path, { version: 1, ...counts, fileBytes: 1, checksums: [1], tokenizer })
  }
  return path
}

const lengths = Array.from({ length: 80 }, (_, at) => 1 + ((at * 7) % 12))
const [named, unnamed] = [await packed('named.pbin', lengths, true), await packed('unnamed.pbin', lengths, false)]
const [short, short2] = [await packed('short.pbin', [3, 30], false), await packed('short2.pbin', [1, 1, 20], false)]

async function batches(options: Partial<ShuffleSamplesOptions>): Promise<SampleBatch[]> {
  const given = { path: named, sequence_length: 8, batch_size: 4, documents: 'mask', ...options } as const
  return gather<SampleBatch>(shuffleSamples(given))
}

test('document starts from the index are those from the end-of-document token', async () => {
  const [fromToken, fromIndex] = [await batches({}), await batches({ path: unnamed })]
  expect(fromToken.length).toBeGreaterThan(10)
  expect(fromIndex.map(({ starts }) => starts)).toEqual(fromToken.map(({ starts }) => starts))
  for (const { tokens, starts, block } of fromToken) {
    const expected = [...tokens].map((_, at) => {
      const place = at % block
      return tokens.subarray(at - place, at).lastIndexOf(END) + 1
    })
    expect([...starts!]).toEqual(expected)
  }
})

test('each file has its own index', async () => {
  const found = await batches({ path: short, more_paths: [short2], shuffle: 'none', batch_size: 1 })
  const rows = found.map(({ starts }) => [...starts!].join(''))
  expect(rows).toEqual(['000333333', '000000000', '000000000', '000000000', '012222222', '000000000'])
})

test('joined documents have no starts, and the cursor has no such field', async () => {
  const [joined] = await batches({ documents: 'join' })
  const [masked] = await batches({})
  expect(joined!.starts).toBeUndefined()
  expect(masked!.cursor).toEqual({ ...joined!.cursor, documents: 'mask' })
})

const model = { vocab_size: 128, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 32 }

interface Run {
  readonly samples?: Partial<ShuffleSamplesOptions>
  readonly options?: FeedTrainerOptions
  readonly skip?: number
}

/** Losses of the steps of a run over the masked samples. */
async function train({ samples, options, skip = 0 }: Run): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = []
  const end = feedTrainer({ model, batch_size: 4, restart_positions: true, log_every_steps: 1, ...options })
  end.on('report', event => events.push(event))
  const given = {
    path: named,
    sequence_length: 8,
    batch_size: 4,
    documents: 'mask',
    skip_num_global_samples: skip,
  } as const
  await pipeline(shuffleSamples({ ...given, ...samples }), end)
  return events
}

const lossesOf = (events: readonly TrainingEvent[]) =>
  events.flatMap(event => (event.kind === 'step' ? [event.loss] : []))

describe('a training with masked documents', () => {
  const held_out = { path: named, from: 0.5, allow_overlap: true }
  const evaluation = { every_steps: 2, batches: 1 }

  test('has the losses of the uninterrupted run after a resume at every step', async () => {
    const steps = 5
    const whole = await train({ options: { steps } })
    expect(lossesOf(whole)).toHaveLength(steps)
    expect(lossesOf(await train({ options: { steps }, samples: { documents: 'mask', seed: 1 } }))).not.toEqual(
      lossesOf(whole),
    )
    for (let cut = 1; cut < steps; cut++) {
      const checkpoint = { folder: join(folder, 'checkpoints'), every_steps: 1 }
      const schedule = { decay: 'constant' } as const
      const all = await train({ options: { steps, schedule } })
      const before = await train({ options: { steps: cut, checkpoint, schedule } })
      const after = await train({ options: { steps, checkpoint, schedule }, skip: 4 * cut })
      expect([...lossesOf(before), ...lossesOf(after)], `cut after ${cut}`).toEqual(lossesOf(all))
      await rm(checkpoint.folder, { recursive: true })
    }
  })

  test.each<[string, Run]>([
    ['documents', { samples: { documents: 'join' }, options: { restart_positions: false } }],
    ['restart_positions', { options: { restart_positions: false } }],
    ['ignore_first_targets', { options: { ignore_first_targets: true } }],
  ])('is not resumed with another treatment of documents: %s', async (name, { samples = {}, options = {} }) => {
    const checkpoint = { folder: join(folder, `checkpoints ${name}`), every_steps: 1 }
    const restart_positions = name !== 'documents'
    await train({ options: { steps: 1, checkpoint, restart_positions } })
    await expect(train({ samples, options: { steps: 2, checkpoint, ...options }, skip: 4 })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
      message: expect.stringContaining(name),
    })
  })

  test('masks the documents of held-out samples too', async () => {
    const run = async (documents: 'join' | 'mask') => {
      const options = { steps: 2, held_out, evaluation: { ...evaluation, at_start: true }, restart_positions: false }
      return (await train({ samples: { documents }, options })).find(event => event.kind === 'evaluation')?.loss
    }
    const [joined, masked] = [await run('join'), await run('mask')]
    expect(masked).toBeGreaterThan(0)
    expect(masked).not.toBe(joined)
  })
})
