/** Single-threaded learner for any backend: weights and moments are tensors, keyed by name. */
import * as tf from '@tensorflow/tfjs-core'
import { isWithin, type TrainingBatch, type WeightedRows } from '../engine.js'
import type { ModelOptions, OptimizerOptions } from '../options.js'
import { type NamedTensor, type WeightSpec, weightSpecs } from '../weights.js'
import { type AdamHyperparameters, decayOf } from './adamw.js'
import { KeyValueCache } from './key-value-cache.js'
import {
  globalNorm,
  type Learner,
  type LearnerState,
  type LearnerStep,
  logitsAfter,
  type Pause,
  takeValues,
} from './learner.js'
import { accumulateGradients, Gradients, lossOf, type Weights } from './model.js'
import type { AdamState, Operations } from './operations.js'

export class TensorLearner implements Learner {
  readonly #model: ModelOptions
  readonly #optimizer: OptimizerOptions
  readonly #operations: Operations
  readonly #specs: readonly WeightSpec[]
  readonly #cache = new KeyValueCache()
  #states = new Map<string, AdamState>()

  constructor(model: ModelOptions, optimizer: OptimizerOptions, operations: Operations) {
    this.#model = model
    this.#optimizer = optimizer
    this.#operations = operations
    this.#specs = weightSpecs(model)
  }

  async step(groups: readonly WeightedRows[], hyper: AdamHyperparameters, pause: Pause): Promise<LearnerStep> {
    this.#cache.clear()
    const gradients = new Gradients()
    const weights = this.#weights()
    const losses: { readonly weight: number; readonly sum: tf.Scalar }[] = []
    for (const { weight, batches } of groups) {
      for (const batch of batches) {
        await pause()
        const compute = () => accumulateGradients(this.#model, weights, this.#operations, batch, weight, gradients)
        losses.push({ weight, sum: tf.tidy(compute) })
      }
    }
    await pause()
    const readLoss = async () => {
      const weighted = await Promise.all(losses.map(async ({ weight, sum }) => weight * (await scalarValue(sum))))
      return weighted.reduce((total, loss) => total + loss, 0)
    }
    if (hyper.limits === undefined) {
      const norm = this.#update(gradients, hyper)
      // Read only now, so that an asynchronous backend has all work queued before anything waits for it.
      return { loss: await readLoss(), gradientNorm: await scalarValue(norm) }
    }
    const step = { loss: await readLoss(), gradientNorm: await globalNorm([...gradients.byName.values()], 1) }
    await pause()
    if (isWithin(step, hyper.limits)) this.#update(gradients, hyper).dispose()
    else tf.dispose([...gradients.byName.values()])
    return step
  }

  async loss(batch: TrainingBatch): Promise<number> {
    return scalarValue(tf.tidy(() => lossOf(this.#model, this.#weights(), this.#operations, batch)))
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    return takeValues(logitsAfter(this.#model, this.#weights(), this.#operations, ids, this.#cache))
  }

  async exportState(pause: Pause): Promise<LearnerState> {
    const read = async (part: keyof AdamState) => {
      const values = new Map<string, NamedTensor>()
      for (const [name, { [part]: tensor }] of this.#states) {
        await pause()
        values.set(name, { shape: tensor.shape, values: await tensor.data<'float32'>() })
      }
      return values
    }
    return { weights: await read('weight'), means: await read('mean'), variances: await read('variance') }
  }

  async importState({ weights, means, variances }: LearnerState, pause: Pause): Promise<void> {
    this.#dispose()
    for (const { name } of this.#specs) {
      await pause()
      const [weight, mean, variance] = [weights, means, variances].map(part => keptTensor(part.get(name)!))
      this.#states.set(name, { weight: weight!, mean: mean!, variance: variance! })
    }
  }

  async close(): Promise<void> {
    this.#dispose()
  }

  #weights(): Weights {
    return new Map([...this.#states].map(([name, { weight }]) => [name, weight]))
  }

  /** Consumes the gradients; returns their norm. */
  #update(gradients: Gradients, hyper: AdamHyperparameters): tf.Scalar {
    const weights = this.#specs.map(spec => ({
      state: this.#states.get(spec.name)!,
      gradient: gradients.byName.get(spec.name)!,
      weightDecay: decayOf(spec, this.#optimizer),
    }))
    const { norm, states } = this.#operations.adamW(weights, hyper)
    this.#specs.forEach((spec, index) => {
      this.#states.set(spec.name, states[index]!)
    })
    return norm
  }

  #dispose(): void {
    this.#cache.clear()
    for (const { weight, mean, variance } of this.#states.values()) {
      tf.dispose([weight, mean, variance])
    }
    this.#states.clear()
  }
}

async function scalarValue(scalar: tf.Scalar): Promise<number> {
  return (await takeValues(scalar))[0]!
}

function keptTensor({ shape, values }: NamedTensor): tf.Tensor {
  // Copied, because the cpu backend keeps the given array.
  return tf.tensor(values.slice(), [...shape], 'float32')
}
