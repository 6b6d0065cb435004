/**
 * The held-out part of a packed file. Its size is checked before training starts, because the first evaluation may be
 * hours later.
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

interface Requirements {
  readonly batch_size: number
  readonly model: { readonly sequence_length: number }
}

/** @throws DATA_TOO_SMALL with the remedy; FILE_MISSING, PBIN_INVALID */
export async function requireHeldOut(part: HeldOutPart, { batch_size, model }: Requirements): Promise<void> {
  const file = await openPackedFile(part.path)
  try {
    const problem = heldOutProblem(samplesIn(part, file.tokenCount, model.sequence_length), batch_size)
    if (problem !== undefined) throw new PenstockError('DATA_TOO_SMALL', problem, { file: part.path, path: 'held_out' })
  } finally {
    await file.close()
  }
}

/** Number of samples in the part of a file of `tokens` tokens. @throws DATA_TOO_SMALL for a file without any */
export function samplesIn({ from, to }: HeldOutPart, tokens: number, sequenceLength: number): number {
  const { count } = blockGeometry(tokens, sequenceLength, true)
  return Math.round(to * count) - Math.round(from * count)
}

/** Error message for a held-out part that is too small; undefined when it is large enough. */
export function heldOutProblem(samples: number, batchSize: number): string | undefined {
  if (samples >= batchSize) return undefined
  return (
    `the held-out part has ${samples} samples, fewer than one batch of ${batchSize}: hold out more (held_out.from, and ` +
    `shuffle-samples' to), or reduce batch_size or sequence_length`
  )
}
