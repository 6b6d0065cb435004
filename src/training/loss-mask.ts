/**
 * Loss mask for conversations: only targets between a begin and an end token count, excluding both tokens. Same rule as
 * Modalities' `LossMaskingCollateFnWrapper`, which masks each micro batch of each rank separately. Losses are averaged in
 * the same order: over the targets of a micro batch, then over micro batches and ranks.
 */
import { PenstockError } from '../errors.js'
import { countTargets, ignoredTarget, type TrainingBatch } from './engine.js'

export interface LossMask {
  readonly beginId: number
  readonly endId: number
  /** Samples in a micro batch of one rank. */
  readonly rows: number
  /** Number of ranks that the rows of a step are distributed to, round-robin. */
  readonly ranks: number
}

/**
 * Masks the micro batches of a step and adds a weight to each row.
 * @throws OPTION_INVALID for an end token without a begin token before it in its sample, or two of a kind in a row
 */
export function maskStep(batches: readonly TrainingBatch[], mask: LossMask): TrainingBatch[] {
  const masked = batches.map(batch => ({
    ...batch,
    targets: batch.targets.slice(),
    weights: new Float64Array(batch.rows),
  }))
  const rows = masked.flatMap(({ targets, weights, columns }) =>
    Array.from(weights, (_, row) => ({ targets: targets.subarray(row * columns, (row + 1) * columns), weights, row })),
  )
  const groups = new Map<string, typeof rows>()
  for (const [at, row] of rows.entries()) {
    const [rank, place] = [at % mask.ranks, Math.floor(at / mask.ranks)]
    const key = `${rank} ${Math.floor(place / mask.rows)}`
    groups.set(key, [...(groups.get(key) ?? []), row])
  }
  for (const group of groups.values()) {
    const targets = group.map(row => row.targets)
    maskTargets(targets, mask)
    const counted = targets.reduce((sum, row) => sum + countTargets({ targets: row }), 0)
    for (const { weights, row } of group) weights[row] = counted === 0 ? 0 : 1 / (counted * groups.size)
  }
  return masked
}

/** Masks the rows of one micro batch in place. If either token is missing from all of them, every target is ignored. */
export function maskTargets(
  rows: readonly Int32Array[],
  { beginId, endId }: Pick<LossMask, 'beginId' | 'endId'>,
): void {
  const hasBoth = rows.some(row => row.includes(beginId)) && rows.some(row => row.includes(endId))
  for (const row of rows) {
    if (hasBoth) maskRow(row, beginId, endId)
    else row.fill(ignoredTarget)
  }
}

function maskRow(targets: Int32Array, beginId: number, endId: number): void {
  let isOpen = 0
  let before = -1
  for (let at = 0; at < targets.length; at++) {
    const target = targets[at]!
    // Targets after a begin token count; the end token itself does not.
    isOpen += Number(before === beginId) - Number(target === endId)
    if (isOpen !== 0 && isOpen !== 1) {
      const what = isOpen < 0 ? `the end token ${endId} without a begin token` : `the begin token ${beginId} twice`
      const message = `a sample has ${what} at target ${at}: pack conversations padded and truncated to one block each`
      throw new PenstockError('OPTION_INVALID', message, { path: 'loss_mask' })
    }
    if (isOpen === 0) targets[at] = ignoredTarget
    before = target
  }
}
