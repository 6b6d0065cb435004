import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { type FeedTrainerOptions, feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { SinkStage } from '#src/stages/stream/stage'
import { listCheckpoints, openCheckpoint } from '#src/training/checkpoint'
import type { TrainingEvent } from '#src/training/training-events'
import { byteTokenizer } from './byte-tokenizer.js'

let folder: string
let packed: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-feed-'))
  packed = join(folder, 'counting.pbin')
  const tokens = Uint8Array.from({ length: 2000 }, (_, index) => index % 12)
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  await writeFile(packed, Buffer.concat([header, tokens, writePairList([[0, tokens.length]])]))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

const model = { vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 24 }

async function train(
  options: FeedTrainerOptions,
  control: { readonly signal?: AbortSignal; readonly onEvent?: (event: TrainingEvent) => void } = {},
): Promise<{ events: TrainingEvent[]; stage: SinkStage<SampleBatch> }> {
  const events: TrainingEvent[] = []
  const stage = feedTrainer({ model, batch_size: 4, log_every_steps: 1, ...options })
  stage.on('report', (event: TrainingEvent) => {
    events.push(event)
    control.onEvent?.(event)
  })
  const source = shuffleSamples({ path: packed, sequence_length: 8, batch_size: 4, epochs: 'endless', to: 0.9 })
  await pipeline(source, stage, control)
  return { events, stage }
}

const lossesOf = (events: readonly TrainingEvent[]) =>
  events.flatMap(event => (event.kind === 'step' ? [event.loss] : []))

test('trains on a packed file and ends after the last step of an endless source', async () => {
  const options = { optimizer: { learning_rate: 0.02 }, evaluation: { every_steps: 20, batches: 2 } }
  const { events, stage } = await train({ ...options, steps: 60, held_out: { path: packed, from: 0.9 } })
  expect(events.at(-1)).toMatchObject({ kind: 'end', reason: 'completed', step: 60 })
  const evaluations = events.flatMap(event => (event.kind === 'evaluation' ? [event.loss] : []))
  expect(evaluations).toHaveLength(3)
  expect(evaluations.at(-1)).toBeLessThan(0.2)
  expect(stage.stats.counts.tokens).toBe(60 * 4 * 8)
})

test('an aborted run resumes with the losses of an uninterrupted run', async () => {
  const whole = await train({ steps: 8 })
  const options = { steps: 8, checkpoint: { folder: join(folder, 'checkpoints'), every_steps: 100 } }
  const stop = new AbortController()
  const first: TrainingEvent[] = []
  const onEvent = (event: TrainingEvent) => {
    first.push(event)
    if (event.kind === 'step' && event.step === 3) {
      stop.abort()
    }
  }
  await expect(train(options, { signal: stop.signal, onEvent })).rejects.toMatchObject({ code: 'ABORT_ERR' })
  expect(await listCheckpoints(join(folder, 'checkpoints'))).toHaveLength(1)
  const { events, stage } = await train(options)
  expect([...lossesOf(first), ...lossesOf(events)]).toEqual(lossesOf(whole.events))
  expect(stage.stats.counts['samples passed over']).toBe(12)
})

test('a checkpoint records the absolute path of its tokenizer', async () => {
  const file = join(folder, 'tokenizer.json')
  await writeFile(file, JSON.stringify(byteTokenizer()))
  const checkpoint = { folder: join(folder, 'checkpoints') }
  const tokenizer = relative(process.cwd(), file)
  await train({ steps: 1, checkpoint, tokenizer, model: { ...model, vocab_size: 384 } })
  const [path] = await listCheckpoints(checkpoint.folder)
  expect((await openCheckpoint(path!)).state.tokenizer).toMatchObject({ path: file })
})

test('backend auto reports its choice, and a resumed run keeps the backend of its checkpoint', async () => {
  const options = { checkpoint: { folder: join(folder, 'checkpoints') } }
  const recorded = async () =>
    (await openCheckpoint((await listCheckpoints(options.checkpoint.folder))[0]!)).state.training
  const { events } = await train({ ...options, steps: 1, backend: 'auto' })
  const taken = events[0]!
  expect(taken).toMatchObject({ kind: 'backend', backend: (await recorded()).backend })
  await train({ ...options, steps: 2, backend: 'cpu' })
  const resumed = await train({ ...options, steps: 3, backend: 'auto' })
  expect(resumed.events[0]).toMatchObject({ kind: 'backend', backend: 'cpu' })
  expect((await recorded()).backend).toBe('cpu')
})

test('rejects invalid options, unsuitable samples and a missing torch', async () => {
  expect(() => feedTrainer({ stepz: 3 } as FeedTrainerOptions)).toThrow()
  await expect(train({ steps: 2, model: { ...model, vocab_size: 11 } })).rejects.toMatchObject({
    code: 'TOKENIZER_MISMATCH',
  })
  await expect(train({ steps: 2, model: { ...model, sequence_length: 16 } })).rejects.toMatchObject({
    code: 'OPTION_INVALID',
  })
  const torch = { python: join(folder, 'no-python') }
  await expect(train({ steps: 2, engine: 'torch', torch })).rejects.toMatchObject({ code: 'PEER_MISSING' })
})
