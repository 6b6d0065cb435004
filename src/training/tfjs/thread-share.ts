/**
 * Work of one training thread: compute the gradients of its rows, sum its share of all gradients,
 * update its share of the weights. Tensors are in the heap of the thread's own wasm backend, which other threads cannot
 * access, so weights are copied in before a step and gradients out after it.
 */
import * as tf from '@tensorflow/tfjs-core'
import type { WeightedRows } from '../engine.js'
import type { ModelOptions } from '../options.js'
import { weightSpecs } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import { accumulateGradients, Gradients, type Weights } from './model.js'
import type { Operations } from './operations.js'
import type { SharedState } from './shared-state.js'
import { heapView } from './wasm-kernels.js'

/** Tasks of a step, in this order; the result of each is a number. */
export type ThreadTask =
  /** -> sum over the rows of loss times weight */
  | { readonly kind: 'gradients'; readonly groups: readonly WeightedRows[] }
  /** Sums the gradients of these threads -> sum of their squares */
  | { readonly kind: 'sum'; readonly threads: readonly number[] }
  | {
      readonly kind: 'update'
      /** The thread whose memory holds the sums. */
      readonly thread: number
      readonly hyper: AdamHyperparameters
      readonly gradientNorm: number
    }

export class ThreadShare {
  readonly #thread: number
  readonly #model: ModelOptions
  readonly #operations: Operations
  readonly #state: SharedState
  readonly #weights: ReadonlyMap<string, tf.Tensor>

  constructor(thread: number, model: ModelOptions, operations: Operations, state: SharedState) {
    this.#thread = thread
    this.#model = model
    this.#operations = operations
    this.#state = state
    // Kept, since the first evaluation opens the share inside `tf.tidy`.
    this.#weights = new Map(weightSpecs(model).map(({ name, shape }) => [name, tf.keep(tf.zeros([...shape]))]))
  }

  run(task: ThreadTask): number {
    switch (task.kind) {
      case 'gradients':
        return this.#computeGradients(task.groups)
      case 'sum':
        return this.#state.sumGradients(this.#thread, task.threads)
      case 'update':
        this.#state.update(this.#thread, task.thread, task.hyper, task.gradientNorm)
        return 0
    }
  }

  /** The shared weights as tensors of this thread. */
  weights(): Weights {
    for (const [name, tensor] of this.#weights) {
      heapView(tensor).set(this.#state.weights.get(name)!)
    }
    return this.#weights
  }

  dispose(): void {
    tf.dispose([...this.#weights.values()])
  }

  #computeGradients(groups: readonly WeightedRows[]): number {
    const weights = this.weights()
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
