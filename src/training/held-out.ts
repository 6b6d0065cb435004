/**
 * The part of a packed file that a training evaluates on. That it holds at least one batch is proved before anything is
 * trained, not at the first evaluation, which may be hours away.
 */
import { PenstockError } from '../errors.js'
import { openPackedFile } from '../files/packed-file.js'
import { blockGeometry } from '../sampling/block.js'

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
    const problem = heldOutProblem(samplesIn(part, file.tokenCount, model.sequence_length), batch_size)
    if (problem !== undefined) throw new PenstockError('DATA_TOO_SMALL', problem, { file: part.path, path: 'held_out' })
  } finally {
    await file.close()
  }
}

/** Samples of the part of a file of so many tokens. @throws DATA_TOO_SMALL for a file without one */
export function samplesIn({ from, to }: HeldOutPart, tokens: number, sequenceLength: number): number {
  const { count } = blockGeometry(tokens, sequenceLength, true)
  return Math.round(to * count) - Math.round(from * count)
}

/** What is wrong with a held-out part of so many samples, if anything. */
export function heldOutProblem(samples: number, batchSize: number): string | undefined {
  if (samples >= batchSize) return undefined
  return (
    `the held-out part has ${samples} samples, fewer than one batch of ${batchSize}: hold more out (held_out.from, and ` +
    `shuffle-samples' to), or make batch_size or sequence_length smaller`
  )
}
