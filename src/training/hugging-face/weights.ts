/** Weights by name, read when they are used. */
import { PenstockError } from '../../errors.js'
import type { LazyTensor } from '../tensor-files.js'

export type Weights = ReadonlyMap<string, LazyTensor>

/** @throws CHECKPOINT_INVALID */
export function present(weights: Weights, name: string): LazyTensor {
  const found = weights.get(name)
  if (found === undefined) {
    throw new PenstockError('CHECKPOINT_INVALID', `the model has no weight ${name}`)
  }
  return found
}
