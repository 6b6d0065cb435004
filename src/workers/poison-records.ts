/**
 * What becomes of a task whose worker died: it is done again by a fresh one, piece by piece (line by line, document by
 * document), so that the worker's heartbeat shows what it is at. A piece at which two workers died is poison: it is left
 * out and reported, and its neighbours are done as if it were not there.
 */
import { PenstockError, type Where } from '../errors.js'
import { WHOLE_TASK } from './heartbeat.js'
import { WorkerDeath } from './worker-function.js'

/** A piece that kills workers; what its fault says. */
export interface Poison {
  readonly piece: number
  readonly code: WorkerDeath['code']
  readonly message: string
}

/** How a worker is to do a task. */
export interface RetryMode {
  /** Begin each piece by itself, and show it on the heartbeat. */
  readonly isolateRecords: boolean
  /** Leave these out. */
  readonly poison: readonly Poison[]
}

/** So many deaths in a row at no piece twice are no matter of a piece. */
const MAX_DEATHS = 4

/**
 * Does a task until it is done; answers its reply with the pieces that were left out.
 *
 * @param run gives the task to a worker; it is called again after a WorkerDeath
 * @throws WORKER_DIED, WORKER_HUNG when workers die whatever is left out
 */
export async function runWithoutPoison<Reply>(
  run: (retry: RetryMode) => Promise<Reply>,
  where: Where = {},
): Promise<{ readonly reply: Reply; readonly poison: readonly Poison[] }> {
  const poison: Poison[] = []
  let suspect = WHOLE_TASK
  for (let deaths = 0; ; ) {
    try {
      const retry = { isolateRecords: deaths > 0 || poison.length > 0, poison: [...poison] }
      return { reply: await run(retry), poison }
    } catch (error) {
      if (!(error instanceof WorkerDeath)) throw error
      const { code, piece, message: reason } = error
      deaths++
      if (piece !== WHOLE_TASK && piece === suspect) {
        const what = code === 'WORKER_DIED' ? 'two worker threads died of this record' : 'this record takes too long'
        poison.push({ piece, code, message: `${what}: ${reason}` })
        deaths = 0
      } else if (deaths >= MAX_DEATHS) {
        throw new PenstockError(code, `${deaths} worker threads in a row were lost; the last: ${reason}`, where, error)
      }
      suspect = piece
    }
  }
}
