/** Samples of a mixture: shares, orders, ranks, phases, ends; resumed trainings get the samples of an uninterrupted one. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { type MixSamplesOptions, mixSamples } from '#src/stages/samples/mix-samples'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { transform } from '#src/stages/stream/stage'
import type { TrainingEvent } from '#src/training/training-events'
import { gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()

/** A file of 16-bit tokens first, first + 1, ...: the first token of a sample identifies it. */
function packed(name: string, count: number, first: number): string {
  const tokens = Uint16Array.from({ length: count }, (_, at) => first + at)
  const path = join(folder, name)
  const header = encodePbinHeader({ dataBytes: 2 * count, tokenBytes: 2 })
  writeFileSync(path, Buffer.concat([header, new Uint8Array(tokens.buffer), writePairList([[0, 2 * count]])]))
  return path
}

const [web, code, books] = [packed('web', 401, 0), packed('code', 81, 1000), packed('books', 41, 2000)]
const sources = [
  { name: 'web', paths: [web], weight: 0.5, max_epochs: 4 },
  { name: 'code', paths: [code], weight: 0.3, max_epochs: 8 },
  { name: 'books', paths: [books], weight: 0.2, max_epochs: 20 },
]
const options: MixSamplesOptions = { sources, sequence_length: 4, batch_size: 2 }

/** The first token of each sample of the first batches. */
async function samples(changes: Partial<MixSamplesOptions> = {}, limit = 60): Promise<number[]> {
  const batches = await gather<SampleBatch>(
    mixSamples({ ...options, ...changes }),
    transform('limit', async function* (input: AsyncIterable<SampleBatch>) {
      let left = limit
      for await (const batch of input) {
        if (left-- === 0) return
        yield batch
      }
    }) as never,
  )
  return batches.flatMap(({ tokens, rows, block }) => Array.from({ length: rows }, (_, row) => tokens[row * block]!))
}
const sourceOf = (token: number): number => Math.floor(token / 1000)

describe('mix-samples', () => {
  it('takes samples by weight, and each sample of a source once per epoch', async () => {
    const found = await samples()
    expect([0, 1, 2].map(source => found.filter(token => sourceOf(token) === source).length)).toEqual([60, 36, 24])
    const ofBooks = found.filter(token => sourceOf(token) === 2)
    const [first, second] = [ofBooks.slice(0, 10), ofBooks.slice(10, 20)]
    const all = Array.from({ length: 10 }, (_, sample) => 2000 + 4 * sample)
    expect(first.toSorted((a, b) => a - b)).toEqual(all)
    expect(second.toSorted((a, b) => a - b)).toEqual(all)
    expect(second).not.toEqual(first)
  })

  // A changed order trains resumed runs on other samples than those that their checkpoint expects.
  it('has a fixed order', async () => {
    expect(await samples({}, 5)).toEqual([264, 1020, 108, 2024, 204, 1036, 300, 2000, 276, 1044])
  })

  it('gives sources with the same seed and size different orders', async () => {
    const twins = [web, web].map((path, index) => ({ name: `twin ${index}`, paths: [path], weight: 1 }))
    const found = await samples({ sources: twins }, 50)
    const [first, second] = [0, 1].map(twin => found.filter((_, position) => position % 2 === twin))
    expect(first!.toSorted()).not.toEqual(second!.toSorted())
  })

  it.each([2, 3, 5])('distributes the same samples to %i ranks', async worldSize => {
    const whole = await samples({ batch_size: 1 }, 60)
    const ranks = await Promise.all(
      Array.from({ length: worldSize }, (_, rank) =>
        samples({ batch_size: 1, rank, world_size: worldSize }, 60 / worldSize),
      ),
    )
    expect(whole.map((_, at) => ranks[at % worldSize]![Math.floor(at / worldSize)])).toEqual(whole)
  })

  it('continues at any position, with any world size, across a phase', async () => {
    const phases = [{ from_step: 5, weights: { web: 1, books: 1 } }]
    const whole = await samples({ phases }, 20)
    expect(whole.slice(10).map(sourceOf)).not.toContain(1)
    for (let skip = 0; skip < 30; skip++) {
      const changes = { phases, skip_num_global_samples: skip, samples_per_step: 2, batch_size: 1 }
      expect(await samples(changes, 8)).toEqual(whole.slice(skip, skip + 8))
      const ranks = [
        await samples({ ...changes, world_size: 2 }, 4),
        await samples({ ...changes, world_size: 2, rank: 1 }, 4),
      ]
      expect(ranks[0]!.flatMap((token, at) => [token, ranks[1]![at]])).toEqual(whole.slice(skip, skip + 8))
    }
  })

  it('ends before the first batch in which a source would exceed its max_epochs', async () => {
    const limited = sources.map(source => (source.name === 'books' ? { ...source, max_epochs: 1.5 } : source))
    const found = await samples({ sources: limited }, 1000)
    expect(found.filter(token => sourceOf(token) === 2)).toHaveLength(15)
    expect(found.length).toBeLessThanOrEqual(78)
    expect(found.length).toBeGreaterThan(72)
  })

  it('limits each file of a source to its own range', async () => {
    const one = [{ name: 'both', paths: [code, books], weight: 1, from: 0.5, to: 1 }]
    const found = await samples({ sources: one, shuffle: 'none', batch_size: 1 }, 100)
    const half = (first: number, count: number) => Array.from({ length: count }, (_, at) => first + 4 * (count + at))
    expect(found).toEqual([...half(1000, 10), ...half(2000, 5)])
  })

  it.each<[string, Partial<MixSamplesOptions>]>([
    ['two sources of the same name', { sources: [sources[0]!, sources[0]!] }],
    ['a phase of an unknown source', { phases: [{ from_step: 1, weights: { wbe: 1 } }] }],
    ['phases out of order', { phases: [5, 4].map(from_step => ({ from_step, weights: { web: 1 } })) }],
    ['a phase without a weight', { phases: [{ from_step: 1, weights: { web: 0 } }] }],
    ['steps that are not whole batches', { samples_per_step: 3 }],
  ])('rejects %s', (_, changes) => {
    expect(() => mixSamples({ ...options, ...changes })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})

const model = { vocab_size: 2048, sequence_length: 4, layers: 1, heads: 2, width: 8, ffn_width: 8 }
const phases = [{ from_step: 3, weights: { web: 1, books: 3 } }]

/** Trains and returns the samples of the steps taken, by their first tokens, and the losses. */
async function train(
  mix: Partial<MixSamplesOptions>,
  training: Parameters<typeof feedTrainer>[0],
): Promise<{ trained: number[]; losses: number[] }> {
  const [read, losses]: [{ token: number; at: number }[], number[]] = [[], []]
  let resumedAt = 0
  const source = mixSamples({ ...options, batch_size: 4, phases, ...mix })
  const stage = feedTrainer({ model, batch_size: 4, log_every_steps: 1, ...training })
  stage.on('report', (event: TrainingEvent) => {
    if (event.kind === 'step') losses.push(event.loss)
    if (event.kind === 'resumed') resumedAt = event.step * 4
  })
  const watch = transform('watch', async function* (input: AsyncIterable<SampleBatch>) {
    for await (const batch of input) {
      for (let row = 0; row < batch.rows; row++) {
        read.push({ token: batch.tokens[row * batch.block]!, at: batch.cursor.globalSamples - batch.rows + row })
      }
      yield batch
    }
  })
  await pipeline(source, watch as never, stage)
  const end = resumedAt + 4 * losses.length
  return { trained: read.filter(({ at }) => at >= resumedAt && at < end).map(({ token }) => token), losses }
}

describe('training on a mixture', () => {
  it('resumes after every step, across a phase, with the samples and losses of an uninterrupted run', async () => {
    const whole = await train({}, { steps: 6, schedule: { decay: 'constant' } })
    expect(whole.trained).toHaveLength(24)
    for (let stop = 1; stop < 6; stop++) {
      const checkpoint = { folder: join(folder, `stopped at ${stop}`) }
      const constant = { schedule: { decay: 'constant' as const }, checkpoint }
      const first = await train({}, { ...constant, steps: stop })
      const rest = await train({ skip_num_global_samples: stop % 2 === 0 ? 4 * stop : 0 }, { ...constant, steps: 6 })
      expect([...first.trained, ...rest.trained]).toEqual(whole.trained)
      expect([...first.losses, ...rest.losses]).toEqual(whole.losses)
    }
  })

  it('may change its weights from the next step on by a new phase, but not those before', async () => {
    const checkpoint = { folder: join(folder, 'phases') }
    await train({}, { steps: 4, checkpoint })
    const rejected = expect.objectContaining({ code: 'WORLD_MISMATCH', message: expect.stringContaining('weights') })
    const later = { from_step: 4, weights: { code: 1 } }
    const changed = { phases: [{ from_step: 2, weights: { web: 1 } }, later] }
    await expect(train(changed, { steps: 5, checkpoint })).rejects.toThrow(rejected)
    await expect(train({ sources: sources.slice(0, 2), phases: [] }, { steps: 5, checkpoint })).rejects.toThrow(
      rejected,
    )
    const added = [...sources, { name: 'new', paths: [web], weight: 0, from: 0.5 }]
    const grown = await train(
      { sources: added, phases: [...phases, { from_step: 4, weights: { new: 1 } }] },
      { steps: 5, checkpoint },
    )
    expect(grown.trained.every(token => token >= 200 && token < 400)).toBe(true)
  })

  it('rejects changed data of a source, and other samples than a mixture', async () => {
    const checkpoint = { folder: join(folder, 'changed') }
    await train({}, { steps: 1, checkpoint })
    const changed = sources.map(source => (source.name === 'code' ? { ...source, to: 0.5 } : source))
    const mismatch = (part: string) =>
      expect.objectContaining({ code: 'WORLD_MISMATCH', message: expect.stringContaining(part) })
    await expect(train({ sources: changed }, { steps: 2, checkpoint })).rejects.toThrow(mismatch('code'))
    const plain = shuffleSamples({ path: web, sequence_length: 4, batch_size: 4 })
    const trainer = feedTrainer({ model, batch_size: 4, steps: 2, checkpoint })
    await expect(pipeline(plain, trainer)).rejects.toThrow(mismatch('mix-samples'))
  })

  it('rejects a run that needs more epochs of a source than allowed, before its first step', async () => {
    const few = sources.map(source => ({ ...source, max_epochs: 1 }))
    const tooLong = train({ sources: few }, { steps: 20 })
    await expect(tooLong).rejects.toMatchObject({
      code: 'DATA_TOO_SMALL',
      message: expect.stringMatching(/books.*10 samples/),
    })
  })

  it('logs the loss of each source', async () => {
    const events: TrainingEvent[] = []
    const stage = feedTrainer({ model, batch_size: 4, steps: 4, log_every_steps: 2, log_source_losses: true })
    stage.on('report', (event: TrainingEvent) => events.push(event))
    await pipeline(mixSamples({ ...options, batch_size: 4 }), stage)
    const logged = events.flatMap(event => (event.kind === 'source-losses' ? [event] : []))
    expect(logged.map(({ step }) => step)).toEqual([2, 4])
    const [losses] = logged.map(event => event.losses)
    expect(Object.keys(losses!).toSorted()).toEqual(['books', 'code', 'web'])
    // An untrained model guesses uniformly.
    for (const loss of Object.values(losses!)) expect(loss).toBeCloseTo(Math.log(2048), 0)
    const step = events.find(event => event.kind === 'step' && event.step === 2) as { loss: number }
    const { web, code, books } = losses as Record<string, number>
    // The second batch has two samples of web and one of each other source.
    expect((2 * web! + code! + books!) / 4).toBeCloseTo(step.loss, 4)
  })

  it('rejects a length in epochs, and other steps than those of its phases', async () => {
    const invalid = { code: 'OPTION_INVALID' }
    await expect(train({}, { epochs: 1 })).rejects.toMatchObject(invalid)
    await expect(train({}, { steps: 1, accumulation_steps: 2 })).rejects.toMatchObject(invalid)
    await train({ samples_per_step: 8 }, { steps: 1, accumulation_steps: 2 })
  })
})
