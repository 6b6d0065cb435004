/** Where a training starts (`init_from`), when it stops early, and what it reports of several held-out sets. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { convertCheckpoint } from '#src/cli/actions/convert'
import { evaluateCheckpoint } from '#src/cli/actions/evaluate'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { fromTraining } from '#src/pipelines/training-metrics'
import { type FeedTrainerOptions, feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import type { TrainingEvent } from '#src/training/training-events'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const model = { vocab_size: 12, sequence_length: 8, layers: 1, heads: 2, width: 16, ffn_width: 24 }

/** Counts up or down: a model that learns the one becomes worse on the other. */
function pack(name: string, factor: number): void {
  const tokens = Uint8Array.from({ length: 1000 }, (_, index) => (factor * index) % 12)
  const header = encodePbinHeader({ dataBytes: 1000, tokenBytes: 1 })
  writeFileSync(at(name), Buffer.concat([header, tokens, writePairList([[0, 1000]])]))
}

async function train(options: FeedTrainerOptions): Promise<TrainingEvent[]> {
  const events: TrainingEvent[] = []
  const trainer = feedTrainer({
    model,
    batch_size: 4,
    log_every_steps: 1,
    optimizer: { learning_rate: 0.02 },
    schedule: { decay: 'constant' },
    ...options,
  }).on('report', event => events.push(event))
  await pipeline(
    shuffleSamples({ path: at('up'), sequence_length: 8, batch_size: 4, epochs: 'endless', to: 0.8 }),
    trainer,
  )
  return events
}
const ofKind = <Kind extends TrainingEvent['kind']>(events: readonly TrainingEvent[], kind: Kind) =>
  events.filter(event => event.kind === kind) as Extract<TrainingEvent, { kind: Kind }>[]

beforeAll(() => {
  pack('up', 1)
  pack('down', 11)
})

describe('several held-out sets', () => {
  const sets = { held_out: { path: at('up'), from: 0.8 }, more_held_out: [{ name: 'down', path: at('down') }] }
  const evaluation = { every_steps: 10, batches: 100 }

  it('are evaluated one by one, under their names', async () => {
    const checkpoint = { folder: at('sets') }
    const [up, down] = [sets.held_out, { ...sets.more_held_out[0]!, bytes_per_token: 2 }]
    const events = await train({ steps: 20, evaluation, checkpoint, held_out: up, more_held_out: [down] })
    const results = ofKind(events, 'evaluation')
    expect(results.map(({ step, name }) => [step, name])).toEqual([
      [10, undefined],
      [10, 'down'],
      [20, undefined],
      [20, 'down'],
    ])
    const [ofUp, ofDown] = results.slice(-2)
    expect(ofUp!.loss).toBeLessThan(ofDown!.loss)
    expect(ofDown!.bitsPerByte).toBeCloseTo(ofDown!.loss / Math.LN2 / 2)
    expect(events.at(-1)).toMatchObject({ kind: 'end', heldOutLoss: ofUp!.loss })
    expect(fromTraining(ofDown!, 0, 8)).toMatchObject({
      values: {
        'held_out/down/loss': ofDown!.loss,
        'held_out/down/perplexity': Math.exp(ofDown!.loss),
        'held_out/down/bits_per_byte': ofDown!.bitsPerByte,
      },
    })
    expect(Object.keys((fromTraining(ofUp!, 0, 8) as { values: object }).values)).toContain('held_out/perplexity')

    const options = { from: 0, to: 1, range: 'file', engine: 'tfjs', backend: 'wasm', bytesPerToken: 2 } as const
    const found = []
    for await (const result of evaluateCheckpoint(checkpoint.folder, [at('down'), at('up')], options))
      found.push(result)
    expect(found[0]).toMatchObject({ path: at('down'), tokens: ofDown!.tokens })
    expect(found[0]!.loss).toBeCloseTo(ofDown!.loss, 5)
    expect(found[0]!.bitsPerByte).toBeCloseTo(ofDown!.bitsPerByte!, 5)
    expect(found[1]!.loss).toBeLessThan(found[0]!.loss)
  })

  it('are all checked for samples that are trained on, and for their names', async () => {
    const twins = [sets.more_held_out[0]!, sets.more_held_out[0]!]
    expect(() => feedTrainer({ more_held_out: twins })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    const overlapping = { ...sets, more_held_out: [{ name: 'same', path: at('up'), from: 0.5 }] }
    await expect(train({ steps: 1, evaluation, ...overlapping })).rejects.toMatchObject({
      code: 'OPTION_INVALID',
      message: expect.stringContaining('overlaps'),
    })
  })
})

describe('early_stop', () => {
  const heldOut = {
    held_out: { path: at('up'), from: 0.8 },
    more_held_out: [{ name: 'down', path: at('down') }],
    evaluation: { every_steps: 5, batches: 2 },
  }

  it('ends a run when the named loss no longer improves, also after it was resumed', async () => {
    const early = { early_stop: { held_out: 'down', patience: 2 }, steps: 200, ...heldOut }
    const whole = await train({ ...early, checkpoint: { folder: at('early') } })
    const end = whole.at(-1) as Extract<TrainingEvent, { kind: 'end' }>
    expect(end).toMatchObject({ kind: 'end', reason: 'early-stop' })
    expect(end.step).toBeLessThan(100)
    const losses = ofKind(whole, 'evaluation').filter(({ name }) => name === 'down')
    const best = Math.min(...losses.map(({ loss }) => loss))
    expect(losses.findIndex(({ loss }) => loss === best)).toBe(losses.length - 3)

    const checkpoint = { folder: at('resumed'), every_steps: 5 }
    await train({ ...early, steps: end.step - 5, checkpoint })
    const rest = await train({ ...early, checkpoint })
    expect(rest.at(-1)).toMatchObject({ kind: 'end', reason: 'early-stop', step: end.step })
    const again = await train({ ...early, checkpoint })
    expect(again.at(-1)).toMatchObject({ kind: 'end', reason: 'early-stop', step: end.step })
  })

  it('needs evaluations of a known set', () => {
    const invalid = expect.objectContaining({ code: 'OPTION_INVALID' })
    expect(() => feedTrainer({ ...heldOut, early_stop: { held_out: 'dwon' } })).toThrow(invalid)
    expect(() => feedTrainer({ evaluation: {}, early_stop: {} })).toThrow(invalid)
    expect(() => feedTrainer({ held_out: heldOut.held_out, early_stop: {} })).toThrow(invalid)
  })
})

describe('init_from', () => {
  const evaluation = { every_steps: 100, batches: 4, at_start: true }
  const held_out = { path: at('up'), from: 0.8 }

  it('starts a new run with the weights of a checkpoint or a Hugging Face folder', async () => {
    const trained = await train({ steps: 30, evaluation, held_out, checkpoint: { folder: at('first') } })
    const loss = ofKind(trained, 'evaluation').at(-1)!.loss
    await convertCheckpoint(at('first'), at('hugging-face'), {})
    for (const [index, init_from] of [at('first'), join(at('first'), 'step-000030'), at('hugging-face')].entries()) {
      const checkpoint = { folder: at(`second ${index}`) }
      const events = await train({ steps: 5, evaluation, held_out, init_from, checkpoint })
      expect(ofKind(events, 'evaluation')[0]!.loss).toBeCloseTo(loss, 5)
      expect(events.at(-1)).toMatchObject({ kind: 'end', step: 5, consumedTokens: 5 * 4 * 8 })
      const resumed = await train({ steps: 6, evaluation, held_out, init_from, checkpoint })
      expect(ofKind(resumed, 'resumed')).toHaveLength(1)
    }
  })

  it('rejects another model and a folder without one', async () => {
    const other = { ...model, width: 8 }
    await expect(train({ steps: 1, model: other, init_from: at('first') })).rejects.toMatchObject({
      code: 'WORLD_MISMATCH',
    })
    await expect(train({ steps: 1, init_from: folder })).rejects.toMatchObject({ code: 'FILE_MISSING' })
  })
})
