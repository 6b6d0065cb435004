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
  console.warn('skipped: the native backend; run `penstock setup tfjs-node` first')
}
const { optimizer } = parseTraining({})

/** Opens an engine with graphs, or with single operations of the same backend. */
async function openNative(inGraphs: boolean, model = tiny()) {
  const backend = await openBackend('node')
  const { recorder, ...plain } = backend
  const options = { model, optimizer, gradientClip: 0.5, backend: 'node', threads: 1 } as const
  return openTfjsEngine(options, inGraphs ? backend : plain)
}

function allValues({ weights, means, variances }: EngineState): number[] {
  return [weights, means, variances].flatMap(part => [...part.values()].flatMap(({ values }) => [...values]))
}

describe.skipIf(!isInstalled)('training with graphs', () => {
  test.each([
    ['rms norm, swiglu, rotary', {}],
    [
      'layer norm, gelu, learned positions, biases',
      { norm: 'layer', activation: 'gelu', position: 'learned', bias: true },
    ],
    ['tied weights, shared key heads', { tie_weights: true, heads: 4, kv_heads: 2 }],
    ['normalized queries and keys', { qk_norm: true }],
  ] as const)('computes the same steps as single operations: %s', async (_, changes) => {
    const [graphs, single] = [await openNative(true, tiny(changes)), await openNative(false, tiny(changes))]
    for (let step = 0; step < 6; step++) {
      // Two micro batches, then one; a repeated shape; ignored targets.
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

  test('is deterministic, also across a restart', async () => {
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

  test('leaks no tensors', async () => {
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

  test('rejects a computation that uses a tensor other than its inputs', async () => {
    const { recorder } = await openBackend('node')
    const [input, other] = [tf.scalar(1), tf.neg(tf.scalar(2))]
    expect(() => new GraphFunction(recorder!, [input], () => [tf.add(input, other)])).toThrow('not one of its inputs')
    tf.dispose([input, other])
  })
})
