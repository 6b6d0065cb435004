/** Opens a learner that computes in the calling thread, on any backend. */
import type { ModelOptions, OptimizerOptions } from '../options.js'
import type { Backend } from './backends.js'
import { GraphLearner } from './graph-learner.js'
import type { Learner } from './learner.js'
import { TensorLearner } from './tensor-learner.js'

export interface LearnerOptions {
  readonly model: ModelOptions
  readonly optimizer: OptimizerOptions
}

export function openLearner({ model, optimizer }: LearnerOptions, backend: Backend): Learner {
  const operations = backend.operationsFor(model)
  return backend.recorder === undefined
    ? new TensorLearner(model, optimizer, operations)
    : new GraphLearner(model, optimizer, operations, backend.recorder)
}
