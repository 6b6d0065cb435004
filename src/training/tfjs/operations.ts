/**
 * The operations of a GPT and their gradients on TensorFlow.js tensors. This set is composed of stock kernels and runs on
 * every backend; a backend with better kernels overrides single operations (see wasm-operations.ts). Gradients are written
 * out instead of recorded on a tape: tfjs-core has no gradients, a tape keeps more tensors alive, and written-out
 * operations can be fused.
 *
 * The caller owns the results; operations dispose of intermediates, never of their inputs.
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { ModelOptions } from '../options.js'
import type { AdamHyperparameters } from './adamw.js'

type NormKind = ModelOptions['norm']

interface NormResult {
  readonly value: Tensor2D
  /** Tensors that the gradient needs. */
  readonly saved: readonly Tensor[]
}

interface NormGradient {
  readonly input: Tensor2D
  readonly weight: Tensor1D
}

/**
 * Cosines and sines of the angle by which each position rotates each pair, [time, head width / 2] each, or
 * [batch * time, head width / 2] where each row has its own positions.
 */
export interface Rotary {
  readonly cos: Tensor2D
  readonly sin: Tensor2D
}

interface AttentionResult {
  /** [batch, heads, time, head width] */
  readonly value: Tensor4D
  readonly saved: readonly Tensor[]
}

interface AttentionGradient {
  readonly query: Tensor4D
  readonly key: Tensor4D
  readonly value: Tensor4D
}

export interface AdamState {
  readonly weight: Tensor
  readonly mean: Tensor
  readonly variance: Tensor
}

export interface AdamWeight {
  readonly state: AdamState
  readonly gradient: Tensor
  readonly weightDecay: number
}

interface AdamResult {
  /** Global norm of the gradients before clipping. */
  readonly norm: tf.Scalar
  /** Same order as the weights. */
  readonly states: readonly AdamState[]
}

export interface Operations {
  /** input [rows, in], weight [out, in] -> [rows, out] */
  linear(input: Tensor2D, weight: Tensor2D, bias: Tensor1D | undefined): Tensor2D
  linearInputGradient(gradient: Tensor2D, weight: Tensor2D): Tensor2D
  linearWeightGradient(gradient: Tensor2D, input: Tensor2D): Tensor2D
  add(a: Tensor2D, b: Tensor2D): Tensor2D
  /** The gradient of a bias. */
  sumRows(gradient: Tensor2D): Tensor1D
  /** Rows of the table, [ids, width]. */
  embed(table: Tensor2D, ids: Tensor1D): Tensor2D
  embedGradient(gradient: Tensor2D, ids: Tensor1D, rows: number): Tensor2D
  norm(kind: NormKind, input: Tensor2D, weight: Tensor1D, bias: Tensor1D | undefined, eps: number): NormResult
  normGradient(
    kind: NormKind,
    gradient: Tensor2D,
    input: Tensor2D,
    weight: Tensor1D,
    saved: readonly Tensor[],
  ): NormGradient
  /** The exact form, with the error function. */
  gelu(input: Tensor2D): Tensor2D
  geluGradient(gradient: Tensor2D, input: Tensor2D): Tensor2D
  /** silu(gate) * up */
  swiglu(gate: Tensor2D, up: Tensor2D): Tensor2D
  swigluGradient(gradient: Tensor2D, gate: Tensor2D, up: Tensor2D): { readonly gate: Tensor2D; readonly up: Tensor2D }
  /** [batch * time, heads * head width] -> [batch, heads, time, head width], with rotary positions applied. */
  toHeads(input: Tensor2D, batch: number, heads: number, rotary: Rotary | undefined): Tensor4D
  /** Inverse of `toHeads`; with `rotary` it computes the gradient of `toHeads` with the same angles. */
  fromHeads(input: Tensor4D, rotary: Rotary | undefined): Tensor2D
  /** The mask for `attention` within documents that start at the given positions, [batch * time], int32. */
  attentionMask(starts: Tensor1D, batch: number): Tensor
  /** Causal attention; consecutive groups of query heads share a key and value head. */
  attention(query: Tensor4D, key: Tensor4D, value: Tensor4D, mask: Tensor | undefined): AttentionResult
  attentionGradient(
    gradient: Tensor4D,
    query: Tensor4D,
    key: Tensor4D,
    value: Tensor4D,
    mask: Tensor | undefined,
    saved: readonly Tensor[],
  ): AttentionGradient
  /** Cross-entropy summed over the counted targets; a negative target is ignored. */
  crossEntropy(logits: Tensor2D, targets: Tensor1D): tf.Scalar
  /** `crossEntropy`, and its gradient with respect to the logits, times `scale`. */
  crossEntropyGradient(logits: Tensor2D, targets: Tensor1D, scale: number): { loss: tf.Scalar; gradient: Tensor2D }
  /** One update of all weights. Takes ownership of the states and gradients. */
  adamW(weights: readonly AdamWeight[], hyper: AdamHyperparameters): AdamResult
}

/** Operations composed of stock kernels only. */
export const composedOperations: Operations = {
  linear: (input, weight, bias) =>
    tf.tidy(() => {
      const product: Tensor2D = tf.matMul(input, weight, false, true)
      return bias === undefined ? product : tf.add<Tensor2D>(product, bias)
    }),
  linearInputGradient: (gradient, weight) => tf.matMul(gradient, weight),
  linearWeightGradient: (gradient, input) => tf.matMul(gradient, input, true, false),
  add: (a, b) => tf.add(a, b),
  sumRows: gradient => tf.sum(gradient, 0),

  embed: (table, ids) => tf.gather(table, ids),
  embedGradient: (gradient, ids, rows) => tf.unsortedSegmentSum(gradient, ids, rows),

  norm: (kind, input, weight, bias, eps) => {
    const center = kind === 'layer' ? tf.mean(input, 1, true) : tf.zeros([input.shape[0], 1])
    const inverse = tf.tidy(() => tf.rsqrt(tf.add(tf.mean(tf.square(tf.sub(input, center)), 1, true), eps)))
    const value = tf.tidy(() => {
      const scaled = tf.mul<Tensor2D>(tf.mul(tf.sub(input, center), inverse), weight)
      return bias === undefined ? scaled : tf.add<Tensor2D>(scaled, bias)
    })
    return { value, saved: [center, inverse] }
  },
  normGradient: (kind, gradient, input, weight, [center, inverse]) =>
    tf.tidy(() => {
      const normal = tf.mul(tf.sub(input, center!), inverse!)
      const scaled = tf.mul(gradient, weight)
      const along = tf.mul(normal, tf.mean(tf.mul(scaled, normal), 1, true))
      const centered = kind === 'layer' ? tf.sub(scaled, tf.mean(scaled, 1, true)) : scaled
      return {
        input: tf.mul<Tensor2D>(tf.sub(centered, along), inverse!),
        weight: tf.sum<Tensor1D>(tf.mul(gradient, normal), 0),
      }
    }),

  gelu: input => tf.tidy(() => tf.mul<Tensor2D>(input, normalDistribution(input))),
  geluGradient: (gradient, input) =>
    tf.tidy(() => {
      const density = tf.mul(tf.exp(tf.mul(tf.square(input), -0.5)), 1 / Math.sqrt(2 * Math.PI))
      return tf.mul<Tensor2D>(gradient, tf.add(normalDistribution(input), tf.mul(input, density)))
    }),
  swiglu: (gate, up) => tf.tidy(() => tf.mul<Tensor2D>(tf.mul(gate, tf.sigmoid(gate)), up)),
  swigluGradient: (gradient, gate, up) =>
    tf.tidy(() => {
      const sigmoid = tf.sigmoid(gate)
      const silu = tf.mul(gate, sigmoid)
      const slope = tf.add(sigmoid, tf.mul(silu, tf.sub(1, sigmoid)))
      return { gate: tf.mul<Tensor2D>(tf.mul(gradient, up), slope), up: tf.mul<Tensor2D>(gradient, silu) }
    }),

  toHeads: (input, batch, heads, rotary) =>
    tf.tidy(() => {
      const [rows, width] = input.shape
      const split = tf.transpose(tf.reshape(input, [batch, rows / batch, heads, width / heads]), [0, 2, 1, 3])
      return rotary === undefined ? (split as Tensor4D) : rotate(split as Tensor4D, rotary.cos, rotary.sin)
    }),
  fromHeads: (input, rotary) =>
    tf.tidy(() => {
      const [batch, heads, time, headWidth] = input.shape
      const unrotated = rotary === undefined ? input : rotate(input, rotary.cos, tf.neg(rotary.sin))
      return tf.reshape(tf.transpose(unrotated, [0, 2, 1, 3]), [batch * time, heads * headWidth])
    }),

  attentionMask: (starts, batch) => documentMask(starts, batch),
  attention: (query, key, value, mask) => {
    const probabilities = tf.tidy(() => {
      const [batch, heads, time, headWidth] = query.shape
      const scores = tf.mul(
        tf.matMul(byKeyHead(query, key), byKeyHead(key, key), false, true),
        1 / Math.sqrt(headWidth),
      )
      const square: tf.Tensor3D = tf.reshape(scores, [batch * heads, time, time])
      return tf.reshape(tf.softmax(maskScores(square, mask)), scores.shape)
    })
    const result = tf.tidy((): Tensor4D => tf.reshape(tf.matMul(probabilities, byKeyHead(value, value)), query.shape))
    return { value: result, saved: [probabilities] }
  },
  attentionGradient: (gradient, query, key, value, _, [probabilities]) =>
    tf.tidy(() => {
      const [upstream, queries] = [byKeyHead(gradient, key), byKeyHead(query, key)]
      const [keys, values] = [byKeyHead(key, key), byKeyHead(value, value)]
      const weighted = tf.mul(probabilities!, tf.matMul(upstream, values, false, true))
      const scores = tf.mul(
        tf.sub(weighted, tf.mul(probabilities!, tf.sum(weighted, 2, true))),
        1 / Math.sqrt(query.shape[3]),
      )
      return {
        query: tf.reshape(tf.matMul(scores, keys), query.shape) as Tensor4D,
        key: tf.reshape(tf.matMul(scores, queries, true, false), key.shape) as Tensor4D,
        value: tf.reshape(tf.matMul(probabilities!, upstream, true, false), value.shape) as Tensor4D,
      }
    }),

  crossEntropy: (logits, targets) => tf.tidy(() => softmaxLoss(logits, targets).loss),
  crossEntropyGradient: (logits, targets, scale) =>
    tf.tidy(() => {
      const { loss, exponentials, sums, hot, counts } = softmaxLoss(logits, targets)
      const difference = tf.sub(tf.div(exponentials, sums), hot)
      return { loss, gradient: tf.mul<Tensor2D>(difference, tf.mul(counts, scale)) }
    }),

  adamW: (weights, { learningRate, betas, eps, update, clip }) => {
    const [beta1, beta2] = betas
    const gradients = weights.map(weight => weight.gradient)
    // Stacked, not passed to one addN: GPUs limit the inputs of a program.
    const norm = tf.tidy(() => {
      const squares = gradients.map(gradient => tf.sum<tf.Scalar>(tf.square(gradient)))
      return tf.sqrt<tf.Scalar>(tf.sum(tf.stack(squares)))
    })
    const factor = tf.tidy(() => (clip === null ? tf.scalar(1) : tf.minimum(1, tf.div(clip, tf.add(norm, 1e-6)))))
    const states = weights.map(({ state, gradient, weightDecay }) =>
      tf.tidy(() => {
        const slope = tf.mul(gradient, factor)
        const mean = tf.add(tf.mul(state.mean, beta1), tf.mul(slope, 1 - beta1))
        const variance = tf.add(tf.mul(state.variance, beta2), tf.mul(tf.square(slope), 1 - beta2))
        const deviation = tf.add(tf.div(tf.sqrt(variance), Math.sqrt(1 - beta2 ** update)), eps)
        const change = tf.mul(tf.div(mean, deviation), learningRate / (1 - beta1 ** update))
        return { weight: tf.sub(tf.mul(state.weight, 1 - learningRate * weightDecay), change), mean, variance }
      }),
    )
    tf.dispose([factor, ...gradients, ...weights.flatMap(({ state }) => Object.values(state) as Tensor[])])
    return { norm, states }
  },
}

/** Applies rotary positions: rotates the two halves of each head as pairs. */
function rotate(input: Tensor4D, cosines: Tensor2D, sines: Tensor2D): Tensor4D {
  const [, , time, headWidth] = input.shape
  const [cos, sin] = [cosines, sines].map(table => tf.reshape(table, [-1, 1, time, headWidth / 2])) as [
    Tensor4D,
    Tensor4D,
  ]
  const [first, second] = tf.split(input, 2, 3) as [Tensor4D, Tensor4D]
  const halves = [
    tf.sub<Tensor4D>(tf.mul(first, cos), tf.mul(second, sin)),
    tf.add<Tensor4D>(tf.mul(second, cos), tf.mul(first, sin)),
  ]
  return tf.concat(halves, 3)
}

/** Probability that a standard normal variable is below each value. */
function normalDistribution(input: Tensor2D): Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(input, Math.SQRT1_2)), 1), 0.5)
}

/** Attention of the last token of a row, query [batch, heads, 1, head width], to all tokens of the row. */
export function attendToAll(query: Tensor4D, key: Tensor4D, value: Tensor4D): Tensor4D {
  return tf.tidy(() => {
    const products = tf.matMul(byKeyHead(query, key), byKeyHead(key, key), false, true)
    const probabilities = tf.softmax(tf.mul(products, 1 / Math.sqrt(query.shape[3])))
    return tf.reshape(tf.matMul(probabilities, byKeyHead(value, value)), query.shape)
  })
}

/** Stacks the query heads that share a key head: [batch * key heads, group * time, head width]. */
export function byKeyHead(input: Tensor4D, key: Tensor4D): tf.Tensor3D {
  const [batch, heads, time, headWidth] = input.shape
  const keyHeads = key.shape[1]
  return tf.reshape(input, [batch * keyHeads, (heads / keyHeads) * time, headWidth])
}

/**
 * Adds a large negative number to the scores [batch * heads, time, time] that a position must not attend to: the later
 * ones, and with a mask those of other documents.
 */
export function maskScores(scores: tf.Tensor3D, mask: Tensor | undefined): tf.Tensor3D {
  const [, time] = scores.shape
  if (mask === undefined) return tf.add(scores, causalMask(time))
  return tf.reshape(tf.add(tf.reshape(scores, [mask.shape[0]!, -1, time, time]), mask), scores.shape)
}

/** 0 where a position may attend, a large negative number where it must not. */
function causalMask(time: number): Tensor2D {
  const position = tf.range(0, time)
  const future = tf.greater(tf.expandDims(position, 0), tf.expandDims(position, 1))
  return tf.mul<Tensor2D>(tf.cast(future, 'float32'), -1e9)
}

/** `causalMask` of each row, [batch, 1, time, time], within documents that start at the given positions. */
function documentMask(starts: Tensor1D, batch: number): Tensor4D {
  return tf.tidy(() => {
    const time = starts.size / batch
    const firsts = tf.cast(tf.reshape(starts, [batch, 1, time, 1]), 'float32')
    const earlier = tf.less(tf.reshape(tf.range(0, time), [1, 1, 1, time]), firsts)
    return tf.minimum<Tensor4D>(tf.mul(tf.cast(earlier, 'float32'), -1e9), causalMask(time))
  })
}

interface SoftmaxLoss {
  readonly loss: tf.Scalar
  readonly exponentials: Tensor
  readonly sums: Tensor
  /** One-hot targets. */
  readonly hot: Tensor
  /** 1 for a row with a counted target, [rows, 1]. */
  readonly counts: Tensor
}

function softmaxLoss(logits: Tensor2D, targets: Tensor1D): SoftmaxLoss {
  const counts = tf.cast(tf.greaterEqual(targets, 0), 'float32')
  const hot = tf.oneHot(tf.maximum(targets, tf.scalar(0, 'int32')), logits.shape[1])
  const shifted = tf.sub(logits, tf.max(logits, 1, true))
  const exponentials = tf.exp(shifted)
  const sums = tf.sum(exponentials, 1, true)
  const picked = tf.sum(tf.mul(shifted, hot), 1)
  const losses = tf.mul(tf.sub(tf.log(tf.squeeze(sums, [1])), picked), counts)
  return { loss: tf.sum(losses), exponentials, sums, hot, counts: tf.expandDims(counts, 1) }
}
