/**
 * The held-out part of a packed file. Its size is checked before training starts, because the first evaluation may be
 * hours later.
 */
import { PenstockError } from '../errors.js'
import { openPackedFile } from '../files/packed-file.js'
import { blockGeometry } from '../sampling/block.js'

export interface HeldOutPart {
  readonly path: string
  readonly more_paths?: readonly string[] | undefined
  /** Start and end of the part, as fractions of the samples of all files. */
  readonly from: number
  readonly to: number
  /** The model's when absent. */
  readonly sequence_length?: number | undefined
  readonly reuse_last_target?: boolean
}

interface Requirements {
  readonly batch_size: number
  readonly model: { readonly sequence_length: number }
}

/** @throws DATA_TOO_SMALL with the remedy; FILE_MISSING, PBIN_INVALID */
export async function requireHeldOut(part: HeldOutPart, { batch_size, model }: Requirements): Promise<void> {
  const tokens: number[] = []
  for (const path of filesOf(part)) {
    const file = await openPackedFile(path)
    await file.close()
    tokens.push(file.tokenCount)
  }
  const problem = heldOutProblem(samplesIn(part, tokens, model.sequence_length), batch_size)
  if (problem !== undefined) throw new PenstockError('DATA_TOO_SMALL', problem, { file: part.path, path: 'held_out' })
}

export function filesOf({ path, more_paths = [] }: HeldOutPart): readonly string[] {
  return [path, ...more_paths]
}

/**
 * Number of held-out samples.
 * @param tokens number of tokens in each file
 * @throws DATA_TOO_SMALL for a file without any sample
 */
export function samplesIn(part: HeldOutPart, tokens: readonly number[], modelSequenceLength: number): number {
  const { from, to, sequence_length = modelSequenceLength, reuse_last_target = true } = part
  const counts = tokens.map(count => blockGeometry(count, sequence_length, reuse_last_target).count)
  const total = counts.reduce((sum, count) => sum + count, 0)
  return Math.round(to * total) - Math.round(from * total)
}

/** Error message for a held-out part that is too small; undefined when it is large enough. */
export function heldOutProblem(samples: number, batchSize: number): string | undefined {
  if (samples >= batchSize) return undefined
  return (
    `the held-out part has ${samples} samples, fewer than one batch of ${batchSize}: hold out more (held_out.from, and ` +
    `shuffle-samples' to), or reduce batch_size or sequence_length`
  )
}
