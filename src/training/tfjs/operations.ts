/**
 * The few operations a GPT needs, each with its gradient, on TensorFlow.js tensors. This set is composed of stock kernels
 * and runs on every backend; a backend with better kernels overrides single operations (see wasm-operations.ts).
 * Gradients are written out instead of recorded on a tape: tfjs-core carries no gradients by itself, a tape keeps more
 * alive, and whole operations can be fused.
 *
 * Whoever calls an operation owns its results; operations dispose of their own intermediates and never of their inputs.
 */
import type { Tensor, Tensor1D, Tensor2D, Tensor4D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'

export interface NormResult {
  readonly value: Tensor2D
  /** What the gradient needs again, [rows, 1] each. */
  readonly saved: readonly Tensor[]
}

export interface NormGradient {
  readonly input: Tensor2D
  readonly weight: Tensor1D
  readonly bias: Tensor1D | undefined
}

export interface AttentionResult {
  /** [batch, heads, time, head width] */
  readonly value: Tensor4D
  readonly saved: readonly Tensor[]
}

export interface AttentionGradient {
  readonly query: Tensor4D
  readonly key: Tensor4D
  readonly value: Tensor4D
}

export interface AdamHyperparameters {
  readonly learningRate: number
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly weightDecay: number
  /** Number of this update, from 1. */
  readonly update: number
}

export interface AdamState {
  readonly weight: Tensor
  readonly mean: Tensor
  readonly variance: Tensor
}

export interface Operations {
  /** input [rows, in], weight [out, in] -> [rows, out] */
  linear(input: Tensor2D, weight: Tensor2D, bias: Tensor1D | undefined): Tensor2D
  linearInputGradient(gradient: Tensor2D, weight: Tensor2D): Tensor2D
  linearWeightGradient(gradient: Tensor2D, input: Tensor2D): Tensor2D
  /** Sum over the rows. */
  biasGradient(gradient: Tensor2D): Tensor1D
  add(a: Tensor2D, b: Tensor2D): Tensor2D
  /** Rows of the table, [ids, width]. */
  embed(table: Tensor2D, ids: Tensor1D): Tensor2D
  embeddingGradient(gradient: Tensor2D, ids: Tensor1D, rows: number): Tensor2D
  rmsNorm(input: Tensor2D, weight: Tensor1D, bias: Tensor1D | undefined, eps: number): NormResult
  rmsNormGradient(
    gradient: Tensor2D,
    input: Tensor2D,
    weight: Tensor1D,
    saved: readonly Tensor[],
    withBias: boolean,
  ): NormGradient
  layerNorm(input: Tensor2D, weight: Tensor1D, bias: Tensor1D | undefined, eps: number): NormResult
  layerNormGradient(
    gradient: Tensor2D,
    input: Tensor2D,
    weight: Tensor1D,
    saved: readonly Tensor[],
    withBias: boolean,
  ): NormGradient
  /** The exact form, with the error function. */
  gelu(input: Tensor2D): Tensor2D
  geluGradient(gradient: Tensor2D, input: Tensor2D): Tensor2D
  /** silu(gate) * up */
  swiglu(gate: Tensor2D, up: Tensor2D): Tensor2D
  swigluGradient(gradient: Tensor2D, gate: Tensor2D, up: Tensor2D): { readonly gate: Tensor2D; readonly up: Tensor2D }
  /** [batch * time, heads * head width] -> [batch, heads, time, head width] */
  splitHeads(input: Tensor2D, batch: number, heads: number): Tensor4D
  mergeHeads(input: Tensor4D): Tensor2D
  /** Turns the halves of each head's width against each other; `cos` and `sin` are [time, head width / 2]. */
  rotate(input: Tensor4D, cos: Tensor2D, sin: Tensor2D, direction: 1 | -1): Tensor4D
  /** Causal attention; consecutive groups of query heads share a key and value head. */
  attention(query: Tensor4D, key: Tensor4D, value: Tensor4D): AttentionResult
  attentionGradient(
    gradient: Tensor4D,
    query: Tensor4D,
    key: Tensor4D,
    value: Tensor4D,
    saved: readonly Tensor[],
  ): AttentionGradient
  /** Cross-entropy summed over the targets that count; a target below 0 does not. */
  crossEntropy(logits: Tensor2D, targets: Tensor1D): tf.Scalar
  /** The same, and the gradient with respect to the logits, times `scale`. */
  crossEntropyGradient(logits: Tensor2D, targets: Tensor1D, scale: number): { loss: tf.Scalar; gradient: Tensor2D }
  /** Global norm of all gradients, which are scaled so that it does not exceed `limit`. Takes over the gradients. */
  clip(gradients: readonly Tensor[], limit: number | null): { norm: tf.Scalar; gradients: readonly Tensor[] }
  /** One AdamW update of one weight. Takes over the state and gives back the new one. */
  adamW(state: AdamState, gradient: Tensor, hyper: AdamHyperparameters): AdamState
}

/** Operations made of stock kernels only. */
export const composedOperations: Operations = {
  linear: (input, weight, bias) =>
    tf.tidy(() => {
      const product: Tensor2D = tf.matMul(input, weight, false, true)
      return bias === undefined ? product : tf.add<Tensor2D>(product, bias)
    }),
  linearInputGradient: (gradient, weight) => tf.matMul(gradient, weight),
  linearWeightGradient: (gradient, input) => tf.matMul(gradient, input, true, false),
  biasGradient: gradient => tf.sum(gradient, 0),
  add: (a, b) => tf.add(a, b),

  embed: (table, ids) => tf.gather(table, ids),
  embeddingGradient: (gradient, ids, rows) => tf.unsortedSegmentSum(gradient, ids, rows),

  rmsNorm: (input, weight, bias, eps) => {
    const inverse = tf.tidy(() => tf.rsqrt(tf.add(tf.mean(tf.square(input), 1, true), eps)))
    return { value: tf.tidy(() => affine(tf.mul(input, inverse), weight, bias)), saved: [inverse] }
  },
  rmsNormGradient: (gradient, input, weight, [inverse], withBias) => {
    const normal = tf.mul<Tensor2D>(input, inverse!)
    const inner = tf.tidy(() => {
      const scaled = tf.mul(gradient, weight)
      const along = tf.mean(tf.mul(scaled, normal), 1, true)
      return tf.mul<Tensor2D>(tf.sub(scaled, tf.mul(normal, along)), inverse!)
    })
    return { input: inner, ...affineGradient(gradient, normal, withBias) }
  },

  layerNorm: (input, weight, bias, eps) => {
    const center = tf.mean(input, 1, true)
    const inverse = tf.tidy(() => tf.rsqrt(tf.add(tf.mean(tf.square(tf.sub(input, center)), 1, true), eps)))
    const value = tf.tidy(() => affine(tf.mul(tf.sub(input, center), inverse), weight, bias))
    return { value, saved: [center, inverse] }
  },
  layerNormGradient: (gradient, input, weight, [center, inverse], withBias) => {
    const normal = tf.tidy(() => tf.mul<Tensor2D>(tf.sub(input, center!), inverse!))
    const inner = tf.tidy(() => {
      const scaled = tf.mul(gradient, weight)
      const along = tf.mean(tf.mul(scaled, normal), 1, true)
      const centered = tf.sub(tf.sub(scaled, tf.mean(scaled, 1, true)), tf.mul(normal, along))
      return tf.mul<Tensor2D>(centered, inverse!)
    })
    return { input: inner, ...affineGradient(gradient, normal, withBias) }
  },

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

  splitHeads: (input, batch, heads) =>
    tf.tidy(() => {
      const [rows, width] = input.shape
      return tf.transpose(tf.reshape(input, [batch, rows / batch, heads, width / heads]), [0, 2, 1, 3]) as Tensor4D
    }),
  mergeHeads: input =>
    tf.tidy(() => {
      const [batch, heads, time, headWidth] = input.shape
      return tf.reshape(tf.transpose(input, [0, 2, 1, 3]), [batch * time, heads * headWidth]) as Tensor2D
    }),
  rotate: (input, cos, sin, direction) =>
    tf.tidy(() => {
      const [first, second] = tf.split(input, 2, 3) as [Tensor4D, Tensor4D]
      const turn = direction === 1 ? sin : tf.neg(sin)
      return tf.concat(
        [
          tf.sub<Tensor4D>(tf.mul(first, cos), tf.mul(second, turn)),
          tf.add<Tensor4D>(tf.mul(second, cos), tf.mul(first, turn)),
        ],
        3,
      )
    }),

  attention: (query, key, value) => {
    const probabilities = tf.tidy(() => {
      const [batch, heads, time, headWidth] = query.shape
      const scores = tf.mul(
        tf.matMul(byKeyHead(query, key), byKeyHead(key, key), false, true),
        1 / Math.sqrt(headWidth),
      )
      const square = tf.reshape(scores, [batch * heads, time, time])
      return tf.reshape(tf.softmax(tf.add(square, causalMask(time))), scores.shape)
    })
    const result = tf.tidy(() => tf.reshape(tf.matMul(probabilities, byKeyHead(value, value)), query.shape) as Tensor4D)
    return { value: result, saved: [probabilities] }
  },
  attentionGradient: (gradient, query, key, value, [probabilities]) =>
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

  clip: (gradients, limit) => {
    const norm = tf.tidy(() => tf.sqrt(tf.addN(gradients.map(gradient => tf.sum(tf.square(gradient))))) as tf.Scalar)
    if (limit === null) {
      return { norm, gradients }
    }
    const scaled = tf.tidy(() => {
      const factor = tf.minimum(1, tf.div(limit, tf.add(norm, 1e-6)))
      return gradients.map(gradient => tf.mul(gradient, factor))
    })
    tf.dispose(gradients as Tensor[])
    return { norm, gradients: scaled }
  },
  adamW: (state, gradient, hyper) => {
    const { learningRate, beta1, beta2, eps, weightDecay, update } = hyper
    const next = tf.tidy(() => {
      const mean = tf.add(tf.mul(state.mean, beta1), tf.mul(gradient, 1 - beta1))
      const variance = tf.add(tf.mul(state.variance, beta2), tf.mul(tf.square(gradient), 1 - beta2))
      const denominator = tf.add(tf.div(tf.sqrt(variance), Math.sqrt(1 - beta2 ** update)), eps)
      const change = tf.mul(tf.div(mean, denominator), learningRate / (1 - beta1 ** update))
      return { weight: tf.sub(tf.mul(state.weight, 1 - learningRate * weightDecay), change), mean, variance }
    })
    tf.dispose([state.weight, state.mean, state.variance])
    return next
  },
}

function affine(normal: Tensor, weight: Tensor1D, bias: Tensor1D | undefined): Tensor2D {
  const scaled = tf.mul<Tensor2D>(normal, weight)
  return bias === undefined ? scaled : tf.add<Tensor2D>(scaled, bias)
}

/** Takes over `normal`. */
function affineGradient(gradient: Tensor2D, normal: Tensor2D, withBias: boolean): Omit<NormGradient, 'input'> {
  const weight = tf.tidy(() => tf.sum<Tensor1D>(tf.mul(gradient, normal), 0))
  normal.dispose()
  return { weight, bias: withBias ? tf.sum<Tensor1D>(gradient, 0) : undefined }
}

/** Probability that a standard normal variable is below each value. */
function normalDistribution(input: Tensor2D): Tensor {
  return tf.mul(tf.add(tf.erf(tf.mul(input, Math.SQRT1_2)), 1), 0.5)
}

/** Puts the query heads that share a key head under each other: [batch * key heads, group * time, head width]. */
function byKeyHead(input: Tensor4D, key: Tensor4D): tf.Tensor3D {
  const [batch, heads, time, headWidth] = input.shape
  const keyHeads = key.shape[1]
  return tf.reshape(input, [batch * keyHeads, (heads / keyHeads) * time, headWidth])
}

/** 0 where a position may look, a large negative number where it may not. */
function causalMask(time: number): Tensor2D {
  const position = tf.range(0, time)
  const future = tf.greater(tf.expandDims(position, 0), tf.expandDims(position, 1))
  return tf.mul<Tensor2D>(tf.cast(future, 'float32'), -1e9)
}

interface SoftmaxLoss {
  readonly loss: tf.Scalar
  readonly exponentials: Tensor
  readonly sums: Tensor
  /** One-hot targets. */
  readonly hot: Tensor
  /** 1 for a row that counts, [rows, 1]. */
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
