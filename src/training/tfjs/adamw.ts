/**
 * Hyperparameters of an AdamW step, and the call of its WebAssembly kernel (assembly/training/optimizer.ts), shared by the
 * wasm operations and the threads' shared state. The generic implementation is in `operations.ts`, the one for graphs in
 * `native/graph-update.ts`.
 */
import type { StepLimits } from '../engine.js'
import type { OptimizerOptions } from '../options.js'
import type { WeightSpec } from '../weights.js'

/** Optimizer options of the run, and the values that change from step to step. */
export interface AdamHyperparameters
  extends Omit<OptimizerOptions, 'learning_rate' | 'weight_decay' | 'weight_decay_groups_excluded'> {
  /** Learning rate of this step. */
  readonly learningRate: number
  /** Number of this update, from 1. */
  readonly update: number
  /** Maximum global norm of the gradients; larger gradients are scaled down to it. */
  readonly clip: number | null
  /** Skip the update if the loss or the norm of the gradients is not within these. */
  readonly limits?: StepLimits
}

export function decayOf({ group }: WeightSpec, optimizer: OptimizerOptions): number {
  return optimizer.weight_decay_groups_excluded.includes(group) ? 0 : optimizer.weight_decay
}

export interface AdamWKernel {
  adamW(
    weight: number,
    mean: number,
    variance: number,
    gradient: number,
    count: number,
    gradientScale: number,
    beta1: number,
    beta2: number,
    stepSize: number,
    deviationScale: number,
    eps: number,
    decay: number,
  ): void
}

/** Addresses of arrays of `count` float32 values. */
export interface AdamWArrays {
  readonly weight: number
  readonly mean: number
  readonly variance: number
  readonly gradient: number
  readonly count: number
}

/**
 * One update in place.
 * @param norm global norm of the gradients; NaN propagates to the weights
 */
export function updateByKernel(
  kernel: AdamWKernel,
  { weight, mean, variance, gradient, count }: AdamWArrays,
  { learningRate, betas, eps, update, clip }: AdamHyperparameters,
  weightDecay: number,
  norm: number,
): void {
  const [beta1, beta2] = betas
  const gradientScale = clip === null || norm <= clip ? 1 : clip / (norm + 1e-6)
  const stepSize = learningRate / (1 - beta1 ** update)
  const deviationScale = 1 / Math.sqrt(1 - beta2 ** update)
  const decay = 1 - learningRate * weightDecay
  kernel.adamW(
    weight,
    mean,
    variance,
    gradient,
    count,
    gradientScale,
    beta1,
    beta2,
    stepSize,
    deviationScale,
    eps,
    decay,
  )
}
