/** Runs many asynchronous operations, a bounded number at a time: each may hold a file open. */
const CONCURRENT = 16

/** Results in the order of the items. Throws the error of the first item that failed, whichever failed first in time. */
export async function mapConcurrently<Item, Result>(
  items: readonly Item[],
  map: (item: Item) => Promise<Result>,
): Promise<Result[]> {
  const results: Result[] = []
  for (let first = 0; first < items.length; first += CONCURRENT) {
    for (const outcome of await Promise.allSettled(items.slice(first, first + CONCURRENT).map(map))) {
      if (outcome.status === 'rejected') throw outcome.reason
      results.push(outcome.value)
    }
  }
  return results
}
