import * as tf from '@tensorflow/tfjs-core'
import { afterAll, describe, expect, test } from 'vitest'
import type { ModelInput } from '#src/training/options'
import { openBackend } from '#src/training/tfjs/backends'
import { accumulateGradients, Gradients, lossOf } from '#src/training/tfjs/model'
import { composedOperations } from '#src/training/tfjs/operations'
import { uniformGenerator, weightSpecs } from '#src/training/weights'
import { countingTrainingBatch, initialValues, openTiny, tiny } from './fixtures.js'

/** Covers every choice of the schema, and the combinations that interact in the code. */
const variants: Record<string, ModelInput> = {
  default: {},
  'layer norm': { norm: 'layer' },
  gelu: { activation: 'gelu' },
  'learned positions': { position: 'learned' },
  'no positions': { position: 'none' },
  'shared key heads': { kv_heads: 1 },
  biases: { bias: true },
  'normalized queries and keys': { qk_norm: true, kv_heads: 1 },
  'normalized queries and keys, layer norm, biases': { qk_norm: true, norm: 'layer', bias: true, position: 'learned' },
  'tied weights': { tie_weights: true },
  'like GPT-2': { norm: 'layer', activation: 'gelu', position: 'learned', bias: true, tie_weights: true },
}

afterAll(() => tf.disposeVariables())

describe.each(['cpu', 'wasm', 'wasm, stock kernels'] as const)('on the %s backend', backendName => {
  test.each(Object.entries(variants))(
    'the gradient matches finite differences of the loss: %s',
    async (_name, changes) => {
      const model = tiny({ ...changes, init_std: 0.3 })
      const backend = await openBackend(backendName === 'cpu' ? 'cpu' : 'wasm')
      const operations = backendName === 'wasm' ? backend.operationsFor(model) : composedOperations
      const batch = countingTrainingBatch(0, 3)
      batch.targets[5] = -100
      const weights = new Map(
        weightSpecs(model).map(spec => [spec.name, tf.tensor(initialValues(spec, 1), [...spec.shape])]),
      )
      const gradients = new Gradients()
      tf.tidy(() => accumulateGradients(model, weights, operations, batch, 1, gradients))
      expect([...gradients.byName.keys()].sort()).toEqual([...weights.keys()].sort())
      for (const [name, weight] of weights) {
        const draw = uniformGenerator(name)
        const direction = tf.tensor(
          Float32Array.from({ length: weight.size }, () => draw() * 2 - 1),
          weight.shape,
        )
        const lossAt = (distance: number) =>
          tf.tidy(() => {
            const moved = new Map(weights).set(name, tf.add(weight, tf.mul(direction, distance)))
            return lossOf(model, moved, operations, batch).dataSync()[0]!
          })
        const distance = 2e-3
        // Richardson extrapolation of two central differences: a fourth-order error.
        const near = (lossAt(distance) - lossAt(-distance)) / (2 * distance)
        const far = (lossAt(2 * distance) - lossAt(-2 * distance)) / (4 * distance)
        const slope = (4 * near - far) / 3
        const predicted = tf.tidy(() => tf.sum(tf.mul(gradients.byName.get(name)!, direction)).dataSync()[0]!)
        expect(Math.abs(predicted - slope), `${name}: ${predicted} against ${slope}`).toBeLessThan(
          0.02 + 0.01 * Math.abs(slope),
        )
      }
    },
  )
})

test.each(Object.entries(variants))('wasm and cpu give the same losses: %s', async (_name, changes) => {
  const losses = []
  for (const backend of ['cpu', 'wasm'] as const) {
    const engine = await openTiny(changes, {}, backend)
    const run = []
    for (let step = 0; step < 4; step++) {
      run.push((await engine.step([countingTrainingBatch(step, 4)], 1e-2)).loss)
    }
    losses.push(run)
    await engine.close()
  }
  const [cpu, wasm] = losses
  wasm!.forEach((loss, step) => {
    expect(Math.abs(loss - cpu![step]!)).toBeLessThan(2e-5)
  })
  expect(cpu![3]).toBeLessThan(cpu![0]!)
})
