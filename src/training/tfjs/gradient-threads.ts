/**
 * Threads that share the rows of each micro batch. Weights and gradients lie in shared memory, one array each; messages
 * carry token ids and losses only. Gradients are added in the order of the threads, so that the same number of threads
 * gives the same bits.
 */
import { Worker } from 'node:worker_threads'
import { PenstockError } from '../../errors.js'
import type { TrainingBatch } from '../engine.js'
import type { ModelOptions } from '../options.js'
import { parameterCount } from '../weights.js'

export interface GradientWorkerData {
  readonly model: ModelOptions
  /** All weights, one after the other, in the order of `weightSpecs`. */
  readonly weights: SharedArrayBuffer
  readonly gradients: SharedArrayBuffer
}

export interface GradientTask {
  readonly batches: readonly TrainingBatch[]
  readonly scale: number
}

export type GradientAnswer = { readonly lossSum: number } | { readonly message: string }

export interface ThreadGradients {
  readonly lossSum: number
  /** All gradients, one after the other; good until the next task. */
  readonly values: Float32Array
}

interface Thread {
  readonly worker: Worker
  readonly gradients: Float32Array
  settle: { resolve(answer: GradientAnswer): void; reject(error: Error): void } | undefined
  /** Why it cannot be asked any more. */
  failure: PenstockError | undefined
}

export class GradientThreads {
  /** Where the engine puts the weights before each step. */
  readonly weights: Float32Array
  readonly #threads: readonly Thread[]

  constructor(model: ModelOptions, count: number) {
    const bytes = parameterCount(model) * Float32Array.BYTES_PER_ELEMENT
    const weights = new SharedArrayBuffer(bytes)
    this.weights = new Float32Array(weights)
    this.#threads = Array.from({ length: count }, () => {
      const gradients = new SharedArrayBuffer(bytes)
      return openThread({ model, weights, gradients })
    })
  }

  /**
   * Starts computing; the first share of the rows is left to the caller.
   * @returns the caller's share, and what the threads find
   */
  start(
    batches: readonly TrainingBatch[],
    scale: number,
  ): { own: readonly TrainingBatch[]; others: Promise<ThreadGradients[]> } {
    const shares = this.#threads.length + 1
    const others = this.#threads.map((thread, index) => {
      const share = batches.flatMap(batch => rowsOfShare(batch, index + 1, shares))
      return share.length === 0 ? [] : [ask(thread, { batches: share, scale })]
    })
    const all = Promise.all(others.flat())
    // Should the caller's own share fail, nobody waits for the others.
    all.catch(() => {})
    return { own: batches.flatMap(batch => rowsOfShare(batch, 0, shares)), others: all }
  }

  async close(): Promise<void> {
    await Promise.all(this.#threads.map(({ worker }) => worker.terminate()))
  }
}

function openThread(data: GradientWorkerData): Thread {
  const worker = new Worker(new URL('./gradient-worker.js', import.meta.url), { workerData: data })
  const thread: Thread = { worker, gradients: new Float32Array(data.gradients), settle: undefined, failure: undefined }
  const fail = (error: Error) => {
    thread.failure ??= new PenstockError('WORKER_FAILED', `a gradient thread failed: ${error.message}`, {}, error)
    thread.settle?.reject(thread.failure)
  }
  worker.on('message', (answer: GradientAnswer) => thread.settle?.resolve(answer))
  worker.on('error', fail)
  worker.on('exit', code => fail(new Error(`it ended with code ${code}`)))
  // An idle thread does not keep the process alive.
  worker.unref()
  return thread
}

async function ask(thread: Thread, task: GradientTask): Promise<ThreadGradients> {
  const { worker, failure } = thread
  if (failure !== undefined) {
    throw failure
  }
  if (thread.settle !== undefined) {
    throw new PenstockError('WORKER_FAILED', 'a gradient thread still works on a step that failed')
  }
  worker.ref()
  try {
    const answer = await new Promise<GradientAnswer>((resolve, reject) => {
      thread.settle = { resolve, reject }
      worker.postMessage(task)
    })
    if ('message' in answer) {
      throw new PenstockError('WORKER_FAILED', `a gradient thread failed: ${answer.message}`)
    }
    return { lossSum: answer.lossSum, values: thread.gradients }
  } finally {
    thread.settle = undefined
    worker.unref()
  }
}

/** The rows of one of several equal shares; none when the rows do not go round. */
function rowsOfShare(
  { inputs, targets, rows, columns }: TrainingBatch,
  share: number,
  shares: number,
): TrainingBatch[] {
  const [from, to] = [share, share + 1].map(part => Math.floor((rows * part) / shares)) as [number, number]
  if (from === to) {
    return []
  }
  // Copies: a message takes the whole buffer of a view along.
  const cut = (ids: Int32Array) => ids.slice(from * columns, to * columns)
  return [{ inputs: cut(inputs), targets: cut(targets), rows: to - from, columns }]
}
