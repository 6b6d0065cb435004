/**
 * A learner in a worker thread, for models too small to be split: the thread of the engine only exchanges messages, so its
 * event loop stays free for signals, metrics and the program that embeds the training. The worker has a learner of its own
 * (open-learner.ts), so the results have the bits of the calling thread.
 */
import { type TrainingBatch, type WeightedRows, withRows } from '../engine.js'
import type { NamedTensor } from '../weights.js'
import type { AdamHyperparameters } from './adamw.js'
import type { Learner, LearnerState, LearnerStep, Pause } from './learner.js'
import { buffersOf, type LearnerResult, type LearnerTask } from './learner-tasks.js'
import type { LearnerOptions } from './open-learner.js'
import { TrainingThread } from './training-threads.js'

export class LearnerThread implements Learner {
  readonly #thread: TrainingThread

  constructor(options: LearnerOptions) {
    this.#thread = new TrainingThread(options)
  }

  step(groups: readonly WeightedRows[], hyper: AdamHyperparameters): Promise<LearnerStep> {
    const copies = groups.map(({ weight, batches }) => ({ weight, batches: batches.map(copyOf) }))
    return this.#ask({ kind: 'step', groups: copies, hyper })
  }

  loss(batch: TrainingBatch): Promise<number> {
    return this.#ask({ kind: 'loss', batch: copyOf(batch) })
  }

  nextTokenLogits(ids: Int32Array): Promise<Float32Array> {
    return this.#ask({ kind: 'logits', ids: ids.slice() })
  }

  exportState(): Promise<LearnerState> {
    return this.#ask({ kind: 'export' })
  }

  async importState({ weights, means, variances }: LearnerState, pause: Pause): Promise<void> {
    const copy = async (part: LearnerState['weights']) => {
      const tensors = new Map<string, NamedTensor>()
      for (const [name, { shape, values }] of part) {
        await pause()
        tensors.set(name, { shape, values: values.slice() })
      }
      return tensors
    }
    const state = { weights: await copy(weights), means: await copy(means), variances: await copy(variances) }
    await this.#ask({ kind: 'import', state }, buffersOf(state))
  }

  close(): Promise<void> {
    return this.#thread.close()
  }

  async #ask<Task extends LearnerTask>(task: Task, transfer?: readonly ArrayBuffer[]): Promise<LearnerResult<Task>> {
    return (await this.#thread.ask(task, transfer)) as LearnerResult<Task>
  }
}

/** A batch without the rest of the memory that it is a view of, all of which a message would clone. */
function copyOf(batch: TrainingBatch): TrainingBatch {
  return withRows(batch, batch.rows, values => values.slice())
}
