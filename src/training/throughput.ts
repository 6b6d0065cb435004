/** The pace of a run: how long a step took, and loss and tokens a second over the steps between two reports. */

export interface ThroughputReport {
  /** Mean over the steps since the report before. */
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
   * @returns how long it took, in ms; steps in flight overlap, so not before the one before it ended
   */
  add(step: { readonly loss: number; readonly tokens: number; readonly startedAt: number }): number {
    const now = performance.now()
    const stepMs = now - Math.max(step.startedAt, this.#lastStepEndedAt)
    this.#lastStepEndedAt = now
    this.#losses.push(step.loss)
    this.#tokens += step.tokens
    return stepMs
  }

  /** Over the steps since the last report; at least one. */
  report(): ThroughputReport {
    const now = performance.now()
    const averageLoss = this.#losses.reduce((sum, loss) => sum + loss, 0) / this.#losses.length
    const tokensPerSecond = (this.#tokens / (now - this.#reportedAt)) * 1000
    this.#losses = []
    this.#tokens = 0
    this.#reportedAt = now
    return { averageLoss, tokensPerSecond }
  }

  /** Takes a pause that ends now out of the rate of tokens. */
  exclude(pausedAt: number): void {
    this.#reportedAt += performance.now() - pausedAt
  }
}
