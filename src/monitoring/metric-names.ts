/** What a training reports, as named numbers; and what the reference system calls the same numbers. */
import type { TrainingEvent } from '../training/trainer.js'
import type { RunEvent } from './run-event.js'

/** The reference puts the tag of the data loader and a space before each name. */
const REFERENCE_NAMES: Readonly<Record<string, string>> = {
  'train/loss': 'train train loss last',
  'train/loss_average': 'train train loss avg',
  'train/learning_rate': 'train lr mean',
  'train/gradient_norm': 'train grad norm last',
  'train/consumed_tokens': 'train consumed tokens',
  'train/samples_per_second': 'train train samples/s',
  'train/memory_mb': 'train peak memory rank 0 (MB)',
  'held_out/loss': 'val CLMCrossEntropyLoss',
  'held_out/samples_per_second': 'val evaluation_num_samples_per_second',
}

export type NameScheme = 'penstock' | 'modalities'

export function metricName(name: string, scheme: NameScheme): string {
  return scheme === 'penstock' ? name : (REFERENCE_NAMES[name] ?? name)
}

/** An event of the trainer as one that sinks know; undefined for those that tell a sink nothing. */
export function fromTraining(
  event: TrainingEvent,
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
        values: {
          'train/loss': event.loss,
          'train/loss_average': event.averageLoss,
          'train/learning_rate': event.learningRate,
          'train/gradient_norm': event.gradientNorm,
          'train/tokens_per_second': event.tokensPerSecond,
          ...samplesPerSecond('train', event.tokensPerSecond),
          'train/step_ms': event.stepMs,
          'train/consumed_tokens': event.consumedTokens,
          'train/memory_mb': process.memoryUsage.rss() / 1e6,
        },
      }
    case 'evaluation':
      return {
        kind: 'metrics',
        time,
        step: event.step,
        durationMs: event.durationMs,
        values: {
          'held_out/loss': event.loss,
          ...samplesPerSecond('held_out', (1000 * event.tokens) / event.durationMs),
        },
      }
    case 'checkpoint':
      return { kind: 'checkpoint', time, step: event.step, path: event.path, durationMs: event.durationMs }
    case 'resumed':
      return { kind: 'note', time, message: `resumed after step ${event.step} from ${event.path}` }
    case 'damaged-checkpoint':
      return { kind: 'note', time, message: `passed over a damaged checkpoint: ${event.error.toLine()}` }
    case 'end':
      return undefined
  }
}
