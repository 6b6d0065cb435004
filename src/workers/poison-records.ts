/**
 * Retries a task whose worker died. The retry processes one record (line or document) at a time, so that the heartbeat
 * shows which record is being processed. A record on which two workers died is poison: it is skipped and reported, and
 * the other records are processed as if it were absent.
 */
import { PenstockError, type Where } from '../errors.js'
import { WHOLE_TASK } from './heartbeat.js'
import { WorkerDeath } from './worker-function.js'

/** A record that kills workers, with the fault to report. */
export interface Poison {
  readonly record: number
  readonly code: WorkerDeath['code']
  readonly message: string
}

/** How a worker should process a task. */
export interface RetryMode {
  /** Process one record at a time and announce each on the heartbeat. */
  readonly isolateRecords: boolean
  /** Records to skip. */
  readonly poison: readonly Poison[]
}

/** After this many consecutive deaths on different records, the cause is not a record. */
const MAX_DEATHS = 4

/**
 * Runs a task to completion; returns its reply and the records that were skipped.
 *
 * @param run sends the task to a worker; called again after a WorkerDeath
 * @throws WORKER_DIED, WORKER_HUNG when workers keep dying without a single record as the cause
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
      const { code, record, message: reason } = error
      deaths++
      if (record !== WHOLE_TASK && record === suspect) {
        const what =
          code === 'WORKER_DIED' ? 'two worker threads crashed on this record' : 'this record takes too long to process'
        poison.push({ record, code, message: `${what}: ${reason}` })
        deaths = 0
      } else if (deaths >= MAX_DEATHS) {
        throw new PenstockError(code, `${deaths} worker threads failed in a row; last failure: ${reason}`, where, error)
      }
      suspect = record
    }
  }
}
