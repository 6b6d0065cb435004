/**
 * Runs several pieces of work at once and hands the results on in the order of their input. Never more than `limit` are
 * under way or waiting: the credits that bound memory.
 */

import { PenstockError } from '../errors.js'
import type { Batch } from '../formats/batches.js'

/**
 * @param work is given each item in turn; it must not need the item after its first `await`.
 * @param signal ends the waiting for work that may never end
 * @throws INTERNAL when a batch is missing: an error, never a wait.
 */
export async function* inOrder<In extends Batch, Out>(
  input: AsyncIterable<In>,
  limit: number,
  work: (item: In) => Promise<Out>,
  signal: AbortSignal,
): AsyncGenerator<Out> {
  const underWay: Promise<Out>[] = []
  const stopped = rejectionOn(signal)
  const next = (): Promise<Out> => Promise.race([underWay.shift()!, stopped])
  let expected = 0
  for await (const item of input) {
    if (item.number !== expected) {
      throw new PenstockError('INTERNAL', `batch ${item.number} came where ${expected} is due`)
    }
    expected++
    const result = work(item)
    // A failure is met when its turn comes; until then it must not count as unhandled.
    result.catch(() => {})
    underWay.push(result)
    if (underWay.length >= limit) yield await next()
  }
  while (underWay.length > 0) yield await next()
}

function rejectionOn(signal: AbortSignal): Promise<never> {
  const rejection = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
  rejection.catch(() => {})
  return rejection
}
