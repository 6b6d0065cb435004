/**
 * Multi-threaded learner on the wasm backend: threads split the rows of each micro batch and the update of the weights.
 * Gradients are summed in thread order, so that the same number of threads gives the same bits. All threads are workers:
 * the thread of the engine stays free for signals, metrics and input.
 */
import { isFiniteStep, type TrainingBatch, type WeightedRows } from '../engine.js'
import { type WeightSpec, weightSpecs } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import type { Learner, LearnerState, LearnerStep } from './learner.js'
import type { Weights } from './model.js'
import type { Operations } from './operations.js'
import { SharedState, type SharedStateSetup } from './shared-state.js'
import { ThreadShare, type ThreadTask } from './thread-share.js'
import { TrainingThreads } from './training-threads.js'

export async function openThreadedLearner(setup: SharedStateSetup, operations: Operations): Promise<ThreadedLearner> {
  return new ThreadedLearner(setup, operations, await SharedState.open(setup))
}

export class ThreadedLearner implements Learner {
  readonly #specs: readonly WeightSpec[]
  readonly #state: SharedState
  readonly #threads: TrainingThreads
  readonly #count: number
  /** Weights in this thread, for evaluation; created on first use. */
  #own: ThreadShare | undefined
  readonly #openOwn: () => ThreadShare

  constructor(setup: SharedStateSetup, operations: Operations, state: SharedState) {
    const { model, threads } = setup
    this.#specs = weightSpecs(model)
    this.#state = state
    this.#count = threads
    this.#openOwn = () => new ThreadShare(0, model, operations, state)
    this.#threads = new TrainingThreads({ ...setup, memory: state.memory })
  }

  weights(): Weights {
    this.#own ??= this.#openOwn()
    return this.#own.weights()
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
    const loss = await this.#run(busy, thread => ({ kind: 'gradients', groups: shares[thread]! }))
    const all = shares.map((_, thread) => thread)
    const gradientNorm = Math.sqrt(await this.#run(all, () => ({ kind: 'sum', threads: busy })))
    if (!hyper.skipNonfinite || isFiniteStep({ loss, gradientNorm })) {
      await this.#run(all, () => ({ kind: 'update', thread: busy[0]!, hyper, gradientNorm }))
    }
    return { loss, gradientNorm }
  }

  async exportState(): Promise<LearnerState> {
    const { weights, means, variances } = this.#state
    const read = (views: ReadonlyMap<string, Float32Array>) =>
      new Map(this.#specs.map(({ name, shape }) => [name, { shape, values: Float32Array.from(views.get(name)!) }]))
    return { weights: read(weights), means: read(means), variances: read(variances) }
  }

  importState(state: LearnerState): void {
    for (const part of ['weights', 'means', 'variances'] as const) {
      for (const [name, { values }] of state[part]) {
        this.#state[part].get(name)!.set(values)
      }
    }
  }

  async close(): Promise<void> {
    await this.#threads.close()
    this.#own?.dispose()
  }

  /** Runs a task on several threads in parallel; returns the sum of their results. */
  async #run(threads: readonly number[], taskOf: (thread: number) => ThreadTask): Promise<number> {
    const results = await Promise.all(threads.map(thread => this.#threads.ask(thread, taskOf(thread))))
    return results.reduce((total, value) => total + value, 0)
  }
}

/** The rows of one of several equal shares; empty with fewer rows than shares. */
function rowsOfShare(
  { inputs, targets, rows, columns }: TrainingBatch,
  share: number,
  shares: number,
): TrainingBatch[] {
  const [from, to] = [share, share + 1].map(part => Math.floor((rows * part) / shares)) as [number, number]
  if (from === to) {
    return []
  }
  // Copied, because posting a view clones its whole buffer.
  const cut = (ids: Int32Array) => ids.slice(from * columns, to * columns)
  return [{ inputs: cut(inputs), targets: cut(targets), rows: to - from, columns }]
}
