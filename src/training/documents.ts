/**
 * Training batches from samples that know their documents: attention stays within a document, and padding after the
 * documents of a packed row does not count in the loss.
 */
import { PenstockError } from '../errors.js'
import type { SampleBatch } from '../formats/batches.js'
import { ignoredTarget, type TrainingBatch, toTrainingBatch } from './engine.js'
import type { TrainingOptions } from './options.js'

export type DocumentOptions = Pick<TrainingOptions, 'restart_positions' | 'ignore_first_targets'>

/** @throws OPTION_INVALID for options that need document starts which the samples lack */
export function batchOfSamples(samples: SampleBatch, options: DocumentOptions): TrainingBatch {
  const { tokens, rows, block, starts, lengths } = samples
  requireStarts(samples, options)
  const batch = toTrainingBatch(tokens, rows, block)
  if (lengths !== undefined) ignorePadding(batch, lengths)
  if (starts === undefined) return batch
  if (options.ignore_first_targets) ignoreFirstTargets(batch, starts)
  const { inputs } = toTrainingBatch(starts, rows, block)
  return { ...batch, documents: { starts: inputs, restartPositions: options.restart_positions } }
}

function requireStarts({ starts }: SampleBatch, options: DocumentOptions): void {
  if (starts !== undefined) return
  for (const name of ['restart_positions', 'ignore_first_targets'] as const) {
    if (!options[name]) continue
    const message = `${name} needs samples with document starts: set documents to mask where they are read`
    throw new PenstockError('OPTION_INVALID', message, { path: name })
  }
}

/** @param lengths tokens of each row before its padding */
function ignorePadding({ targets, rows, columns }: TrainingBatch, lengths: Int32Array): void {
  for (let row = 0; row < rows; row++) {
    targets.fill(ignoredTarget, row * columns + Math.max(0, lengths[row]! - 1), (row + 1) * columns)
  }
}

/** @param starts place in the block at which the document of each token starts, [rows, columns + 1] */
function ignoreFirstTargets({ targets, rows, columns }: TrainingBatch, starts: Int32Array): void {
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const token = column + 1
      if (starts[row * (columns + 1) + token] === token) targets[row * columns + column] = ignoredTarget
    }
  }
}
