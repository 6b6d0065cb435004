/** Spikes: which steps are skipped, and that a resumed run skips the same ones. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Engine, FINITE_LIMITS, type StepLimits } from '#src/training/engine'
import { parseTraining, type TrainingInput } from '#src/training/options'
import { SpikeDetector } from '#src/training/spikes'
import { openTrainer } from '#src/training/trainer'
import type { TrainingEvent } from '#src/training/training-events'
import { temporaryFolder } from '../stages/support.js'
import { countingBatch, tiny } from './fixtures.js'

const root = temporaryFolder()

test('the limits are mean + sigma standard deviations of the last steps, once half of the window is there', () => {
  const detector = new SpikeDetector({ window: 4, sigma: 2, max_steps: 1 })
  detector.add({ loss: 100, gradientNorm: 7 })
  expect(detector.limits).toEqual(FINITE_LIMITS)
  for (const loss of [1, 2, 3, 6]) detector.add({ loss, gradientNorm: 0.1 })
  // Mean 3, squared differences 4, 1, 0 and 9.
  expect(detector.limits.loss).toBeCloseTo(3 + 2 * Math.sqrt(14 / 3), 12)
  expect(detector.limits.gradientNorm).toBeCloseTo(0.1, 12)
  expect(detector.limits.gradientNorm).toBeGreaterThanOrEqual(0.1)
})

/** Losses between 1 and 1.1, with spikes of the loss at steps 2, 14 and 15 and of the gradient norm at step 18. */
const figures = (step: number) => ({
  loss: [2, 14, 15].includes(step) ? 50 : 1 + (step % 3) / 20,
  gradientNorm: step === 18 ? 9 : 1 + (step % 2) / 10,
})

/** Trains with an engine that only has these figures. */
async function train(name: string, more: TrainingInput = {}, until = 20) {
  const events: TrainingEvent[] = []
  const limits = new Map<number, StepLimits | undefined>()
  let step = 0
  const engine = {
    stepsTaken: 0,
    maxStepsInFlight: 2,
    isPrimary: true,
    assertSameOnAllRanks: async () => {},
    step: async (_: unknown, __: number, given?: StepLimits) => {
      limits.set(++step, given)
      return figures(step)
    },
    saveState: async (into: string) => {
      await writeFile(join(into, 'model.safetensors'), '')
      return ['model.safetensors']
    },
    loadState: async () => {},
  } as unknown as Engine
  const trainer = await openTrainer({
    training: parseTraining({
      batch_size: 4,
      steps: 20,
      log_every_steps: 1,
      checkpoint: { folder: join(root, name), every_steps: until },
      skip_spikes: { window: 8, max_steps: 2 },
      ...more,
    }),
    model: tiny(),
    engine,
    onEvent: event => events.push(event),
    resume: 'latest',
  })
  step = trainer.step
  while (trainer.step < until && (await trainer.offer(countingBatch(trainer.step, 4))) !== 'done');
  await trainer.finishSaving()
  return { limits, skipped: events.flatMap(event => (event.kind === 'skipped-step' ? [event] : [])) }
}

test('a step with a spike of loss or gradient norm is skipped, not before half of the window is there', async () => {
  const { skipped, limits } = await train('whole')
  expect(skipped.map(({ step, inARow }) => [step, inARow])).toEqual([
    [14, 1],
    [15, 2],
    [18, 1],
  ])
  expect(limits.get(4)).toEqual(FINITE_LIMITS)
  expect(skipped[0]!.limits).toEqual(limits.get(14))
  // Step 2 was taken and is in the window of step 10; skipped steps are in none.
  expect(limits.get(10)!.loss).toBeGreaterThan(50)
  expect(limits.get(16)).toEqual(limits.get(14))
})

test('a run resumed at any step has the limits of the uninterrupted run', async () => {
  const whole = await train('compared')
  for (const stop of [3, 14, 17]) {
    const first = await train(`stopped ${stop}`, {}, stop)
    const rest = await train(`stopped ${stop}`)
    expect(new Map([...first.limits, ...rest.limits])).toEqual(whole.limits)
    expect([...first.skipped, ...rest.skipped]).toEqual(whole.skipped)
  }
})

test('more than max_steps in a row end the run, also across a resume', async () => {
  const skip_spikes = { window: 8, max_steps: 1 }
  const error = { code: 'ENGINE_FAILED', message: expect.stringContaining('skip_spikes.max_steps') }
  await expect(train('too many', { skip_spikes })).rejects.toMatchObject(error)
  await train('too many, resumed', { skip_spikes }, 14)
  await expect(train('too many, resumed', { skip_spikes })).rejects.toMatchObject(error)
})
