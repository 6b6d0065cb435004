/** Runs of the torch engine that are resumed with another number of ranks get the samples and losses of a whole run. */
import { cpSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { evaluateCheckpoint, type FileEvaluation } from '#src/cli/actions/evaluate'
import type { SampleBatch } from '#src/formats/batches'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { feedTrainer } from '#src/stages/feed-trainer'
import { mixSamples } from '#src/stages/samples/mix-samples'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'
import { type SourceStage, transform } from '#src/stages/stream/stage'
import type { TrainingEvent } from '#src/training/training-events'
import { temporaryFolder } from '../../stages/support.js'
import { slow, torchPython } from './fixtures.js'

const folder = temporaryFolder()
const STEPS = 3
const ROWS = 4

/** Documents of the given length, of consecutive tokens. */
function pack(name: string, first: number, length = 101): string {
  const tokens = Uint8Array.from({ length: 101 }, (_, place) => first + place)
  const header = encodePbinHeader({ dataBytes: 101, tokenBytes: 1 })
  const documents = Array.from({ length: Math.ceil(101 / length) }, (_, number): [number, number] => {
    return [number * length, Math.min(length, 101 - number * length)]
  })
  writeFileSync(join(folder, name), Buffer.concat([header, tokens, writePairList(documents)]))
  return join(folder, name)
}

/** A mixture whose weights change after the second step. */
function mixture() {
  const sources = [pack('low', 0), pack('high', 128)].map((path, index) => ({
    name: `source ${index}`,
    paths: [path],
    weight: index + 1,
  }))
  const phases = [{ from_step: 2, weights: { 'source 0': 1 } }]
  return mixSamples({ sources, phases, sequence_length: 4, batch_size: ROWS })
}

const masked = (path: string) =>
  shuffleSamples({ path, sequence_length: 4, batch_size: ROWS, epochs: 'endless', documents: 'mask' })

/** Samples with the places at which their documents start, and losses, of the steps that this run takes. */
async function train(
  source: SourceStage<SampleBatch>,
  checkpoint: string,
  steps: number,
  nproc: number,
  restart_positions = false,
): Promise<{ samples: unknown[]; losses: number[] }> {
  const read: unknown[] = []
  const losses: number[] = []
  let resumedAt = 0
  const trainer = feedTrainer({
    model: { vocab_size: 256, sequence_length: 4, layers: 1, heads: 2, width: 8, ffn_width: 8 },
    batch_size: ROWS,
    steps,
    log_every_steps: 1,
    schedule: { decay: 'constant' },
    restart_positions,
    checkpoint: { folder: join(folder, checkpoint), every_steps: 1, keep: null },
    engine: 'torch',
    torch: { nproc, device: 'cpu', python: torchPython! },
  }).on('report', (event: TrainingEvent) => {
    if (event.kind === 'resumed') resumedAt = event.step
    if (event.kind === 'step') losses.push(event.loss)
  })
  const watch = transform('watch', async function* (input: AsyncIterable<SampleBatch>) {
    for await (const batch of input) {
      for (let row = 0; row < batch.rows; row++) {
        const [from, to] = [row * batch.block, (row + 1) * batch.block]
        read.push({ first: batch.tokens[from]!, starts: batch.starts && [...batch.starts.subarray(from, to)] })
      }
      yield batch
    }
  })
  await pipeline(source, watch as never, trainer)
  return { samples: read.slice(ROWS * resumedAt, ROWS * steps), losses }
}

type Run = Awaited<ReturnType<typeof train>>

/** Trains the rest of a run on two ranks, from its checkpoint after `stop` steps, and expects its samples and losses. */
async function expectResumes(
  name: string,
  whole: Run,
  source: SourceStage<SampleBatch>,
  stop: number,
  restart?: boolean,
): Promise<void> {
  const step = `step-00000${stop}`
  cpSync(join(folder, name, step), join(folder, `${name} ${stop}`, step), { recursive: true })
  const rest = await train(source, `${name} ${stop}`, STEPS, 2, restart)
  expect(rest.samples).toEqual(whole.samples.slice(ROWS * stop))
  expect(rest.losses).toHaveLength(STEPS - stop)
  for (const [step, loss] of rest.losses.entries()) expect(loss).toBeCloseTo(whole.losses[stop + step]!, 4)
}

describe.skipIf(torchPython === undefined)('the torch engine', { timeout: slow }, () => {
  it('resumes a mixture after every step, with other ranks and across a phase', async () => {
    const whole = await train(mixture(), 'whole', STEPS, 1)
    const firsts = whole.samples.map(sample => (sample as { first: number }).first)
    expect(firsts.slice(-ROWS).every(token => token < 128)).toBe(true)
    expect(firsts.some(token => token >= 128)).toBe(true)
    for (let stop = 1; stop < STEPS; stop++) await expectResumes('whole', whole, mixture(), stop)
  })

  it('resumes a run with masked documents on two ranks, and evaluates its checkpoint like tfjs', async () => {
    const path = pack('documents', 0, 3)
    const whole = await train(masked(path), 'masked', STEPS, 1, true)
    expect(JSON.stringify(whole.samples[0])).toMatch(/"starts":\[0,[0-3,]*[1-3]/)
    await expectResumes('masked', whole, masked(path), 1, true)

    const evaluation = { from: 0, to: 1, range: 'file', backend: 'wasm', batches: 2 } as const
    const [torch, tfjs] = [[], []] as FileEvaluation[][]
    for (const [engine, results] of [
      ['torch', torch],
      ['tfjs', tfjs],
    ] as const) {
      const found = evaluateCheckpoint(join(folder, 'masked 1'), [path], { ...evaluation, engine })
      for await (const result of found) results!.push(result)
    }
    expect(torch).toMatchObject([{ path, tokens: 2 * ROWS * 4 }])
    expect(torch![0]!.loss).toBeCloseTo(tfjs![0]!.loss, 4)
  })
})
