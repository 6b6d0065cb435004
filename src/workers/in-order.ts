/**
 * Runs several pieces of work at once and hands the results on in the order of their input. Never more than `limit` are
 * under way or waiting: the credits that bound memory.
 */

import { PenstockError } from '../errors.js'
import type { Batch } from '../formats/batches.js'

/**
 * @param limit may change between items
 * @param work is given each item in turn
 * @param signal ends the waiting for work that may never end
 * @throws INTERNAL when a batch is missing: an error, never a wait.
 */
export async function* inOrder<In extends Batch, Out>(
  input: AsyncIterable<In>,
  limit: number | (() => number),
  work: (item: In) => Promise<Out>,
  signal: AbortSignal,
): AsyncGenerator<Out> {
  const underWay: Promise<Out>[] = []
  const most = typeof limit === 'number' ? () => limit : limit
  const next = (): Promise<Out> => unlessAborted(underWay.shift()!, signal)
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
    while (underWay.length >= most()) yield await next()
  }
  while (underWay.length > 0) yield await next()
}

/** The result, or a rejection on abort. No `Promise.race`: one with a promise that lives on would keep every result. */
function unlessAborted<Out>(result: Promise<Out>, signal: AbortSignal): Promise<Out> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
