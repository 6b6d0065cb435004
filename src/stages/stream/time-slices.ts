/**
 * Runs long computations on the main thread in time slices, so that progress lines, signals and other streams are
 * served in between. Nothing waits longer than one slice and the smallest step of the work.
 */
import { setImmediate } from 'node:timers/promises'
import type { Sliced } from '../../sampling/slices.js'

const SLICE_MS = 20

export class TimeSlices {
  private readonly signal: AbortSignal
  private started = performance.now()

  constructor(signal: AbortSignal) {
    this.signal = signal
  }

  /** Whether it is time to yield to the event loop. */
  get isExpired(): boolean {
    return performance.now() - this.started >= SLICE_MS
  }

  /** Waits one turn of the event loop, then starts a new slice. @throws the reason of an abort */
  async yieldToEventLoop(): Promise<void> {
    await setImmediate()
    if (this.signal.aborted) throw this.signal.reason
    this.started = performance.now()
  }
}

/** Runs a sliced computation to its end. @throws the reason of an abort */
export async function runInSlices<Result>(work: Sliced<Result>, signal: AbortSignal): Promise<Result> {
  const slices = new TimeSlices(signal)
  for (;;) {
    const step = work.next()
    if (step.done) return step.value
    if (slices.isExpired) await slices.yieldToEventLoop()
  }
}
