/** Rejects held-out data that a training also trains on, by comparing the tokens that both read from each file. */
import { PenstockError } from '../errors.js'
import { fileIdentity } from '../files/file-identity.js'
import type { TokenRange } from '../formats/batches.js'
import { overlapOf } from '../sampling/sample-range.js'

/** Stages that emit training samples. */
export type SampleStage = 'shuffle-samples' | 'mix-samples'

/** @param stage that reads the training data. @throws OPTION_INVALID */
export function requireHeldOutApart(
  training: readonly TokenRange[],
  heldOut: readonly TokenRange[],
  stage: SampleStage,
): void {
  const problem = overlapProblem(training, heldOut, stage)
  if (problem !== undefined) throw new PenstockError('OPTION_INVALID', problem, { path: 'held_out' })
}

/** Error message for ranges of the same file that share samples; undefined if there are none. */
export function overlapProblem(
  training: readonly TokenRange[],
  heldOut: readonly TokenRange[],
  stage: SampleStage,
): string | undefined {
  const identities = new Map([...training, ...heldOut].map(({ path }) => [path, fileIdentity(path)]))
  const overlap = overlapOf(training, heldOut, (path, other) => identities.get(path) === identities.get(other))
  if (overlap === undefined) return undefined
  const { path, start, end } = overlap
  return (
    `the held-out part overlaps the training data: both use the tokens [${start}, ${end}) of ${path}. Change from and to ` +
    `of ${stage} or held_out, or set held_out.allow_overlap`
  )
}
