/** Length of a run, as plain arithmetic shared by trainer and plan. */
import { PenstockError } from '../errors.js'
import type { TrainingOptions } from './options.js'

/**
 * Length of a run in steps, from steps, tokens or epochs.
 * @param sequenceLength tokens per sample
 * @param sampleCount samples per epoch
 * @throws DATA_TOO_SMALL
 */
export function stepsOf(
  { steps, tokens, epochs, batch_size, accumulation_steps }: TrainingOptions,
  sequenceLength: number,
  sampleCount: number,
): number {
  if (steps !== undefined) {
    return steps
  }
  const samplesPerStep = batch_size * accumulation_steps
  const samples = tokens === undefined ? sampleCount * (epochs ?? 1) : Math.floor(tokens / sequenceLength)
  const wholeSteps = Math.floor(samples / samplesPerStep)
  if (wholeSteps === 0) {
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `${samples} samples are fewer than one step of ${samplesPerStep}: add data, or reduce batch_size or accumulation_steps`,
    )
  }
  return wholeSteps
}
