/**
 * How a worker's function ends, seen from both sides. A PenstockError arrives whole: thrown as it is, it would lose its
 * code and place. Any other error is a defect or exhausted memory, and leaves a worker that nobody can trust: it ends
 * with the worker, which is replaced.
 */
import { type ErrorCode, PenstockError, type Where } from '../errors.js'
import { Heartbeat } from './heartbeat.js'

/** What a worker is sent. */
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

/** Makes what a worker's module exports of a function that does its work. */
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

/** Outside of any promise the error is uncaught. */
function endWorker(error: unknown): Promise<never> {
  setImmediate(() => {
    throw error
  })
  return new Promise(() => {})
}

/** The PenstockError that a worker threw, or `undefined` when the worker ended instead. */
export function receivedError(error: unknown): PenstockError | undefined {
  const sent = error as Partial<SentError> | null
  return sent?.isPenstockError === true ? new PenstockError(sent.code!, sent.message!, sent.where) : undefined
}

/** A worker ended, or had to be ended, in the middle of a task. */
export class WorkerDeath extends Error {
  readonly code: 'WORKER_DIED' | 'WORKER_HUNG'
  /** What it was at; WHOLE_TASK when that is not known. */
  readonly piece: number

  constructor(code: WorkerDeath['code'], piece: number, reason: string, cause?: unknown) {
    super(reason, { cause })
    this.code = code
    this.piece = piece
  }
}
