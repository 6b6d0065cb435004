/**
 * The whole jq language, by the optional package jq-web (jq compiled to WebAssembly): for filters that `formats/jq` does
 * not compile. It runs in worker threads, some five thousand records a second in each, and a record at which the filter
 * loops for ever is set aside like any faulty one.
 */
import type { FirstOutput } from '../formats/extract.js'
import type { JqSetup, JqTask } from './jq-worker.js'
import { runWithoutPoison } from './poison-records.js'
import { defaultWorkers, openWorkers, type Workers } from './worker-pool.js'

const WORKER = new URL('./jq-worker.js', import.meta.url)
/** Of the package, which each worker compiles. */
const SETUP_BYTES = 2 << 20
/** Enough that a call costs little beside them, few enough that all workers get some of a batch. */
const LINES_IN_TASK = 256

export class FullJq {
  private readonly workers: Workers

  private constructor(workers: Workers) {
    this.workers = workers
  }

  /** @throws PEER_MISSING without the package; OPTION_INVALID for what is no filter */
  static async open(filter: string): Promise<FullJq> {
    const setup: JqSetup = { filter }
    const workers = openWorkers({ file: WORKER, workers: defaultWorkers(), setup, setupBytes: SETUP_BYTES })
    try {
      await runWithoutPoison(() => workers.run('checkFilter', undefined))
      return new FullJq(workers)
    } catch (error) {
      await workers.close()
      throw error
    }
  }

  /** The first output of the filter for each line; each line is one JSON value. @throws OPTION_INVALID, WORKER_DIED */
  async firsts(lines: readonly string[]): Promise<readonly FirstOutput[]> {
    const tasks: Promise<readonly FirstOutput[]>[] = []
    for (let from = 0; from < lines.length; from += LINES_IN_TASK) {
      tasks.push(this.firstsOf(lines.slice(from, from + LINES_IN_TASK)))
    }
    return (await Promise.all(tasks)).flat()
  }

  private async firstsOf(lines: readonly string[]): Promise<readonly FirstOutput[]> {
    const { reply } = await runWithoutPoison<readonly FirstOutput[]>(retry =>
      this.workers.run('firsts', { lines, retry } satisfies JqTask),
    )
    return reply
  }

  async close(): Promise<void> {
    await this.workers.close()
  }
}
