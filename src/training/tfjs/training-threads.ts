/** Worker threads of training. Messages carry token ids, results and, of a learner in one thread, states. */
import { Worker } from 'node:worker_threads'
import { PenstockError } from '../../errors.js'
import type { LearnerTask } from './learner-tasks.js'
import type { LearnerOptions } from './open-learner.js'
import type { SharedStateSetup } from './shared-state.js'
import type { ResultOf, ThreadTask } from './thread-share.js'

export interface TrainingWorkerData extends LearnerOptions {
  /** Of a thread that computes a share of each step: its number, from 0, and the memory of all. */
  readonly share?: { readonly thread: number; readonly threads: number; readonly memory: WebAssembly.Memory }
}

export type ThreadAnswer = { readonly value: unknown } | { readonly message: string }

/** The threads that share the work of a step. */
export class TrainingThreads {
  readonly #threads: readonly TrainingThread[]

  constructor({ model, optimizer, threads, memory }: SharedStateSetup & { readonly memory: WebAssembly.Memory }) {
    this.#threads = Array.from(
      { length: threads },
      (_, thread) => new TrainingThread({ model, optimizer, share: { thread, threads, memory } }),
    )
  }

  /** @throws WORKER_FAILED */
  async ask<Task extends ThreadTask>(thread: number, task: Task): Promise<ResultOf<Task>> {
    return (await this.#threads[thread]!.ask(task)) as ResultOf<Task>
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(thread => thread.close()))
  }
}

export class TrainingThread {
  readonly #worker: Worker
  #settle: { resolve(answer: ThreadAnswer): void; reject(error: Error): void } | undefined
  /** Set once the thread has failed. */
  #failure: PenstockError | undefined

  constructor(data: TrainingWorkerData) {
    // Options of the process, such as --input-type=module of a script on the command line, could stop the thread.
    const options = { workerData: data, execArgv: [] }
    this.#worker = new Worker(new URL('./training-worker.js', import.meta.url), options)
    this.#worker.on('message', (answer: ThreadAnswer) => this.#settle?.resolve(answer))
    this.#worker.on('error', error => this.#fail(error))
    this.#worker.on('exit', code => this.#fail(new Error(`it exited with code ${code}`)))
    // An idle thread does not keep the process alive.
    this.#worker.unref()
  }

  /**
   * @param transfer memory that moves to the thread
   * @throws WORKER_FAILED
   */
  async ask(task: ThreadTask | LearnerTask, transfer: readonly ArrayBuffer[] = []): Promise<unknown> {
    if (this.#failure !== undefined) {
      throw this.#failure
    }
    if (this.#settle !== undefined) {
      throw new PenstockError('WORKER_FAILED', 'a training thread is still busy with a failed step')
    }
    this.#worker.ref()
    try {
      const answer = await new Promise<ThreadAnswer>((resolve, reject) => {
        this.#settle = { resolve, reject }
        this.#worker.postMessage(task, transfer)
      })
      if ('message' in answer) {
        throw new PenstockError('WORKER_FAILED', `a training thread failed: ${answer.message}`)
      }
      return answer.value
    } finally {
      this.#settle = undefined
      this.#worker.unref()
    }
  }

  async close(): Promise<void> {
    await this.#worker.terminate()
  }

  #fail(error: Error): void {
    this.#failure ??= new PenstockError('WORKER_FAILED', `a training thread failed: ${error.message}`, {}, error)
    this.#settle?.reject(this.#failure)
  }
}
