/** Decides when a held-out loss no longer improves. Its state is part of a checkpoint, so that a resumed run decides alike. */
import type { TrainingOptions } from './options.js'

type EarlyStopOptions = NonNullable<TrainingOptions['early_stop']>

export interface EarlyStopState {
  /** Lowest loss so far. */
  readonly best: number
  /** Evaluations since the last improvement. */
  readonly evaluations: number
}

export class EarlyStop {
  readonly #options: EarlyStopOptions
  #state: EarlyStopState | undefined

  constructor(options: EarlyStopOptions, state: EarlyStopState | undefined) {
    this.#options = options
    this.#state = state
  }

  get state(): EarlyStopState | undefined {
    return this.#state
  }

  /** Whether the run should end. */
  get isDue(): boolean {
    return (this.#state?.evaluations ?? 0) >= this.#options.patience
  }

  add(loss: number): void {
    const { min_improvement: minimum } = this.#options
    const isBetter = this.#state === undefined || loss < this.#state.best - minimum
    this.#state = isBetter
      ? { best: loss, evaluations: 0 }
      : { best: this.#state!.best, evaluations: this.#state!.evaluations + 1 }
  }
}
