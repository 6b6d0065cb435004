/** The size of a held-out part is checked before training starts, because the first evaluation may be hours later. */
import { PenstockError } from '../errors.js'
import type { TokenRange } from '../formats/batches.js'
import { samplesIn } from '../sampling/sample-range.js'

/** @throws DATA_TOO_SMALL with the remedy */
export function requireHeldOut(
  ranges: readonly TokenRange[],
  { batch_size }: { readonly batch_size: number },
  name?: string,
): void {
  const problem = heldOutProblem(samplesIn(ranges), batch_size, name)
  if (problem !== undefined) throw new PenstockError('DATA_TOO_SMALL', problem, { path: 'held_out' })
}

/** Error message for a held-out part that is too small; undefined when it is large enough. */
export function heldOutProblem(samples: number, batchSize: number, name?: string): string | undefined {
  if (samples >= batchSize) return undefined
  return (
    `the held-out part${name === undefined ? '' : ` ${name}`} has ${samples} samples, fewer than one batch of ${batchSize}: hold out more (held_out.from, and ` +
    `to of the samples to train on), or reduce batch_size or sequence_length`
  )
}
