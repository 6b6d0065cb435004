/** Generation computes each token once; the logits are those of a pass over all tokens. */
import { describe, expect, test } from 'vitest'
import type { Engine } from '#src/training/engine'
import type { ModelInput } from '#src/training/options'
import { countingTrainingBatch, openTiny } from '../fixtures.js'

const variants: readonly [string, ModelInput, Parameters<typeof openTiny>[1], 'wasm' | 'cpu'][] = [
  ['rotary, grouped heads', { heads: 4, kv_heads: 2, width: 32 }, {}, 'wasm'],
  ['learned positions, layer norm, biases', { position: 'learned', norm: 'layer', bias: true }, {}, 'wasm'],
  ['normalized queries and keys', { qk_norm: true }, {}, 'wasm'],
  ['threads', {}, { threads: 2 }, 'wasm'],
  ['stock kernels', { kv_heads: 1 }, {}, 'cpu'],
]

const ids = Int32Array.of(3, 1, 4, 1, 5, 9, 2, 6)
const worst = (a: Float32Array, b: Float32Array) => Math.max(...a.map((value, at) => Math.abs(value - b[at]!)))

/** Logits after each prefix from `first` tokens on, computed one after the other. */
async function growing(engine: Engine, first: number): Promise<Float32Array[]> {
  const found = []
  for (let end = first; end <= ids.length; end++) found.push(await engine.nextTokenLogits(ids.slice(0, end)))
  return found
}

/** Logits after each prefix, computed without any other just before. */
async function apart(engine: Engine, first: number): Promise<Float32Array[]> {
  const found = []
  for (let end = first; end <= ids.length; end++) {
    await engine.nextTokenLogits(Int32Array.of(11))
    found.push(await engine.nextTokenLogits(ids.slice(0, end)))
  }
  return found
}

describe('logits of a growing text', () => {
  test.each(variants)('are those of the whole text: %s', async (_, changes, training, backend) => {
    const engine = await openTiny({ init_std: 0.3, ...changes }, training, backend)
    const [found, expected] = [await growing(engine, 3), await apart(engine, 3)]
    for (const [place, logits] of found.entries()) expect(worst(logits, expected[place]!)).toBeLessThan(2e-5)
    await engine.close()
  })

  test('follow the weights after a step, and other tokens than before', async () => {
    const engine = await openTiny({ init_std: 0.3 })
    const before = await engine.nextTokenLogits(ids.slice(0, 4))
    await engine.step([countingTrainingBatch(0, 2)], 0.1)
    const after = await engine.nextTokenLogits(ids.slice(0, 5))
    await engine.nextTokenLogits(Int32Array.of(11))
    expect(worst(after, await engine.nextTokenLogits(ids.slice(0, 5)))).toBeLessThan(2e-5)
    expect(worst(before, await engine.nextTokenLogits(ids.slice(0, 4)))).toBeGreaterThan(1e-3)
    const other = Int32Array.of(7, ...ids.slice(1, 6))
    const found = await engine.nextTokenLogits(other)
    await engine.nextTokenLogits(Int32Array.of(11))
    expect(worst(found, await engine.nextTokenLogits(other))).toBeLessThan(2e-5)
    await engine.close()
  })

  test('compute one token each, and keep two tensors per layer', async () => {
    const engine = await openTiny({ layers: 3 })
    const none = engine.memory()
    await engine.nextTokenLogits(ids.slice(0, 3))
    const [first, tensors] = [engine.memory(), 2 * 3]
    await engine.nextTokenLogits(ids.slice(0, 4))
    const second = engine.memory()
    expect([first.tensors - none.tensors, second.tensors - none.tensors]).toEqual([tensors, tensors])
    // 16 wide, 4 bytes each.
    expect(second.bytes - first.bytes).toBe(tensors * 16 * 4)
    await engine.step([countingTrainingBatch(0, 2)], 0.1)
    expect(engine.memory().tensors).toBe(none.tensors)
    await engine.close()
  })
})
