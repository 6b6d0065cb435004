/**
 * Finds steps with a spike: a loss or gradient norm above mean + sigma standard deviations of the last steps that were taken. Its
 * state is part of a checkpoint, so that a resumed run skips the same steps.
 */
import { FINITE_LIMITS, type StepLimits } from './engine.js'
import type { TrainingOptions } from './options.js'

type SpikeOptions = NonNullable<TrainingOptions['skip_spikes']>

/** Figures of the last steps that were taken, oldest first. */
export interface SpikeState {
  readonly losses: readonly number[]
  readonly gradientNorms: readonly number[]
}

export class SpikeDetector {
  readonly #options: SpikeOptions
  #state: SpikeState

  constructor(options: SpikeOptions, state: SpikeState = { losses: [], gradientNorms: [] }) {
    this.#options = options
    this.#state = state
  }

  get state(): SpikeState {
    return this.#state
  }

  /** Limits of the next step. */
  get limits(): StepLimits {
    const { window, sigma } = this.#options
    const { losses, gradientNorms } = this.#state
    if (2 * losses.length < window) return FINITE_LIMITS
    return { loss: limitOf(losses, sigma), gradientNorm: limitOf(gradientNorms, sigma) }
  }

  /** Adds a step that was taken. */
  add({ loss, gradientNorm }: StepLimits): void {
    const { window } = this.#options
    const { losses, gradientNorms } = this.#state
    this.#state = {
      losses: [...losses, loss].slice(-window),
      gradientNorms: [...gradientNorms, gradientNorm].slice(-window),
    }
  }
}

function limitOf(values: readonly number[], sigma: number): number {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0)
  return mean + sigma * Math.sqrt(squares / (values.length - 1))
}
