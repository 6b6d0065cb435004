/**
 * Synchronous work and results that come as microtasks never let the event loop run: signals, timers and HTTP requests would
 * wait until the end of a training, a check or a chain of stages.
 */
import { setImmediate } from 'node:timers/promises'

/** Short enough for a request that needs several turns of the event loop to be answered at once. */
const SLICE_MS = 10

let sliceStart = performance.now()

export const isYieldDue = (): boolean => performance.now() - sliceStart >= SLICE_MS

/** Lets the event loop run once if it has not run for a time slice; call it between pieces of work. */
export async function yieldIfDue(): Promise<void> {
  if (!isYieldDue()) return
  await setImmediate()
  sliceStart = performance.now()
}
