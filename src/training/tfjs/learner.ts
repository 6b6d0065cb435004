/**
 * Interface of learners, which hold weights and optimizer state and compute steps: as tensors of any backend
 * (tensor-learner.ts), as graphs (graph-learner.ts), in memory shared by threads (threaded-learner.ts), or as tensors of
 * one other thread (learner-thread.ts).
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { TrainingBatch, WeightedRows } from '../engine.js'
import type { ModelOptions } from '../options.js'
import type { NamedTensor } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import type { KeyValueCache } from './key-value-cache.js'
import { logitsOf, type Weights } from './model.js'
import type { Operations } from './operations.js'

export interface LearnerState {
  readonly weights: ReadonlyMap<string, NamedTensor>
  /** First and second moments of AdamW, by the weight's name. */
  readonly means: ReadonlyMap<string, NamedTensor>
  readonly variances: ReadonlyMap<string, NamedTensor>
}

export interface LearnerStep {
  /** Sum over the rows of loss times weight. */
  readonly loss: number
  /** Global norm before clipping. */
  readonly gradientNorm: number
}

/** Awaited between pieces of work: lets the event loop run, then activates the backend again. */
export type Pause = () => Promise<void>

export interface Learner {
  /** One update from the gradient of the loss. */
  step(groups: readonly WeightedRows[], hyper: AdamHyperparameters, pause: Pause): Promise<LearnerStep>
  /** Sum of the losses of all targets. */
  loss(batch: TrainingBatch): Promise<number>
  /** Logits of the token after the given ones, [vocab]; fast if they continue the ones before by one. */
  nextTokenLogits(ids: Int32Array): Promise<Float32Array>
  exportState(pause: Pause): Promise<LearnerState>
  /** Copies the given values; names and shapes must be those of the model. */
  importState(state: LearnerState, pause: Pause): Promise<void>
  close(): Promise<void>
}

/**
 * Logits of the token after the given ones, as a tensor: [1, vocab]. Computes only the last one if the others are in the cache.
 * @param cache of the same weights
 */
export function logitsAfter(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  ids: Int32Array,
  cache: KeyValueCache,
): Tensor {
  const cached = { count: cache.continueWith(ids), cache }
  const inputs = ids.subarray(cached.count)
  try {
    return tf.tidy(() => {
      const logits = logitsOf(model, weights, operations, { inputs, rows: 1, columns: inputs.length }, cached)
      return tf.slice(logits, [inputs.length - 1, 0], [1, model.vocab_size])
    })
  } catch (error) {
    cache.clear()
    throw error
  }
}

/** Values of a tensor, which is disposed of. */
export async function takeValues(tensor: Tensor): Promise<Float32Array> {
  const values = await tensor.data<'float32'>()
  tensor.dispose()
  return values
}

/** Global norm of gradients times a scale, read at once: only for runs that may skip the update. */
export async function globalNorm(gradients: readonly Tensor[], scale: number): Promise<number> {
  const norm = tf.tidy(() => tf.sqrt(tf.addN(gradients.map(gradient => tf.sum(tf.square(gradient))))))
  const [value] = await takeValues(norm)
  return value! * scale
}
