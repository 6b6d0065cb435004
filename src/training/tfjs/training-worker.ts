/** Entry point of a training thread: opens its own wasm backend, then runs tasks on its share of a step or on its learner. */
import { parentPort, workerData } from 'node:worker_threads'
import { openBackend } from './backends.js'
import type { LearnerState } from './learner.js'
import { buffersOf, type LearnerTask, runTask } from './learner-tasks.js'
import { openLearner } from './open-learner.js'
import { SharedState } from './shared-state.js'
import { ThreadShare, type ThreadTask } from './thread-share.js'
import type { ThreadAnswer, TrainingWorkerData } from './training-threads.js'

const data = workerData as TrainingWorkerData
const backend = await openBackend('wasm')
const run = (data.share === undefined ? tasksOfLearner() : await tasksOfShare(data, data.share)) as (
  task: ThreadTask | LearnerTask,
) => unknown

parentPort!.on('message', async (task: ThreadTask | LearnerTask) => {
  try {
    const value = await run(task)
    const transfer = task.kind === 'export' ? buffersOf(value as LearnerState) : []
    parentPort!.postMessage({ value } satisfies ThreadAnswer, transfer)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    parentPort!.postMessage({ message } satisfies ThreadAnswer)
  }
})

async function tasksOfShare(
  { model, optimizer }: TrainingWorkerData,
  { thread, threads, memory }: NonNullable<TrainingWorkerData['share']>,
): Promise<(task: ThreadTask) => unknown> {
  const state = await SharedState.open({ model, optimizer, threads, memory })
  const share = new ThreadShare(thread, model, backend.operationsFor(model), state)
  return task => share.run(task)
}

function tasksOfLearner(): (task: LearnerTask) => Promise<unknown> {
  const learner = openLearner(data, backend)
  return task => runTask(learner, task)
}
