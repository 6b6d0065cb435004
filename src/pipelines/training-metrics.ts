/** Translates the events of a training to the metrics and notes that sinks accept. */
import type { RunEvent } from '../monitoring/run-event.js'
import type { SampleTextEvent } from '../training/generation/sample-texts.js'
import type { TrainingEvent } from '../training/training-events.js'

/**
 * Undefined for events without a metric or note.
 * @param sequenceLength converts tokens per second to samples per second
 */
export function fromTraining(
  event: TrainingEvent | SampleTextEvent,
  time: number,
  sequenceLength: number | undefined,
): RunEvent | undefined {
  const samplesPerSecond = (group: string, tokensPerSecond: number): Record<string, number> =>
    sequenceLength === undefined ? {} : { [`${group}/samples_per_second`]: tokensPerSecond / sequenceLength }
  switch (event.kind) {
    case 'step':
      return {
        kind: 'metrics',
        time,
        step: event.step,
        durationMs: event.stepMs,
        totalSteps: event.totalSteps,
        values: {
          'train/loss': event.loss,
          'train/loss_average': event.averageLoss,
          'train/learning_rate': event.learningRate,
          'train/gradient_norm': event.gradientNorm,
          'train/tokens_per_second': event.tokensPerSecond,
          ...samplesPerSecond('train', event.tokensPerSecond),
          'train/step_ms': event.stepMs,
          'train/consumed_tokens': event.consumedTokens,
          'train/memory_mb': (event.peakMemoryBytes ?? process.memoryUsage.rss()) / 1e6,
          ...(event.utilization === undefined ? {} : { 'train/utilization': event.utilization }),
        },
      }
    case 'evaluation': {
      const group = event.name === undefined ? 'held_out' : `held_out/${event.name}`
      return {
        kind: 'metrics',
        time,
        step: event.step,
        durationMs: event.durationMs,
        values: {
          [`${group}/loss`]: event.loss,
          [`${group}/perplexity`]: Math.exp(event.loss),
          ...(event.bitsPerByte !== undefined && { [`${group}/bits_per_byte`]: event.bitsPerByte }),
          ...samplesPerSecond(group, (1000 * event.tokens) / event.durationMs),
        },
      }
    }
    case 'source-losses':
      return {
        kind: 'metrics',
        time,
        step: event.step,
        durationMs: event.durationMs,
        values: Object.fromEntries(Object.entries(event.losses).map(([name, loss]) => [`train/${name}/loss`, loss])),
      }
    case 'checkpoint':
      return { kind: 'checkpoint', time, step: event.step, path: event.path, durationMs: event.durationMs }
    case 'sample-text':
      return { kind: 'sample', time, step: event.step, text: event.text }
    case 'backend':
      return { kind: 'note', time, message: `backend ${event.backend}: ${event.reason}` }
    case 'compiling':
      return { kind: 'note', time, message: 'compiling the layers (torch.compile)' }
    case 'slow-attention':
      return { kind: 'note', time, message: event.message }
    case 'resumed':
      return { kind: 'resume', time, step: event.step, path: event.path }
    case 'diverged':
      return { kind: 'note', time, message: `diverged at step ${event.step}: loss ${event.loss.toPrecision(3)}` }
    case 'damaged-checkpoint':
      return { kind: 'note', time, message: `skipped a damaged checkpoint: ${event.error.toLine()}` }
    case 'schedule-changed': {
      const rates = `${event.previousLearningRate.toExponential(2)} to ${event.learningRate.toExponential(2)}`
      return { kind: 'note', time, message: `schedule changed at step ${event.step}: learning rate ${rates}` }
    }
    case 'skipped-step': {
      const figures = `loss ${event.loss}, gradient norm ${event.gradientNorm}`
      return { kind: 'note', time, message: `skipped step ${event.step}: ${figures}` }
    }
    default:
      return undefined
  }
}
