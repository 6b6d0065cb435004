/**
 * Learner on TensorFlow's native library with two graphs: one computes the gradients of a micro batch, one updates all
 * weights. A step takes two calls instead of several hundred single operations, and reads no result before its end.
 */
import type { Tensor } from '@tensorflow/tfjs-core'
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
import { GraphFunction, type GraphInput } from './native/graph-function.js'
import { updateByGraph } from './native/graph-update.js'
import type { Recorder } from './native/recorder.js'
import type { Operations } from './operations.js'

interface Parts {
  weights: readonly Tensor[]
  means: readonly Tensor[]
  variances: readonly Tensor[]
}

export class GraphLearner implements Learner {
  readonly #model: ModelOptions
  readonly #operations: Operations
  readonly #recorder: Recorder
  readonly #specs: readonly WeightSpec[]
  readonly #cache = new KeyValueCache()
  readonly #decays: readonly number[]
  #parts: Parts = { weights: [], means: [], variances: [] }
  /** Keyed by the shape of the micro batch and the kind of its positions. */
  readonly #gradientGraphs = new Map<string, GraphFunction>()
  #updateGraph: GraphFunction | undefined

  constructor(model: ModelOptions, optimizer: OptimizerOptions, operations: Operations, recorder: Recorder) {
    this.#model = model
    this.#operations = operations
    this.#recorder = recorder
    this.#specs = weightSpecs(model)
    this.#decays = this.#specs.map(spec => decayOf(spec, optimizer))
  }

  async step(groups: readonly WeightedRows[], hyper: AdamHyperparameters, pause: Pause): Promise<LearnerStep> {
    this.#cache.clear()
    const losses: { readonly weight: number; readonly sum: Tensor }[] = []
    let gradients: Tensor[] = []
    // A weight common to all rows is applied in the update.
    const common = groups.length === 1 ? groups[0]!.weight : 1
    for (const { weight, batches } of groups) {
      for (const batch of batches) {
        await pause()
        const [sum, ...unscaled] = this.#lossAndGradients(batch)
        losses.push({ weight, sum: sum! })
        const terms = weight === common ? unscaled : scaleAll(unscaled, weight)
        gradients = gradients.length === 0 ? terms : addPairs(gradients, terms)
      }
    }
    const readLoss = async () => {
      const weighted = await Promise.all(losses.map(async ({ weight, sum }) => weight * (await scalarValue(sum))))
      return weighted.reduce((total, loss) => total + loss, 0)
    }
    if (hyper.limits === undefined) {
      const norm = this.#update(gradients, common, hyper)
      return { loss: await readLoss(), gradientNorm: await scalarValue(norm) }
    }
    const step = { loss: await readLoss(), gradientNorm: await globalNorm(gradients, common) }
    await pause()
    if (isWithin(step, hyper.limits)) this.#update(gradients, common, hyper).dispose()
    else tf.dispose(gradients)
    return step
  }

  async loss(batch: TrainingBatch): Promise<number> {
    return scalarValue(tf.tidy(() => lossOf(this.#model, this.#weights(), this.#operations, batch)))
  }

  async nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    return takeValues(logitsAfter(this.#model, this.#weights(), this.#operations, ids, this.#cache))
  }

  async exportState(pause: Pause): Promise<LearnerState> {
    const read = async (tensors: readonly Tensor[]) => {
      const values = new Map<string, NamedTensor>()
      for (const [index, tensor] of tensors.entries()) {
        await pause()
        values.set(this.#specs[index]!.name, { shape: tensor.shape, values: await tensor.data<'float32'>() })
      }
      return values
    }
    const { weights, means, variances } = this.#parts
    return { weights: await read(weights), means: await read(means), variances: await read(variances) }
  }

  async importState({ weights, means, variances }: LearnerState, pause: Pause): Promise<void> {
    this.#dispose()
    const keep = async (part: ReadonlyMap<string, NamedTensor>) => {
      const tensors: Tensor[] = []
      for (const { name } of this.#specs) {
        await pause()
        const { shape, values } = part.get(name)!
        tensors.push(tf.tensor(values.slice(), [...shape], 'float32'))
      }
      return tensors
    }
    this.#parts = { weights: await keep(weights), means: await keep(means), variances: await keep(variances) }
  }

  async close(): Promise<void> {
    this.#dispose()
    for (const graph of [...this.#gradientGraphs.values(), this.#updateGraph]) {
      graph?.dispose()
    }
    this.#gradientGraphs.clear()
    this.#updateGraph = undefined
  }

  #weights(): Weights {
    return new Map(this.#specs.map(({ name }, index) => [name, this.#parts.weights[index]!]))
  }

  /** The summed loss, then the unscaled gradients of all weights in their order. */
  #lossAndGradients(batch: TrainingBatch): Tensor[] {
    const { rows, columns, inputs, targets, documents } = batch
    const given = documents === undefined ? [inputs, targets] : [inputs, targets, documents.starts]
    const arrays = given.map(values => ({ values, shape: [values.length] }))
    const inputTensors: GraphInput[] = [...arrays, ...this.#parts.weights]
    const key = `${rows} ${columns} ${documents?.restartPositions}`
    let graph = this.#gradientGraphs.get(key)
    if (graph === undefined) {
      const compute = () => {
        const gradients = new Gradients()
        const loss = accumulateGradients(this.#model, this.#weights(), this.#operations, batch, 1, gradients)
        return [loss, ...this.#specs.map(({ name }) => gradients.byName.get(name)!)]
      }
      graph = new GraphFunction(this.#recorder, inputTensors, compute)
      this.#gradientGraphs.set(key, graph)
    }
    return graph.run(inputTensors)
  }

  /** Disposes of the gradients; returns their norm. */
  #update(gradients: readonly Tensor[], scale: number, hyper: AdamHyperparameters): Tensor {
    const { weights, means, variances } = this.#parts
    const states = [...weights, ...means, ...variances]
    const numbers = updateByGraph.numbersOf(scale, hyper)
    const inputTensors: GraphInput[] = [{ values: numbers, shape: [numbers.length] }, ...states, ...gradients]
    this.#updateGraph ??= new GraphFunction(this.#recorder, inputTensors, () =>
      updateByGraph.compute(numbers, { weights, means, variances, gradients, decays: this.#decays }),
    )
    const [norm, ...updated] = this.#updateGraph.run(inputTensors)
    tf.dispose([...states, ...gradients])
    const count = weights.length
    this.#parts = {
      weights: updated.slice(0, count),
      means: updated.slice(count, 2 * count),
      variances: updated.slice(2 * count),
    }
    return norm!
  }

  #dispose(): void {
    this.#cache.clear()
    tf.dispose(Object.values(this.#parts).flat())
    this.#parts = { weights: [], means: [], variances: [] }
  }
}

/** Disposes of the given tensors. */
function scaleAll(tensors: readonly Tensor[], factor: number): Tensor[] {
  const scaled = tensors.map(tensor => tf.mul(tensor, factor))
  tf.dispose([...tensors])
  return scaled
}

/** Disposes of both. */
function addPairs(sums: readonly Tensor[], terms: readonly Tensor[]): Tensor[] {
  const added = sums.map((sum, index) => tf.add(sum, terms[index]!))
  tf.dispose([...sums, ...terms])
  return added
}

async function scalarValue(scalar: Tensor): Promise<number> {
  return (await takeValues(scalar))[0]!
}
