/**
 * Long work on the main thread, in slices with everything else there: progress lines, signals, other streams. Nothing
 * waits for it longer than a turn and the shortest piece of the work.
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

  /** Whether the others should have their turn now. */
  get isExpired(): boolean {
    return performance.now() - this.started >= SLICE_MS
  }

  /** Lets them have it. @throws the reason of the abort, when there was one */
  async yieldToEventLoop(): Promise<void> {
    await setImmediate()
    if (this.signal.aborted) throw this.signal.reason
    this.started = performance.now()
  }
}

/** Runs a sliced computation in slices. @throws the reason of the abort */
export async function runInSlices<Result>(work: Sliced<Result>, signal: AbortSignal): Promise<Result> {
  const slices = new TimeSlices(signal)
  for (;;) {
    const step = work.next()
    if (step.done) return step.value
    if (slices.isExpired) await slices.yieldToEventLoop()
  }
}
