/** Entry point of a training thread: opens its own wasm backend, then runs tasks (thread-share.ts). */
import { parentPort, workerData } from 'node:worker_threads'
import { openBackend } from './backends.js'
import { SharedState } from './shared-state.js'
import { ThreadShare, type ThreadTask } from './thread-share.js'
import type { ThreadAnswer, TrainingWorkerData } from './training-threads.js'

const { thread, ...setup } = workerData as TrainingWorkerData
const backend = await openBackend('wasm')
const state = await SharedState.open(setup)
const share = new ThreadShare(thread, setup.model, backend.operationsFor(setup.model), state)

parentPort!.on('message', (task: ThreadTask) => {
  try {
    parentPort!.postMessage({ value: share.run(task) } satisfies ThreadAnswer)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    parentPort!.postMessage({ message } satisfies ThreadAnswer)
  }
})
