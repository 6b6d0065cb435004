/** Worker threads of the threaded learner. Messages carry token ids, single numbers and logits; the rest is in shared memory. */
import { Worker } from 'node:worker_threads'
import { PenstockError } from '../../errors.js'
import type { SharedStateSetup } from './shared-state.js'
import type { ResultOf, ThreadTask } from './thread-share.js'

export interface TrainingWorkerData extends SharedStateSetup {
  /** Number of the thread, from 0. */
  readonly thread: number
  readonly memory: WebAssembly.Memory
}

export type ThreadAnswer = { readonly value: number | Float32Array } | { readonly message: string }

interface Thread {
  readonly worker: Worker
  settle: { resolve(answer: ThreadAnswer): void; reject(error: Error): void } | undefined
  /** Set once the thread has failed. */
  failure: PenstockError | undefined
}

export class TrainingThreads {
  readonly #threads: readonly Thread[]

  constructor(setup: SharedStateSetup & { readonly memory: WebAssembly.Memory }) {
    this.#threads = Array.from({ length: setup.threads }, (_, thread) => openThread({ ...setup, thread }))
  }

  /** @throws WORKER_FAILED */
  async ask<Task extends ThreadTask>(thread: number, task: Task): Promise<ResultOf<Task>> {
    return (await ask(this.#threads[thread]!, task)) as ResultOf<Task>
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }
}

function openThread(data: TrainingWorkerData): Thread {
  const worker = new Worker(new URL('./training-worker.js', import.meta.url), { workerData: data })
  const thread: Thread = { worker, settle: undefined, failure: undefined }
  const fail = (error: Error) => {
    thread.failure ??= new PenstockError('WORKER_FAILED', `a training thread failed: ${error.message}`, {}, error)
    thread.settle?.reject(thread.failure)
  }
  worker.on('message', (answer: ThreadAnswer) => thread.settle?.resolve(answer))
  worker.on('error', fail)
  worker.on('exit', code => fail(new Error(`it exited with code ${code}`)))
  // An idle thread does not keep the process alive.
  worker.unref()
  return thread
}

async function ask(thread: Thread, task: ThreadTask): Promise<number | Float32Array> {
  const { worker, failure } = thread
  if (failure !== undefined) {
    throw failure
  }
  if (thread.settle !== undefined) {
    throw new PenstockError('WORKER_FAILED', 'a training thread is still busy with a failed step')
  }
  worker.ref()
  try {
    const answer = await new Promise<ThreadAnswer>((resolve, reject) => {
      thread.settle = { resolve, reject }
      worker.postMessage(task)
    })
    if ('message' in answer) {
      throw new PenstockError('WORKER_FAILED', `a training thread failed: ${answer.message}`)
    }
    return answer.value
  } finally {
    thread.settle = undefined
    worker.unref()
  }
}
