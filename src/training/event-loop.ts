/**
 * Computations in this process give their results as microtasks, so a training loop alone would never let the event loop
 * run: signals, timers and HTTP requests would wait until its end.
 */
import { setImmediate } from 'node:timers/promises'

/** Short enough for a request that needs several turns of the event loop to be answered at once. */
const SLICE_MS = 10

let sliceStart = performance.now()

/** Lets the event loop run once if it has not run for a time slice; call it between pieces of work. */
export async function yieldIfDue(): Promise<void> {
  if (performance.now() - sliceStart < SLICE_MS) return
  await setImmediate()
  sliceStart = performance.now()
}
