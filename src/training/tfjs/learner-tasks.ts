/** Messages to a learner in another thread: each is a call of its interface. */
import type { TrainingBatch, WeightedRows } from '../engine.js'
import type { AdamHyperparameters } from './adamw.js'
import type { Learner, LearnerState, LearnerStep } from './learner.js'

export type LearnerTask =
  | { readonly kind: 'step'; readonly groups: readonly WeightedRows[]; readonly hyper: AdamHyperparameters }
  | { readonly kind: 'loss'; readonly batch: TrainingBatch }
  | { readonly kind: 'logits'; readonly ids: Int32Array }
  | { readonly kind: 'export' }
  | { readonly kind: 'import'; readonly state: LearnerState }

export type LearnerResult<Task extends LearnerTask> = {
  readonly step: LearnerStep
  readonly loss: number
  readonly logits: Float32Array
  readonly export: LearnerState
  readonly import: undefined
}[Task['kind']]

/** Runs a task in the thread of the learner, which does nothing else: there is nothing to pause for. */
export function runTask(learner: Learner, task: LearnerTask): Promise<unknown> {
  const pause = async () => {}
  switch (task.kind) {
    case 'step':
      return learner.step(task.groups, task.hyper, pause)
    case 'loss':
      return learner.loss(task.batch)
    case 'logits':
      return learner.nextTokenLogits(task.ids)
    case 'export':
      return learner.exportState(pause)
    case 'import':
      return learner.importState(task.state, pause)
  }
}

/** Memory of a state, which a message can move instead of cloning. */
export function buffersOf({ weights, means, variances }: LearnerState): ArrayBuffer[] {
  return [weights, means, variances].flatMap(part =>
    [...part.values()].map(({ values }) => values.buffer as ArrayBuffer),
  )
}
