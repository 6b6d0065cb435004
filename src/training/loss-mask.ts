/**
 * Which targets are learnt of a conversation: those between a begin and an end token, neither of the two themselves. The
 * rule is that of the reference's `LossMaskingCollateFnWrapper`, which looks at one micro-batch of one rank at a time.
 * Losses are then averaged as there: over the targets of a micro-batch first, over micro-batches and ranks afterwards.
 */
import { PenstockError } from '../errors.js'
import { countTargets, ignoredTarget, type TrainingBatch } from './engine.js'

export interface LossMask {
  readonly beginId: number
  readonly endId: number
  /** Samples of a micro-batch of one rank. */
  readonly rows: number
  /** Ranks that the rows of a step are dealt to in turn. */
  readonly ranks: number
}

/**
 * The micro-batches of a step with the targets that do not count ignored, and with weights for the rows.
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

/** Masks the rows of one micro-batch in place. Without both tokens somewhere in them, none of their targets counts. */
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
    // What follows a begin token counts; an end token itself does not.
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
