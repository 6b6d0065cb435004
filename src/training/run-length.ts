/** How long a run is, as plain arithmetic: trainer and plan get the same number. */
import { PenstockError } from '../errors.js'
import type { TrainingOptions } from './options.js'

/**
 * The length of a run in steps, however it was given.
 * @param sequenceLength what a sample counts for when the length is given in tokens
 * @param sampleCount of one epoch
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
    throw new PenstockError('DATA_TOO_SMALL', `${samples} samples do not make one step of ${samplesPerStep}`)
  }
  return wholeSteps
}
