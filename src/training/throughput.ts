/** Throughput of a run: duration of each step; mean loss and tokens per second between two reports. */

export interface ThroughputReport {
  /** Mean over the steps since the previous report. */
  readonly averageLoss: number
  readonly tokensPerSecond: number
}

export class Throughput {
  #losses: number[] = []
  #tokens = 0
  #reportedAt = performance.now()
  #lastStepEndedAt = 0

  /**
   * Counts a step that has just ended.
   * @returns its duration in ms; because steps in flight overlap, measured from the end of the previous step
   */
  add(step: { readonly loss: number; readonly tokens: number; readonly startedAt: number }): number {
    const now = performance.now()
    const stepMs = now - Math.max(step.startedAt, this.#lastStepEndedAt)
    this.#lastStepEndedAt = now
    this.#losses.push(step.loss)
    this.#tokens += step.tokens
    return stepMs
  }

  /** Figures since the last report; at least one step must have been added. */
  report(): ThroughputReport {
    const now = performance.now()
    const averageLoss = this.#losses.reduce((sum, loss) => sum + loss, 0) / this.#losses.length
    const tokensPerSecond = (this.#tokens / (now - this.#reportedAt)) * 1000
    this.#losses = []
    this.#tokens = 0
    this.#reportedAt = now
    return { averageLoss, tokensPerSecond }
  }

  /** Excludes a pause that ends now from the tokens per second. */
  exclude(pausedAt: number): void {
    this.#reportedAt += performance.now() - pausedAt
  }
}
