/**
 * Multi-threaded learner on the wasm backend: threads split the rows of each micro batch and the update of the weights.
 * Gradients are summed in thread order, so that the same number of threads gives the same bits. All threads are workers:
 * the thread of the engine stays free for signals, metrics and input.
 */
import { isWithin, type TrainingBatch, type WeightedRows, withRows } from '../engine.js'
import { type NamedTensor, type WeightSpec, weightSpecs } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import type { Learner, LearnerState, LearnerStep, Pause } from './learner.js'
import { SharedState, type SharedStateSetup } from './shared-state.js'
import type { ThreadTask } from './thread-share.js'
import { TrainingThreads } from './training-threads.js'

const parts = ['weights', 'means', 'variances'] as const

export async function openThreadedLearner(setup: SharedStateSetup): Promise<ThreadedLearner> {
  return new ThreadedLearner(setup, await SharedState.open(setup))
}

export class ThreadedLearner implements Learner {
  readonly #specs: readonly WeightSpec[]
  readonly #state: SharedState
  readonly #threads: TrainingThreads
  readonly #count: number
  /** Another number after each change of the weights. */
  #version = 0

  constructor(setup: SharedStateSetup, state: SharedState) {
    this.#specs = weightSpecs(setup.model)
    this.#state = state
    this.#count = setup.threads
    this.#threads = new TrainingThreads({ ...setup, memory: state.memory })
  }

  async step(groups: readonly WeightedRows[], hyper: AdamHyperparameters): Promise<LearnerStep> {
    const shares = Array.from({ length: this.#count }, (_, thread) =>
      groups
        .map(({ weight, batches }) => ({
          weight,
          batches: batches.flatMap(batch => rowsOfShare(batch, thread, this.#count)),
        }))
        .filter(({ batches }) => batches.length > 0),
    )
    // With fewer rows than threads some have no rows and no gradients.
    const busy = shares.flatMap((share, thread) => (share.length === 0 ? [] : [thread]))
    const version = this.#version
    const loss = await this.#sum(busy, thread => ({ kind: 'gradients', version, groups: shares[thread]! }))
    const all = shares.map((_, thread) => thread)
    const gradientNorm = Math.sqrt(await this.#sum(all, () => ({ kind: 'sum', threads: busy })))
    if (hyper.limits === undefined || isWithin({ loss, gradientNorm }, hyper.limits)) {
      this.#version++
      await this.#sum(all, () => ({ kind: 'update', thread: busy[0]!, hyper, gradientNorm }))
    }
    return { loss, gradientNorm }
  }

  async loss(batch: TrainingBatch): Promise<number> {
    const shares = Array.from({ length: this.#count }, (_, thread) => rowsOfShare(batch, thread, this.#count))
    const busy = shares.flatMap((share, thread) => (share.length === 0 ? [] : [thread]))
    return this.#sum(busy, thread => ({ kind: 'loss', version: this.#version, batches: shares[thread]! }))
  }

  nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    return this.#threads.ask(0, { kind: 'logits', version: this.#version, ids })
  }

  async exportState(pause: Pause): Promise<LearnerState> {
    const read = async (part: (typeof parts)[number]) => {
      const tensors = new Map<string, NamedTensor>()
      for (const { name, shape } of this.#specs) {
        await pause()
        tensors.set(name, { shape, values: this.#state[part].get(name)!.slice() })
      }
      return tensors
    }
    return { weights: await read('weights'), means: await read('means'), variances: await read('variances') }
  }

  async importState(state: LearnerState, pause: Pause): Promise<void> {
    for (const part of parts) {
      for (const [name, { values }] of state[part]) {
        await pause()
        this.#state[part].get(name)!.set(values)
      }
    }
    this.#version++
  }

  async close(): Promise<void> {
    await this.#threads.close()
  }

  /** Runs a task on several threads in parallel; returns the sum of their results. */
  async #sum<Task extends Exclude<ThreadTask, { kind: 'logits' }>>(
    threads: readonly number[],
    taskOf: (thread: number) => Task,
  ): Promise<number> {
    const results = await Promise.all(threads.map(thread => this.#threads.ask(thread, taskOf(thread))))
    return results.reduce((total, value) => total + value, 0)
  }
}

/** The rows of one of several equal shares; empty with fewer rows than shares. */
function rowsOfShare(batch: TrainingBatch, share: number, shares: number): TrainingBatch[] {
  const { rows, columns } = batch
  const [from, to] = [share, share + 1].map(part => Math.floor((rows * part) / shares)) as [number, number]
  if (from === to) {
    return []
  }
  // Copied, because posting a view clones its whole buffer.
  return [withRows(batch, to - from, values => values.slice(from * columns, to * columns))]
}
