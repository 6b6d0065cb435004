/** A mixture trained with the torch engine: a run resumed after any step, with other ranks, gets the samples of a whole run. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { mixSamples } from '#src/stages/samples/mix-samples'
import { transform } from '#src/stages/stream/stage'
import type { TrainingEvent } from '#src/training/training-events'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const STEPS = 3
const ROWS = 4

function pack(name: string, first: number): string {
  const tokens = Uint8Array.from({ length: 101 }, (_, place) => first + place)
  const header = encodePbinHeader({ dataBytes: 101, tokenBytes: 1 })
  writeFileSync(join(folder, name), Buffer.concat([header, tokens, writePairList([[0, 101]])]))
  return join(folder, name)
}

/** Trains on a mixture whose weights change after the second step. */
async function train(
  checkpoint: string,
  steps: number,
  nproc: number,
): Promise<{ samples: number[]; losses: number[] }> {
  const [read, losses]: [number[], number[]] = [[], []]
  let resumedAt = 0
  const sources = [pack('low', 0), pack('high', 128)].map((path, index) => ({
    name: `source ${index}`,
    paths: [path],
    weight: index + 1,
  }))
  const phases = [{ from_step: 2, weights: { 'source 0': 1 } }]
  const trainer = feedTrainer({
    model: { vocab_size: 256, sequence_length: 4, layers: 1, heads: 2, width: 8, ffn_width: 8 },
    batch_size: ROWS,
    steps,
    log_every_steps: 1,
    schedule: { decay: 'constant' },
    checkpoint: { folder: join(folder, checkpoint) },
    engine: 'torch',
    torch: { nproc, device: 'cpu', python: torchPython! },
  }).on('report', (event: TrainingEvent) => {
    if (event.kind === 'resumed') resumedAt = event.step
    if (event.kind === 'step') losses.push(event.loss)
  })
  const watch = transform('watch', async function* (input: AsyncIterable<SampleBatch>) {
    for await (const batch of input) {
      for (let row = 0; row < batch.rows; row++) read.push(batch.tokens[row * batch.block]!)
      yield batch
    }
  })
  await pipeline(mixSamples({ sources, phases, sequence_length: 4, batch_size: ROWS }), watch as never, trainer)
  return { samples: read.slice(ROWS * resumedAt, ROWS * steps), losses }
}

describe.skipIf(torchPython === undefined)('a mixture with the torch engine', { timeout: slow }, () => {
  it('resumes after every step, with other ranks and across a phase', async () => {
    const whole = await train('whole', STEPS, 1)
    expect(whole.samples.slice(-ROWS).every(token => token < 128)).toBe(true)
    expect(whole.samples.some(token => token >= 128)).toBe(true)
    for (let stop = 1; stop < STEPS; stop++) {
      const first = await train(`stopped at ${stop}`, stop, 1)
      const rest = await train(`stopped at ${stop}`, STEPS, 2)
      expect([...first.samples, ...rest.samples]).toEqual(whole.samples)
      const losses = [...first.losses, ...rest.losses]
      expect(losses).toHaveLength(STEPS)
      for (const [step, loss] of losses.entries()) expect(loss).toBeCloseTo(whole.losses[step]!, 4)
    }
  })
})
