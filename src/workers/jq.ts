/**
 * Full jq, through the optional package jq-web (jq compiled to WebAssembly), for filters that `formats/jq` cannot
 * compile. Runs in worker threads at about 5,000 records per second each. A record that makes the filter loop endlessly
 * is a faulty record.
 */
import type { FirstOutput } from '../formats/extract.js'
import type { JqSetup, JqTask } from './jq-worker.js'
import { runWithoutPoison } from './poison-records.js'
import { defaultWorkers, openWorkers, type Workers } from './worker-pool.js'

const WORKER = new URL('./jq-worker.js', import.meta.url)
/** Size of the package, which each worker compiles. */
const SETUP_BYTES = 2 << 20
/** Large enough to amortize a call, small enough to spread a batch over all workers. */
const LINES_PER_TASK = 256

export class FullJq {
  private readonly workers: Workers

  private constructor(workers: Workers) {
    this.workers = workers
  }

  /** @throws PEER_MISSING without the package; OPTION_INVALID for an invalid filter */
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
  async firstOutputs(lines: readonly string[]): Promise<readonly FirstOutput[]> {
    const tasks: Promise<readonly FirstOutput[]>[] = []
    for (let from = 0; from < lines.length; from += LINES_PER_TASK) {
      tasks.push(this.runOn(lines.slice(from, from + LINES_PER_TASK)))
    }
    return (await Promise.all(tasks)).flat()
  }

  private async runOn(lines: readonly string[]): Promise<readonly FirstOutput[]> {
    const { reply } = await runWithoutPoison<readonly FirstOutput[]>(retry =>
      this.workers.run('firstOutputs', { lines, retry } satisfies JqTask),
    )
    return reply
  }

  async close(): Promise<void> {
    await this.workers.close()
  }
}
