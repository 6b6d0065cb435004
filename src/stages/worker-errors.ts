/** Errors on their way out of a worker: a thrown PenstockError would arrive without its code and place. */
import { type ErrorCode, PenstockError, toPenstockError, type Where } from '../errors.js'

interface SentError {
  readonly isPenstockError: true
  readonly code: ErrorCode
  readonly message: string
  readonly where: Where
}

/** Wraps a worker's function so that what it throws arrives whole. */
export function sendingErrors<Task, Reply>(work: (task: Task) => Promise<Reply>): (task: Task) => Promise<Reply> {
  return async task => {
    try {
      return await work(task)
    } catch (error) {
      if (!(error instanceof PenstockError)) throw error
      const { code, message, where } = error
      throw { isPenstockError: true, code, message, where } satisfies SentError
    }
  }
}

/** What a worker threw, with its own code and place where it had them. */
export function receivedError(error: unknown, code: ErrorCode, where: Where): PenstockError {
  const sent = error as Partial<SentError> | null
  if (sent?.isPenstockError !== true) return toPenstockError(error, code, where)
  return new PenstockError(sent.code!, sent.message!, { ...where, ...sent.where }, error)
}
