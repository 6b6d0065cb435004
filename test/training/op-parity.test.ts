import type { Rank, Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Operations, Rotary } from '#src/training/tfjs/operations'
import { uniformGenerator } from '#src/training/weights'
import { tiny } from './fixtures.js'
import * as reference from './reference.js'
import { operationSets } from './tfjs/backends.js'

/** Relative to the largest value of a result, or to 1: sums of a few dozen products in f32. */
const tolerance = 5e-6

interface Operation {
  /** Shapes of the inputs. */
  readonly shapes: Readonly<Record<string, readonly number[]>>
  readonly forward: reference.Forward
  /** What a backend makes of the same inputs, and of the gradient of the value. */
  compute(operations: Operations, inputs: Record<string, Tensor>, upstream: Tensor): Computed
}

interface Computed {
  readonly value: Tensor
  /** By the name of the input. */
  readonly gradients: Readonly<Record<string, Tensor>>
}

const ids = [3, 0, 4, 3, 1, 3]
const targets = [2, -100, 0, 15, 7, 2]
const base = 50

const operations: Record<string, Operation> = {
  linear: {
    shapes: { input: [6, 16], weight: [12, 16] },
    forward: reference.linear,
    compute: (ops, { input, weight }, upstream) => ({
      value: ops.linear(as2D(input), as2D(weight), undefined),
      gradients: {
        input: ops.linearInputGradient(as2D(upstream), as2D(weight)),
        weight: ops.linearWeightGradient(as2D(upstream), as2D(input)),
      },
    }),
  },
  'linear with a bias': {
    shapes: { input: [7, 8], weight: [20, 8], bias: [20] },
    forward: reference.linear,
    compute: (ops, { input, weight, bias }, upstream) => ({
      value: ops.linear(as2D(input), as2D(weight), as1D(bias)),
      gradients: { bias: ops.sumRows(as2D(upstream)) },
    }),
  },
  add: {
    shapes: { a: [5, 12], b: [5, 12] },
    forward: reference.add,
    compute: (ops, { a, b }, upstream) => ({
      value: ops.add(as2D(a), as2D(b)),
      gradients: { a: upstream, b: upstream },
    }),
  },
  embed: {
    shapes: { table: [5, 12] },
    forward: reference.embed(ids),
    compute: (ops, { table }, upstream) => ({
      value: ops.embed(as2D(table), tf.tensor1d(ids, 'int32')),
      gradients: { table: ops.embedGradient(as2D(upstream), tf.tensor1d(ids, 'int32'), 5) },
    }),
  },
  'rms norm': normalization('rms'),
  'layer norm': normalization('layer'),
  gelu: {
    shapes: { input: [5, 12] },
    forward: reference.gelu,
    compute: (ops, { input }, upstream) => ({
      value: ops.gelu(as2D(input)),
      gradients: { input: ops.geluGradient(as2D(upstream), as2D(input)) },
    }),
  },
  swiglu: {
    shapes: { gate: [5, 12], up: [5, 12] },
    forward: reference.swiglu,
    compute: (ops, { gate, up }, upstream) => ({
      value: ops.swiglu(as2D(gate), as2D(up)),
      gradients: { ...ops.swigluGradient(as2D(upstream), as2D(gate), as2D(up)) },
    }),
  },
  'to heads': heads(undefined),
  'to heads, rotated': heads(base),
  'from heads': {
    shapes: { input: [2, 3, 5, 8] },
    forward: reference.fromHeads,
    compute: (ops, { input }, upstream) => ({
      value: ops.fromHeads(as4D(input), undefined),
      gradients: { input: ops.toHeads(as2D(upstream), 2, 3, undefined) },
    }),
  },
  attention: attention(2, 2),
  'attention with shared key heads': attention(4, 2),
  'cross-entropy': {
    shapes: { logits: [6, 16] },
    forward: reference.crossEntropy(targets),
    compute: (ops, { logits }, upstream) => {
      const { loss, gradient } = ops.crossEntropyGradient(as2D(logits), tf.tensor1d(targets, 'int32'), 1)
      const value = ops.crossEntropy(as2D(logits), tf.tensor1d(targets, 'int32'))
      // Both return the same loss; the gradient is that of a loss with weight 1.
      return { value: tf.mul(tf.add(loss, value), 0.5), gradients: { logits: tf.mul(gradient, upstream) } }
    },
  },
}

function normalization(kind: 'rms' | 'layer'): Operation {
  return {
    shapes: { input: [5, 12], weight: [12], bias: [12] },
    forward: reference.normalization(kind, 1e-3),
    compute: (ops, { input, weight, bias }, upstream) => {
      const { value, saved } = ops.norm(kind, as2D(input), as1D(weight), as1D(bias), 1e-3)
      const gradients = ops.normGradient(kind, as2D(upstream), as2D(input), as1D(weight), saved)
      return { value, gradients: { ...gradients, bias: ops.sumRows(as2D(upstream)) } }
    },
  }
}

function heads(rotaryBase: number | undefined): Operation {
  return {
    shapes: { input: [10, 24] },
    forward: reference.toHeads(2, 3, rotaryBase),
    compute: (ops, { input }, upstream) => {
      const rotary = rotaryBase === undefined ? undefined : angles(5, 8, rotaryBase)
      return {
        value: ops.toHeads(as2D(input), 2, 3, rotary),
        gradients: { input: ops.fromHeads(as4D(upstream), rotary) },
      }
    },
  }
}

function attention(queryHeads: number, keyHeads: number): Operation {
  const shape = (count: number) => [2, count, 5, 8]
  return {
    shapes: { query: shape(queryHeads), key: shape(keyHeads), value: shape(keyHeads) },
    forward: reference.attention,
    compute: (ops, inputs, upstream) => {
      const [query, key, values] = [as4D(inputs.query), as4D(inputs.key), as4D(inputs.value)]
      const { value, saved } = ops.attention(query, key, values, undefined)
      return { value, gradients: { ...ops.attentionGradient(as4D(upstream), query, key, values, undefined, saved) } }
    },
  }
}

function angles(time: number, width: number, rotaryBase: number): Rotary {
  const half = width / 2
  const table = (turn: (angle: number) => number) =>
    tf.tensor2d(
      Float32Array.from({ length: time * half }, (_, index) =>
        turn(Math.floor(index / half) * rotaryBase ** ((-2 * (index % half)) / width)),
      ),
      [time, half],
    )
  return { cos: table(Math.cos), sin: table(Math.sin) }
}

const as1D = (tensor: Tensor | undefined) => tensor as Tensor<Rank.R1>
const as2D = (tensor: Tensor | undefined) => tensor as Tensor<Rank.R2>
const as4D = (tensor: Tensor | undefined) => tensor as Tensor<Rank.R4>

/** Values that f32 represents exactly, so that both sides start from the same numbers. */
function random(name: string, shape: readonly number[]): reference.Matrix {
  const draw = uniformGenerator(name)
  const size = shape.reduce((product, length) => product * length, 1)
  return { shape, values: Float64Array.from({ length: size }, () => Math.fround(draw() * 4 - 2)) }
}

function toTensor({ shape, values }: reference.Matrix): Tensor {
  return tf.tensor(Float32Array.from(values), [...shape], 'float32')
}

async function expectClose(what: string, found: Tensor, expected: Float64Array): Promise<void> {
  const values = await found.data<'float32'>()
  expect(values.length, what).toBe(expected.length)
  const scale = expected.reduce((largest, value) => Math.max(largest, Math.abs(value)), 1)
  const worst = expected.reduce((largest, value, at) => Math.max(largest, Math.abs(value - values[at]!)), 0)
  expect(values.every(Number.isFinite), what).toBe(true)
  expect(worst / scale, what).toBeLessThan(tolerance)
}

const model = tiny()

/** A software device takes seconds to compile each program. */
const timeout = 180_000

describe.each(await operationSets(model))('$label', { timeout }, ({ backend, operations: ops }) => {
  beforeEach(() => backend.activate())

  test.each(Object.entries(operations))('%s: values and gradients', async (_name, { shapes, forward, compute }) => {
    const inputs = Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, random(name, shape)]))
    const value = forward(inputs)
    const upstream = random('upstream', value.shape)
    const tensors = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, toTensor(input)]))
    const computed = compute(ops, tensors, toTensor(upstream))
    await expectClose('value', computed.value, value.values)
    for (const [name, gradient] of Object.entries(computed.gradients)) {
      const expected = reference.numericalGradient(forward, inputs, name, upstream.values)
      await expectClose(`gradient of ${name}`, gradient, expected)
    }
    backend.requireHealthy()
  })

  /** Loshchilov and Hutter 2019, clipped by the global norm before. */
  test.each([null, 0.5])('AdamW of many weights, clipped at %s', async clip => {
    const [learningRate, beta1, beta2, eps, update, weightDecay] = [0.1, 0.9, 0.95, 1e-8, 3, 0.1]
    const shape = [5, 4]
    const weights = Array.from({ length: 25 }, (_, index) => {
      const [weight, mean, gradient] = ['w', 'm', 'g'].map(name => random(`${name}${index}`, shape))
      const variance = { shape, values: random(`v${index}`, shape).values.map(value => Math.fround(value * value)) }
      return { weight: weight!, mean: mean!, gradient: gradient!, variance }
    })
    const square = weights
      .flatMap(({ gradient }) => [...gradient.values])
      .reduce((total, value) => total + value ** 2, 0)
    const norm = Math.sqrt(square)
    const factor = clip === null ? 1 : clip / norm
    const found = ops.adamW(
      weights.map(({ weight, mean, variance, gradient }) => ({
        state: { weight: toTensor(weight), mean: toTensor(mean), variance: toTensor(variance) },
        gradient: toTensor(gradient),
        weightDecay,
      })),
      { learningRate, betas: [beta1, beta2], eps, update, clip },
    )
    await expectClose('norm', found.norm, Float64Array.of(norm))
    for (const [index, { weight, mean, variance, gradient }] of weights.entries()) {
      const first = mean.values.map((value, at) => beta1 * value + (1 - beta1) * factor * gradient.values[at]!)
      const second = variance.values.map(
        (value, at) => beta2 * value + (1 - beta2) * (factor * gradient.values[at]!) ** 2,
      )
      const updated = weight.values.map((value, at) => {
        const deviation = Math.sqrt(second[at]! / (1 - beta2 ** update)) + eps
        return value - learningRate * (weightDecay * value + first[at]! / (1 - beta1 ** update) / deviation)
      })
      const state = found.states[index]!
      await expectClose('mean', state.mean, first)
      await expectClose('variance', state.variance, second)
      await expectClose('weight', state.weight, updated)
    }
    backend.requireHealthy()
  })
})
