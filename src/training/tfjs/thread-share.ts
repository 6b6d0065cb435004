/**
 * Work of one training thread: compute the gradients or the loss of its rows, sum its share of all gradients,
 * update its share of the weights. Tensors are in the heap of the thread's own wasm backend, which other threads cannot
 * access, so weights are copied in when they have changed, and gradients out after a step.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { TrainingBatch, WeightedRows } from '../engine.js'
import type { ModelOptions } from '../options.js'
import { weightSpecs } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import { KeyValueCache } from './key-value-cache.js'
import { logitsAfter } from './learner.js'
import { accumulateGradients, Gradients, lossOf, type Weights } from './model.js'
import type { Operations } from './operations.js'
import type { SharedState } from './shared-state.js'
import { heapView } from './wasm-kernels.js'

/** Tasks of a step, in this order, then those on unchanged weights. `version` is another one after each change of the weights. */
export type ThreadTask =
  /** -> sum over the rows of loss times weight */
  | { readonly kind: 'gradients'; readonly version: number; readonly groups: readonly WeightedRows[] }
  /** Sums the gradients of these threads -> sum of their squares */
  | { readonly kind: 'sum'; readonly threads: readonly number[] }
  | {
      readonly kind: 'update'
      /** The thread whose memory holds the sums. */
      readonly thread: number
      readonly hyper: AdamHyperparameters
      readonly gradientNorm: number
    }
  /** -> sum over the rows of the loss */
  | { readonly kind: 'loss'; readonly version: number; readonly batches: readonly TrainingBatch[] }
  /** -> logits of the token after the given ones, [vocab] */
  | { readonly kind: 'logits'; readonly version: number; readonly ids: Int32Array }

export type ResultOf<Task extends ThreadTask> = Task extends { readonly kind: 'logits' } ? Float32Array : number

export class ThreadShare {
  readonly #thread: number
  readonly #model: ModelOptions
  readonly #operations: Operations
  readonly #state: SharedState
  readonly #weights: ReadonlyMap<string, tf.Tensor>
  readonly #cache = new KeyValueCache()
  /** Version of the shared weights that was copied last. */
  #version: number | undefined

  constructor(thread: number, model: ModelOptions, operations: Operations, state: SharedState) {
    this.#thread = thread
    this.#model = model
    this.#operations = operations
    this.#state = state
    this.#weights = new Map(weightSpecs(model).map(({ name, shape }) => [name, tf.zeros([...shape])]))
  }

  run(task: ThreadTask): number | Float32Array {
    switch (task.kind) {
      case 'gradients':
        return this.#computeGradients(task.groups, this.#weightsAt(task.version))
      case 'sum':
        return this.#state.sumGradients(this.#thread, task.threads)
      case 'update':
        this.#state.update(this.#thread, task.thread, task.hyper, task.gradientNorm)
        return 0
      case 'loss':
        return this.#sumLosses(task.batches, this.#weightsAt(task.version))
      case 'logits':
        return tf.tidy(() => {
          const weights = this.#weightsAt(task.version)
          return logitsAfter(this.#model, weights, this.#operations, task.ids, this.#cache).dataSync<'float32'>()
        })
    }
  }

  /** The shared weights as tensors of this thread. */
  #weightsAt(version: number): Weights {
    if (version !== this.#version) {
      this.#cache.clear()
      for (const [name, tensor] of this.#weights) {
        heapView(tensor).set(this.#state.weights.get(name)!)
      }
      this.#version = version
    }
    return this.#weights
  }

  #sumLosses(batches: readonly TrainingBatch[], weights: Weights): number {
    const sums = batches.map(batch =>
      tf.tidy(() => lossOf(this.#model, weights, this.#operations, batch).dataSync<'float32'>()),
    )
    return sums.reduce((total, [sum]) => total + sum!, 0)
  }

  #computeGradients(groups: readonly WeightedRows[], weights: Weights): number {
    const gradients = new Gradients()
    let loss = 0
    for (const { weight, batches } of groups) {
      for (const batch of batches) {
        const [sum] = tf.tidy(() =>
          accumulateGradients(this.#model, weights, this.#operations, batch, weight, gradients).dataSync(),
        )
        loss += weight * sum!
      }
    }
    for (const [name, gradient] of gradients.byName) {
      this.#state.gradients[this.#thread]!.get(name)!.set(heapView(gradient))
      gradient.dispose()
    }
    return loss
  }
}
