/** Training events as lines for people. */
import type { SampleTextEvent } from '../stages/sample-texts.js'
import type { TrainingEvent } from '../training/training-events.js'
import { count, duration } from './terminal.js'

/** Undefined for events that need no line. */
export function trainingLine(event: unknown): string | undefined {
  const training = event as TrainingEvent | SampleTextEvent
  switch (training.kind) {
    case 'step': {
      const { step, totalSteps, averageLoss, learningRate, gradientNorm, tokensPerSecond, stepMs } = training
      return [
        `  step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}`,
        `loss ${averageLoss.toFixed(4)}`,
        `lr ${learningRate.toExponential(2)}`,
        `grad ${gradientNorm.toFixed(2)}`,
        `${count(tokensPerSecond)} tokens/s`,
        `${duration((totalSteps - step) * stepMs)} left`,
      ].join('  ')
    }
    case 'evaluation':
      return `  step ${training.step}: held-out loss ${training.loss.toFixed(4)} (${count(training.tokens)} tokens)`
    case 'sample-text':
      return `  step ${training.step}: ${JSON.stringify(training.text)}`
    case 'checkpoint':
      return `  step ${training.step}: saved ${training.path}`
    case 'backend':
      return `  backend ${training.backend}: ${training.reason}`
    case 'resumed':
      return `  resumed after step ${training.step} from ${training.path}`
    case 'damaged-checkpoint':
      return `  passed over a damaged checkpoint: ${training.error.toLine()}`
    case 'end':
      return training.reason === 'completed'
        ? undefined
        : `  training ${endOf(training.reason)} after step ${training.step}`
    default:
      return undefined
  }
}

const endOf = (reason: string): string => (reason === 'stopped' ? 'was stopped' : 'ran out of samples')
