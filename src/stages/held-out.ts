/**
 * The part of a packed file that a training evaluates on. That it holds at least one batch is proved before anything is
 * trained, not at the first evaluation, which may be hours away.
 */
import { PenstockError } from '../errors.js'
import { openPackedFile } from './packed-file.js'
import { chosenPart } from './shuffle-samples.js'

export interface HeldOutPart {
  readonly path: string
  /** Start and end of the part, as fractions of the file's samples. */
  readonly from: number
  readonly to: number
}

interface Needs {
  readonly batch_size: number
  readonly model: { readonly sequence_length: number }
}

/** @throws DATA_TOO_SMALL with what would help; FILE_MISSING, PBIN_INVALID */
export async function requireHeldOut(part: HeldOutPart, { batch_size, model }: Needs): Promise<void> {
  const file = await openPackedFile(part.path)
  try {
    const { count } = chosenPart(file, { ...part, sequence_length: model.sequence_length, reuse_last_target: true })
    const problem = heldOutProblem(count, batch_size)
    if (problem !== undefined) throw new PenstockError('DATA_TOO_SMALL', problem, { file: part.path, path: 'held_out' })
  } finally {
    await file.close()
  }
}

/** What is wrong with a held-out part of so many samples, if anything. */
export function heldOutProblem(samples: number, batchSize: number): string | undefined {
  if (samples >= batchSize) return undefined
  return (
    `the held-out part has ${samples} samples, fewer than one batch of ${batchSize}: hold more out (held_out.from, and ` +
    `shuffle-samples' to), or make batch_size or sequence_length smaller`
  )
}
