/**
 * Runs asynchronous work concurrently and yields the results in input order. At most `limit` items are in flight or
 * waiting for earlier ones, which bounds memory.
 */

import { PenstockError } from '../errors.js'
import type { Batch } from '../formats/batches.js'

/**
 * @param limit maximum number of items in flight; a function may return a different value for each item
 * @param work called with each item in input order
 * @param signal stops waiting for work that may never settle
 * @throws INTERNAL when a batch number is missing
 */
export async function* inOrder<In extends Batch, Out>(
  input: AsyncIterable<In>,
  limit: number | (() => number),
  work: (item: In) => Promise<Out>,
  signal: AbortSignal,
): AsyncGenerator<Out> {
  const inFlight: Promise<Out>[] = []
  const maxInFlight = typeof limit === 'number' ? () => limit : limit
  const next = (): Promise<Out> => orAbort(inFlight.shift()!, signal)
  let expected = 0
  for await (const item of input) {
    if (item.number !== expected) {
      throw new PenstockError('INTERNAL', `batch ${item.number} arrived, expected batch ${expected}`)
    }
    expected++
    const result = work(item)
    // The rejection is handled when the result is awaited; until then it must not count as unhandled.
    result.catch(() => {})
    inFlight.push(result)
    while (inFlight.length >= maxInFlight()) yield await next()
  }
  while (inFlight.length > 0) yield await next()
}

/** Settles with the result, or rejects on abort. `Promise.race` with a long-lived promise would retain every result. */
function orAbort<Out>(result: Promise<Out>, signal: AbortSignal): Promise<Out> {
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    result.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}
