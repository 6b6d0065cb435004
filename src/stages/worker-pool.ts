/** Pools of worker threads, made and ended in one way. A task is one batch: some 40 microseconds of overhead each. */
import { availableParallelism } from 'node:os'
import { Piscina } from 'piscina'

const GRACE_MS = 1000

/** A pool whose workers run `file`, a module beside this one. They start as tasks come, up to `workers`. */
export function workerPool(file: string, workers: number): Piscina {
  return new Piscina({
    filename: new URL(file, import.meta.url).href,
    minThreads: 1,
    maxThreads: workers,
    concurrentTasksPerWorker: 1,
    // By default a worker that waits for a moment is ended, and its tables are built anew in the next.
    idleTimeout: Number.POSITIVE_INFINITY,
    // What a task allocates is short-lived or lies outside the heap; a small nursery keeps the workers small.
    resourceLimits: { maxYoungGenerationSizeMb: 4 },
  })
}

export const defaultWorkers = (): number => availableParallelism()

/**
 * Ends a pool. Tasks under way are waited for, since stopping a worker in the middle of one can lose messages of
 * others; a task that takes longer than a second is stopped all the same.
 */
export async function closePool(pool: Piscina): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<void>(resolve => {
    timer = setTimeout(() => resolve(pool.destroy()), GRACE_MS)
  })
  await Promise.race([pool.close({ force: true }), patience])
  clearTimeout(timer)
}
