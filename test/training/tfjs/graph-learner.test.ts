import { existsSync } from 'node:fs'
import * as tf from '@tensorflow/tfjs-core'
import { describe, expect, test } from 'vitest'
import { parseTraining } from '#src/training/options'
import { openBackend } from '#src/training/tfjs/backends'
import { openTfjsEngine } from '#src/training/tfjs/engine'
import { GraphFunction } from '#src/training/tfjs/native/graph-function'
import { nativeFolder } from '#src/training/tfjs/native/recipe'
import type { EngineState } from '#src/training/tfjs/state-files'
import { countingTrainingBatch, tiny } from '../fixtures.js'

const isInstalled = existsSync(nativeFolder('node'))
if (!isInstalled) {
  console.warn('skipped: the native backend, for want of `penstock setup tfjs-node`')
}
const { optimizer } = parseTraining({})

/** With graphs, or with single operations of the same backend. */
async function openNative(inGraphs: boolean, model = tiny()) {
  const backend = await openBackend('node')
  const { recorder, ...plain } = backend
  const options = { model, optimizer, gradientClip: 0.5, backend: 'node', threads: 1 } as const
  return openTfjsEngine(options, inGraphs ? backend : plain)
}

function allValues({ weights, means, variances }: EngineState): number[] {
  return [weights, means, variances].flatMap(part => [...part.values()].flatMap(({ values }) => [...values]))
}

describe.skipIf(!isInstalled)('training in graphs', () => {
  test.each([
    ['rms norm, swiglu, rotary', {}],
    [
      'layer norm, gelu, learned positions, biases',
      { norm: 'layer', activation: 'gelu', position: 'learned', bias: true },
    ],
    ['tied weights, shared key heads', { tie_weights: true, heads: 4, kv_heads: 2 }],
  ] as const)('makes the steps that single operations make: %s', async (_, changes) => {
    const [graphs, single] = [await openNative(true, tiny(changes)), await openNative(false, tiny(changes))]
    for (let step = 0; step < 6; step++) {
      // Two micro batches, then one; a shape that comes again; targets that do not count.
      const batches = [countingTrainingBatch(step, 4), countingTrainingBatch(step + 50, 2)].slice(0, 1 + (step % 2))
      batches[0]!.targets.fill(-100, 2, 9)
      const [ours, theirs] = [await graphs.step(batches, 1e-2), await single.step(batches, 1e-2)]
      expect(ours.loss).toBeCloseTo(theirs.loss, 5)
      expect(ours.gradientNorm).toBeCloseTo(theirs.gradientNorm, 4)
    }
    const [ours, theirs] = [allValues(await graphs.exportState()), allValues(await single.exportState())]
    const worst = ours.reduce((largest, value, index) => Math.max(largest, Math.abs(value - theirs[index]!)), 0)
    expect(ours).toHaveLength(theirs.length)
    expect(worst).toBeLessThan(1e-4)
    await Promise.all([graphs.close(), single.close()])
  })

  test('gives the same bits for the same seed and data, over a stop and a restart too', async () => {
    const [first, second] = [await openNative(true), await openNative(true)]
    for (let step = 0; step < 4; step++) {
      await first.step([countingTrainingBatch(step, 4)], 1e-2)
    }
    for (let step = 0; step < 2; step++) {
      await second.step([countingTrainingBatch(step, 4)], 1e-2)
    }
    const resumed = await openNative(true)
    await resumed.importState(await second.exportState())
    for (let step = 2; step < 4; step++) {
      await resumed.step([countingTrainingBatch(step, 4)], 1e-2)
    }
    expect(allValues(await resumed.exportState())).toEqual(allValues(await first.exportState()))
    await Promise.all([first.close(), second.close(), resumed.close()])
  })

  test('leaves no tensors behind', async () => {
    await openBackend('node')
    const before = tf.memory().numTensors
    const engine = await openNative(true)
    await engine.step([countingTrainingBatch(0, 4)], 1e-2)
    const { tensors } = engine.memory()
    for (let step = 1; step < 20; step++) {
      await engine.step([countingTrainingBatch(step, 4)], 1e-2)
    }
    expect(engine.memory().tensors).toBe(tensors)
    await engine.close()
    expect(tf.memory().numTensors).toBe(before)
  })

  test('a computation that uses a tensor which is none of its inputs is refused', async () => {
    const { recorder } = await openBackend('node')
    const [input, other] = [tf.scalar(1), tf.neg(tf.scalar(2))]
    expect(() => new GraphFunction(recorder!, [input], () => [tf.add(input, other)])).toThrow('none of its inputs')
    tf.dispose([input, other])
  })
})
