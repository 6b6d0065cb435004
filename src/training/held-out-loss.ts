/** Mean loss on held-out samples, independent of how they are split into batches. */
import { PenstockError } from '../errors.js'
import { yieldIfDue } from '../files/event-loop.js'
import type { BatchOfMixture, SampleBatch } from '../formats/batches.js'
import { batchOfSamples, type DocumentOptions } from './documents.js'
import { cutRows, type Engine, pickRows, rowsByWeight, type TrainingBatch, type WeightedRows } from './engine.js'
import { type LossMask, maskStep } from './loss-mask.js'

export interface HeldOutLoss {
  readonly loss: number
  /** Targets that counted. */
  readonly tokens: number
}

/** @param loss nats per token */
export function bitsPerByte(loss: number, bytesPerToken: number): number {
  return loss / Math.LN2 / bytesPerToken
}

/**
 * Mean loss over the first held-out batches.
 * @param limit.batches number of batches
 * @param limit.rows maximum rows per call of the engine
 * @param isStopped checked between calls of the engine
 * @returns undefined if it was stopped
 * @throws DATA_TOO_SMALL when no target counts
 */
export async function heldOutLoss(
  engine: Pick<Engine, 'evaluate'>,
  heldOut: AsyncIterable<SampleBatch>,
  limit: { readonly batches: number; readonly rows: number },
  documents: DocumentOptions,
  mask: LossMask | undefined,
  isStopped: () => boolean,
): Promise<HeldOutLoss | undefined> {
  let [lossSum, weightSum, tokens, batches] = [0, 0, 0, 0]
  for await (const batch of heldOut) {
    for (const { weight, rows } of weightedParts(batchOfSamples(batch, documents), limit.rows, mask)) {
      const result = await engine.evaluate(rows)
      await yieldIfDue()
      if (isStopped()) return undefined
      lossSum += result.lossSum * weight
      weightSum += result.tokens * weight
      tokens += result.tokens
    }
    batches++
    if (batches === limit.batches) {
      break
    }
  }
  if (tokens === 0) {
    throw new PenstockError('DATA_TOO_SMALL', 'the held-out samples have no counted target')
  }
  return { loss: lossSum / weightSum, tokens }
}

/** Loss of the rows of each source of a mixture, by name; sources without a counted target are left out. */
export async function lossesBySource(
  engine: Pick<Engine, 'evaluate'>,
  batch: TrainingBatch,
  { names, sources }: Pick<BatchOfMixture, 'names' | 'sources'>,
): Promise<Record<string, number>> {
  const losses: Record<string, number> = {}
  for (const source of new Set(sources)) {
    const rows = [...sources.keys()].filter(row => sources[row] === source)
    const { lossSum, tokens } = await engine.evaluate(pickRows(batch, rows))
    if (tokens > 0) losses[names[source]!] = lossSum / tokens
  }
  return losses
}

function weightedParts(
  batch: TrainingBatch,
  maxRows: number,
  mask: LossMask | undefined,
): { readonly weight: number; readonly rows: TrainingBatch }[] {
  return weighted(batch, mask).flatMap(({ weight, batches }) =>
    batches.flatMap(rows => cutRows(rows, maxRows)).map(piece => ({ weight, rows: piece })),
  )
}

/** Without a mask every target has the same weight; with one every micro batch has, as in a step. */
function weighted(batch: TrainingBatch, mask: LossMask | undefined): readonly WeightedRows[] {
  return mask === undefined ? [{ weight: 1, batches: [batch] }] : rowsByWeight(maskStep([batch], mask))
}
