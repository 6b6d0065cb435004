/**
 * The order in which Modalities shuffles documents and lines: Python's generator for whole files; numpy's generator,
 * with a seed hashed from the global seed, for chunks. Permutes record numbers instead of the records themselves.
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
  seed: z.int().nonnegative().optional().describe('seed of the shuffle; by default, a random seed is chosen and noted'),
  chunk: z
    .strictObject({
      number: z.int().nonnegative().describe('number of the chunk, from 0'),
      of: z.int().positive().describe('total number of chunks'),
    })
    .refine(({ number, of }) => number < of, 'number must be below of')
    .optional()
    .describe('read only this chunk of each file'),
}
export type OrderOptions = z.output<z.ZodObject<typeof orderOptions>>
export type ChunkOption = NonNullable<OrderOptions['chunk']>

/** Position in an order at which to resume. */
interface OrderCursor {
  readonly seed: number
  readonly next: number
}

export interface ShuffleOrder {
  /** A permutation of 0 to count - 1. */
  readonly order: Uint32Array
  /** Index in `order` at which to start: everything before it was done by the interrupted run. */
  readonly from: number
  /** @param next index in `order` after the last record handed on */
  markAfter(byteLength: number, next: number): Mark | undefined
}

/** The order for `count` records. Without a seed it draws one and adds a note. */
export async function shuffleOrder(
  count: number,
  { seed, chunk }: OrderOptions,
  context: StageContext,
): Promise<ShuffleOrder> {
  const { journal } = context
  const resumed = journal?.cursor<OrderCursor>()
  const actualSeed = seed ?? resumed?.seed ?? randomInt(2 ** 32)
  if (seed === undefined) context.note(`shuffled with seed ${actualSeed}`)
  const order = await runInSlices(ascending(count), context.signal)
  const generator =
    chunk === undefined ? pythonRandom(actualSeed) : numpyGenerator(chunkSeed(actualSeed, chunk.number, sha256))
  await runInSlices(generator.shuffling(order), context.signal)
  return {
    order,
    from: resumed?.next ?? 0,
    markAfter: (byteLength, next) => journal?.markAfter(byteLength, () => ({ seed: actualSeed, next })),
  }
}

function sha256(text: string): Uint8Array {
  return createHash('sha256').update(text).digest()
}
