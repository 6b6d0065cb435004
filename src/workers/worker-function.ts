/**
 * Error protocol between workers and the main thread. A PenstockError is serialized, because structured cloning would
 * drop its code and location. Any other error is a bug or exhausted memory and leaves the worker in an unknown state,
 * so it terminates the worker, which is then replaced.
 */
import { type ErrorCode, PenstockError, type Where } from '../errors.js'
import { Heartbeat } from './heartbeat.js'

/** Message to a worker. */
export interface TaskMessage<Task> {
  readonly task: Task
  readonly heartbeat: SharedArrayBuffer
}

interface SentError {
  readonly isPenstockError: true
  readonly code: ErrorCode
  readonly message: string
  readonly where: Where
}

/** Wraps a function for export from a worker's module. */
export function workerFunction<Task, Reply>(
  work: (task: Task, heartbeat: Heartbeat) => Reply | Promise<Reply>,
): (message: TaskMessage<Task>) => Promise<Reply> {
  return async ({ task, heartbeat }) => {
    try {
      return await work(task, new Heartbeat(heartbeat))
    } catch (error) {
      if (!(error instanceof PenstockError)) return endWorker(error)
      const { code, message, where } = error
      throw { isPenstockError: true, code, message, where } satisfies SentError
    }
  }
}

/** Thrown outside of any promise, the error is uncaught and ends the thread. */
function endWorker(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error
  })
  return new Promise(() => {})
}

/** The PenstockError that a worker threw, or `undefined` when the worker died instead. */
export function receivedError(error: unknown): PenstockError | undefined {
  const sent = error as Partial<SentError> | null
  return sent?.isPenstockError === true ? new PenstockError(sent.code!, sent.message!, sent.where) : undefined
}

/** A worker died, or was terminated, in the middle of a task. */
export class WorkerDeath extends Error {
  readonly code: 'WORKER_DIED' | 'WORKER_HUNG'
  /** The record it was processing; WHOLE_TASK when unknown. */
  readonly record: number

  constructor(code: WorkerDeath['code'], record: number, reason: string, cause?: unknown) {
    super(reason, { cause })
    this.code = code
    this.record = record
  }
}
