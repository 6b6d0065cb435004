import type { Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { openBackend } from '#src/training/tfjs/backends'
import { composedOperations, type Operations } from '#src/training/tfjs/operations'
import { openWasmOperations } from '#src/training/tfjs/wasm-operations'
import { uniformGenerator } from '#src/training/weights'
import { tiny } from './fixtures.js'

let fused: Operations

beforeAll(async () => {
  const { operationsFor } = await openBackend('wasm')
  expect(operationsFor(tiny())).not.toBe(composedOperations)
  expect(operationsFor(tiny({ ffn_width: 21 }))).toBe(composedOperations)
})

/** Runs the same calls on both sets of operations and compares all returned tensors. */
function expectAlike(run: (operations: Operations) => Tensor | readonly Tensor[], tolerance = 2e-5): void {
  const values = [fused, composedOperations].map(operations => {
    const results = tf.tidy(() => [run(operations)].flat())
    return results.map(tensor => ({ shape: tensor.shape, values: tensor.dataSync() as Float32Array }))
  })
  const [ours, stock] = values as [(typeof values)[0], (typeof values)[0]]
  expect(ours).toHaveLength(stock!.length)
  ours!.forEach(({ shape, values: found }, index) => {
    const expected = stock![index]!
    expect(shape).toEqual(expected.shape)
    const scale = expected.values.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1)
    const worst = found.reduce((largest, value, at) => Math.max(largest, Math.abs(value - expected.values[at]!)), 0)
    expect(found.every(Number.isFinite)).toBe(true)
    expect(worst / scale, `result ${index}`).toBeLessThan(tolerance)
  })
}

function random<T extends Tensor>(name: string, ...shape: number[]): T {
  const draw = uniformGenerator(name)
  const size = shape.reduce((product, length) => product * length, 1)
  return tf.tensor(
    Float32Array.from({ length: size }, () => draw() * 4 - 2),
    shape,
  ) as T
}

function randomIds(count: number, below: number): tf.Tensor1D {
  const draw = uniformGenerator(`ids ${count}`)
  return tf.tensor1d(
    Int32Array.from({ length: count }, () => Math.floor(draw() * below)),
    'int32',
  )
}

describe.each(['any', 'plain'] as const)('the fused kernels (%s) have the results of the stock kernels', kinds => {
  beforeAll(async () => {
    fused = (await openWasmOperations(kinds))!
  })

  // Rows below a tile, columns below a panel, depths and columns beyond a block, and sizes of 1.
  test.each([
    [1, 4, 4],
    [7, 12, 20],
    [6, 8, 256],
    [13, 36, 260],
    [5, 1036, 8],
    [600, 16, 12],
    [49, 516, 516],
  ])('products of [%i, %i] with depth %i, with three transpositions', (rows, out, into) => {
    const [input, weight] = [random<tf.Tensor2D>('x', rows, into), random<tf.Tensor2D>('w', out, into)]
    const [gradient, bias] = [random<tf.Tensor2D>('g', rows, out), random<tf.Tensor1D>('b', out)]
    expectAlike(operations => [
      operations.linear(input, weight, undefined),
      operations.linear(input, weight, bias),
      operations.linearInputGradient(gradient, weight),
      operations.linearWeightGradient(gradient, input),
    ])
  })

  // Times below, at and beyond a block of rows; one and several panels; shared key heads.
  test.each([
    [2, 4, 4, 5, 8],
    [1, 2, 1, 48, 16],
    [2, 6, 2, 131, 24],
    [1, 1, 1, 200, 64],
    [1, 2, 2, 1, 8],
  ])('attention: batch %i, heads %i, key heads %i, time %i, head width %i', (batch, heads, keyHeads, time, width) => {
    const shape = (count: number) => [batch, count, time, width] as const
    const query = random<tf.Tensor4D>('q', ...shape(heads))
    const key = random<tf.Tensor4D>('k', ...shape(keyHeads))
    const value = random<tf.Tensor4D>('v', ...shape(keyHeads))
    const gradient = random<tf.Tensor4D>('g', ...shape(heads))
    expectAlike(operations => {
      const { value: result, saved } = operations.attention(query, key, value, undefined)
      const slopes = operations.attentionGradient(gradient, query, key, value, undefined, saved)
      return [result, slopes.query, slopes.key, slopes.value]
    })
    // Documents of 1, 2, 3 ... positions.
    const firsts = Array.from({ length: batch * time }, (_, at) => {
      const place = at % time
      const number = Math.floor((Math.sqrt(8 * place + 1) - 1) / 2)
      return (number * (number + 1)) / 2
    })
    const starts = tf.tensor1d(firsts, 'int32')
    expectAlike(operations => {
      const mask = operations.attentionMask(starts, batch)
      const { value: result, saved } = operations.attention(query, key, value, mask)
      const slopes = operations.attentionGradient(gradient, query, key, value, mask, saved)
      return [result, slopes.query, slopes.key, slopes.value]
    })
  })

  test('conversion to and from heads, with and without rotation', () => {
    const [input, cos, sin] = [random<tf.Tensor2D>('x', 2 * 7, 3 * 16), random('c', 7, 8), random('s', 7, 8)]
    const rotary = { cos, sin } as { cos: tf.Tensor2D; sin: tf.Tensor2D }
    expectAlike(operations => {
      const [turned, straight] = [operations.toHeads(input, 2, 3, rotary), operations.toHeads(input, 2, 3, undefined)]
      return [turned, straight, operations.fromHeads(turned, rotary), operations.fromHeads(straight, undefined)]
    })
    const ofRows = { cos: random<tf.Tensor2D>('c', 2 * 7, 8), sin: random<tf.Tensor2D>('s', 2 * 7, 8) }
    expectAlike(operations => {
      const turned = operations.toHeads(input, 2, 3, ofRows)
      return [turned, operations.fromHeads(turned, ofRows)]
    })
  })

  test.each(['rms', 'layer'] as const)('the %s norm', kind => {
    const [input, gradient] = [random<tf.Tensor2D>('x', 9, 20), random<tf.Tensor2D>('g', 9, 20)]
    const [weight, bias] = [random<tf.Tensor1D>('w', 20), random<tf.Tensor1D>('b', 20)]
    expectAlike(operations => {
      const { value, saved } = operations.norm(kind, input, weight, bias, 1e-5)
      const plain = operations.norm(kind, input, weight, undefined, 1e-5).value
      const slopes = operations.normGradient(kind, gradient, input, weight, saved)
      return [value, plain, slopes.input, slopes.weight]
    })
  })

  test('activations, also of large inputs', () => {
    const wide = tf.tidy(() => tf.mul<tf.Tensor2D>(random('x', 9, 12), 40))
    for (const input of [wide, random<tf.Tensor2D>('y', 9, 12)]) {
      const [up, gradient] = [random<tf.Tensor2D>('u', 9, 12), random<tf.Tensor2D>('g', 9, 12)]
      expectAlike(operations => {
        const { gate, up: upSlope } = operations.swigluGradient(gradient, input, up)
        const activated = [operations.gelu(input), operations.swiglu(input, up)]
        return [...activated, operations.geluGradient(gradient, input), gate, upSlope]
      })
    }
  })

  test('cross-entropy, with large logits and ignored targets', () => {
    const logits = tf.tidy(() => tf.mul<tf.Tensor2D>(random('x', 40, 24), 30))
    const targets = tf.tidy(() => tf.where(tf.less(tf.range(0, 40, 1, 'int32'), 5), -100, randomIds(40, 24)))
    const ids = tf.cast(targets, 'int32') as tf.Tensor1D
    expectAlike(operations => {
      const { loss, gradient } = operations.crossEntropyGradient(logits, ids, 0.25)
      return [operations.crossEntropy(logits, ids), loss, gradient]
    })
  })

  test('embeddings, sums and an AdamW step', () => {
    const [table, gradient, ids] = [
      random<tf.Tensor2D>('t', 11, 12),
      random<tf.Tensor2D>('g', 30, 12),
      randomIds(30, 11),
    ]
    expectAlike(operations => [
      operations.embed(table, ids),
      operations.embedGradient(gradient, ids, 11),
      operations.sumRows(gradient),
      operations.add(gradient, gradient),
    ])
    for (const clip of [null, 0.5]) {
      expectAlike(operations => {
        const state = () => ({
          weight: random('w', 5, 3),
          mean: random('m', 5, 3),
          variance: tf.square(random('v', 5, 3)),
        })
        const { norm, states } = operations.adamW([{ state: state(), gradient: random('g', 5, 3), weightDecay: 0.1 }], {
          learningRate: 0.1,
          betas: [0.9, 0.95],
          eps: 1e-8,
          update: 3,
          clip,
        })
        return [norm, ...Object.values(states[0]!)]
      })
    }
  })

  test('NaN propagates', () => {
    const logits = random<tf.Tensor2D>('x', 2, 8)
    const broken = tf.tidy(() => tf.mul<tf.Tensor2D>(logits, Number.NaN))
    const loss = tf.tidy(() => fused.crossEntropy(broken, tf.tensor1d([1, 2], 'int32')).dataSync()[0])
    expect(loss).toBeNaN()
  })
})
