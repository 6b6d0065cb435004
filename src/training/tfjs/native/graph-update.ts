/**
 * AdamW as part of a graph. Values that change from step to step are passed in a small vector, so that the graph can be
 * reused; gradients are unscaled, and their scale is combined with the clipping factor.
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { AdamHyperparameters } from '../adamw.js'

interface UpdateInputs {
  readonly weights: readonly Tensor[]
  readonly means: readonly Tensor[]
  readonly variances: readonly Tensor[]
  readonly gradients: readonly Tensor[]
  readonly decays: readonly number[]
}

/** Same order as in `numbersOf`. */
const names = ['scale', 'clip', 'beta1', 'beta2', 'eps', 'stepSize', 'deviation', 'learningRate'] as const

function numbersOf(scale: number, { learningRate, betas, eps, update, clip }: AdamHyperparameters): Float32Array {
  return Float32Array.of(
    scale,
    clip ?? Number.POSITIVE_INFINITY,
    ...betas,
    eps,
    learningRate / (1 - betas[0] ** update),
    Math.sqrt(1 - betas[1] ** update),
    learningRate,
  )
}

/** Norm of the gradients, then the new weights, means and variances. */
function compute(numbers: Float32Array, { weights, means, variances, gradients, decays }: UpdateInputs): Tensor[] {
  const vector = tf.tensor1d(numbers)
  const at = Object.fromEntries(
    names.map((name, index) => [name, tf.reshape(tf.slice(vector, [index], [1]), [])]),
  ) as Record<(typeof names)[number], Tensor>
  const norm = tf.mul(tf.sqrt(tf.addN(gradients.map(gradient => tf.sum(tf.square(gradient))))), at.scale)
  const factor = tf.mul(tf.minimum(1, tf.div(at.clip, tf.add(norm, 1e-6))), at.scale)
  const [rest1, rest2] = [tf.sub(1, at.beta1), tf.sub(1, at.beta2)]
  const updated = weights.map((weight, index) => {
    const gradient = tf.mul(gradients[index]!, factor)
    const mean = tf.add(tf.mul(means[index]!, at.beta1), tf.mul(gradient, rest1))
    const variance = tf.add(tf.mul(variances[index]!, at.beta2), tf.mul(tf.square(gradient), rest2))
    const deviation = tf.add(tf.div(tf.sqrt(variance), at.deviation), at.eps)
    const change = tf.mul(tf.div(mean, deviation), at.stepSize)
    const decayed = tf.mul(weight, tf.sub(1, tf.mul(at.learningRate, decays[index]!)))
    return { weight: tf.sub(decayed, change), mean, variance }
  })
  return [
    norm,
    ...updated.map(({ weight }) => weight),
    ...updated.map(({ mean }) => mean),
    ...updated.map(({ variance }) => variance),
  ]
}

export const updateByGraph = { numbersOf, compute }
