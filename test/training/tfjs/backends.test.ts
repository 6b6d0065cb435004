/**
 * The same definition has the same losses and constant memory on every backend. PENSTOCK_MEMORY_STEPS sets the number of
 * steps of the memory test.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { Engine } from '#src/training/engine'
import { openEngine } from '#src/training/open-engine'
import { parseTraining, resolveModel, type TrainingInput } from '#src/training/options'
import { largestDifference, losses, model, openSmall, slow, smallBatch, torchPython } from '../torch/fixtures.js'
import { allBackends, tryBackend } from './backends.js'

const loaded: string[] = []
for (const backend of allBackends) {
  if ((await tryBackend(backend)) !== undefined) {
    loaded.push(backend)
  }
}

interface Run {
  readonly label: string
  readonly training: TrainingInput
  readonly isAvailable: boolean
  /** Takes a few steps only. */
  readonly isSlow?: boolean
}

const runs: readonly Run[] = [
  { label: 'wasm with 2 threads', training: { threads: 2 }, isAvailable: true },
  { label: 'node', training: { backend: 'node' }, isAvailable: loaded.includes('node') },
  { label: 'node-gpu', training: { backend: 'node-gpu' }, isAvailable: loaded.includes('node-gpu') },
  { label: 'webgpu', training: { backend: 'webgpu' }, isAvailable: loaded.includes('webgpu'), isSlow: true },
  { label: 'cpu', training: { backend: 'cpu' }, isAvailable: true, isSlow: true },
]
const torch: Run = {
  label: 'torch',
  training: { engine: 'torch', torch: { device: 'cpu' } },
  isAvailable: torchPython !== undefined,
}

async function curve(training: TrainingInput, steps: number): Promise<number[]> {
  const engine = await openSmall(training.engine ?? 'tfjs', 1, { threads: 1, ...training })
  try {
    return await losses(engine, steps)
  } finally {
    await engine.close()
  }
}

describe('the losses of wasm with one thread equal those of', () => {
  let expected: Promise<number[]> | undefined

  for (const { label, training, isAvailable, isSlow } of [...runs, torch]) {
    const steps = isSlow ? 4 : 50
    test.skipIf(!isAvailable)(`${label}, over ${steps} steps`, { timeout: 2 * slow }, async () => {
      expected ??= curve({}, 50)
      const wasm = await expected
      const found = await curve(training, steps)
      expect(wasm.at(-1)).toBeLessThan(0.6 * wasm[0]!)
      expect(found).toHaveLength(steps)
      expect(largestDifference(found, wasm)).toBeLessThan(1e-3)
    })
  }
})

describe('rows of different weights give the update of wasm with one thread on', () => {
  const step = async (training: TrainingInput) => {
    const engine = await openSmall('tfjs', 1, { threads: 1, ...training })
    const weighted = { ...smallBatch(0), weights: Float64Array.of(0.01, 0.03, 0.01, 0.02) }
    const first = await engine.step([weighted], 0.01)
    const second = await engine.step([weighted], 0.01)
    await engine.close()
    return [first.loss, first.gradientNorm, second.loss]
  }

  for (const { label, training, isAvailable, isSlow } of runs) {
    test.skipIf(!isAvailable || isSlow)(label, { timeout: slow }, async () => {
      expect(largestDifference(await step(training), await step({}))).toBeLessThan(1e-5)
    })
  }
})

describe('memory stays constant on', () => {
  const watched = Number(process.env.PENSTOCK_MEMORY_STEPS ?? 200)
  setFlagsFromString('--expose-gc')
  const collectGarbage = runInNewContext('gc') as () => void
  /** Of the process; allocators and compilers keep some of what they were given. */
  const allowedGrowth = 12e6

  async function take(engine: Engine, count: number): Promise<{ tensors: number; bytes: number; resident: number }> {
    for (let step = 0; step < count; step++) {
      await engine.step([smallBatch(step % 50)], 1e-3)
    }
    await engine.evaluate(smallBatch(0))
    collectGarbage()
    return { ...engine.memory(), resident: process.memoryUsage.rss() }
  }

  for (const { label, training, isAvailable, isSlow } of [
    { label: 'wasm', training: {}, isAvailable: true },
    ...runs,
  ] as Run[]) {
    const steps = isSlow ? 2 : watched
    test.skipIf(!isAvailable)(`${label}, over ${steps} steps`, { timeout: 2 * slow + 100 * watched }, async () => {
      const engine = await openEngine(
        parseTraining({ threads: 1, ...training }),
        resolveModel(model),
        undefined,
        training.threads === 2 ? 2 : 'calling',
      )
      const before = await take(engine, Math.ceil(steps / 2))
      const after = await take(engine, steps)
      await engine.close()
      expect(after.tensors).toBe(before.tensors)
      expect(after.bytes).toBe(before.bytes)
      if (!isSlow) {
        expect(after.resident - before.resident).toBeLessThan(allowedGrowth)
      }
    })
  }
})
