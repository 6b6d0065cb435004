/**
 * The order in which the reference system shuffles documents and lines: Python's generator for whole files, numpy's, with
 * a seed hashed from the global one, for chunks. Both permute a list of all of them; here a list of their numbers.
 */
import { createHash, randomInt } from 'node:crypto'
import * as z from 'zod'
import type { Mark } from '../../formats/batches.js'
import { chunkSeed } from '../../sampling/chunk.js'
import { numpyGenerator } from '../../sampling/numpy-pcg64.js'
import { pythonRandom } from '../../sampling/python-random.js'
import { ascending } from '../../sampling/slices.js'
import type { StageContext } from './stage.js'
import { runInSlices } from './time-slices.js'

export const orderOptions = {
  seed: z.int().nonnegative().optional().describe('the same seed gives the same order; one is drawn when absent'),
  chunk: z
    .strictObject({
      number: z.int().nonnegative().describe('which chunk, from 0'),
      of: z.int().positive().describe('how many chunks there are'),
    })
    .refine(({ number, of }) => number < of, 'number must be below of')
    .optional()
    .describe('take only this share of each file'),
}
export type OrderOptions = z.output<z.ZodObject<typeof orderOptions>>
export type ChunkOption = NonNullable<OrderOptions['chunk']>

/** Where an order is to be gone on with. */
interface OrderCursor {
  readonly seed: number
  readonly next: number
}

export interface ShuffleOrder {
  /** A permutation of 0 to count - 1. */
  readonly order: Uint32Array
  /** What of it was done before. */
  readonly from: number
  /** @param next what of it is done */
  markAfter(byteLength: number, next: number): Mark | undefined
}

/** The order for this many documents. Without a seed it draws one, and notes it. */
export async function shuffleOrder(
  count: number,
  { seed, chunk }: OrderOptions,
  context: StageContext,
): Promise<ShuffleOrder> {
  const { journal } = context
  const left = journal?.cursor<OrderCursor>()
  const chosen = seed ?? left?.seed ?? randomInt(2 ** 32)
  if (seed === undefined) context.note(`the order has the seed ${chosen}`)
  const order = await runInSlices(ascending(count), context.signal)
  const generator = chunk === undefined ? pythonRandom(chosen) : numpyGenerator(chunkSeed(chosen, chunk.number, sha256))
  await runInSlices(generator.shuffling(order), context.signal)
  return {
    order,
    from: left?.next ?? 0,
    markAfter: (byteLength, next) => journal?.markAfter(byteLength, () => ({ seed: chosen, next })),
  }
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
