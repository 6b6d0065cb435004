/**
 * Interface of learners, which hold weights and optimizer state and compute steps: as tensors of any backend
 * (tensor-learner.ts), as graphs (graph-learner.ts), or in memory shared by threads (threaded-learner.ts).
 */
import type { Tensor } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { WeightedRows } from '../engine.js'
import type { OptimizerOptions } from '../options.js'
import type { NamedTensor, WeightSpec } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import type { Weights } from './model.js'

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

export type Pause = () => Promise<void>

export interface Learner {
  /** Tensors of the active backend; valid until the next step. */
  weights(): Weights
  /**
   * One update from the gradient of the loss.
   * @param pause awaited between pieces of work: lets the event loop run, then activates the backend again
   */
  step(groups: readonly WeightedRows[], hyper: AdamHyperparameters, pause: Pause): Promise<LearnerStep>
  exportState(): Promise<LearnerState>
  /** Copies the given values; names and shapes must be those of the model. */
  importState(state: LearnerState): void
  close(): Promise<void>
}

/** Global norm of gradients times a scale, read at once: only for runs that may skip the update. */
export async function globalNorm(gradients: readonly Tensor[], scale: number): Promise<number> {
  const norm = tf.tidy(() => tf.sqrt(tf.addN(gradients.map(gradient => tf.sum(tf.square(gradient))))))
  const [value] = await norm.data()
  norm.dispose()
  return value! * scale
}

export function decayOf({ group }: WeightSpec, optimizer: OptimizerOptions): number {
  return optimizer.weight_decay_groups_excluded.includes(group) ? 0 : optimizer.weight_decay
}
