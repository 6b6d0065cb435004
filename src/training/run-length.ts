/** Length of a run, as plain arithmetic shared by trainer and plan. */

import { PenstockError } from '../errors.js'
import { count, quantity } from '../formats/message-words.js'
import type { TrainingOptions } from './options.js'

/** Data that one pass over the samples provides. */
export interface EpochSize {
  readonly samples: number
  /** Complete batches: the samples of an incomplete last batch are dropped in every epoch. */
  readonly batches: number
}

/**
 * Length of a run in steps, from steps, tokens or epochs.
 * @param sequenceLength tokens per sample
 * @throws DATA_TOO_SMALL
 */
export function stepsOf(
  { steps, tokens, epochs, batch_size, accumulation_steps }: TrainingOptions,
  sequenceLength: number,
  epoch: EpochSize,
): number {
  if (steps !== undefined) return steps
  const samples = tokens === undefined ? epoch.samples * (epochs ?? 1) : Math.floor(tokens / sequenceLength)
  const batches = tokens === undefined ? epoch.batches * (epochs ?? 1) : Math.floor(samples / batch_size)
  const wholeSteps = Math.floor(batches / accumulation_steps)
  if (wholeSteps === 0) {
    const needed = batch_size * accumulation_steps
    const remedy = 'add data, or reduce batch_size or accumulation_steps'
    throw new PenstockError(
      'DATA_TOO_SMALL',
      `one step needs ${quantity(needed, 'sample')}, there ${samples === 1 ? 'is' : 'are'} only ${count(samples)}: ${remedy}`,
    )
  }
  return wholeSteps
}
