/**
 * Long computations in slices: a generator that yields after every few thousand steps, so that its caller can give way to
 * the event loop, and returns the result.
 */

export type Sliced<Result> = Generator<void, Result, void>

/** Steps per slice, which take a few tenths of a millisecond. */
export const SLICE_STEPS = 1 << 13

/** Runs a computation to completion without a pause. */
export function finish<Result>(work: Sliced<Result>): Result {
  for (;;) {
    const step = work.next()
    if (step.done) return step.value
  }
}

/** An array or typed array that is permuted in place. */
export interface ShuffledItems<Item> {
  readonly length: number
  [index: number]: Item
}

/**
 * Fisher-Yates shuffle in place, from the last item down.
 * @param drawUpTo returns a random integer in [0, last]
 */
export function* shuffleDown<Item>(items: ShuffledItems<Item>, drawUpTo: (last: number) => number): Sliced<void> {
  for (let last = items.length - 1; last > 0; ) {
    for (const stop = Math.max(0, last - SLICE_STEPS); last > stop; last--) swap(items, last, drawUpTo(last))
    yield
  }
}

export function swap<Item>(items: ShuffledItems<Item>, first: number, second: number): void {
  const kept = items[first]!
  items[first] = items[second]!
  items[second] = kept
}

/** The integers 0 to length - 1. */
export function* ascending(length: number): Sliced<Uint32Array> {
  const numbers = new Uint32Array(length)
  for (let number = 0; number < length; ) {
    for (const stop = Math.min(length, number + SLICE_STEPS); number < stop; number++) numbers[number] = number
    yield
  }
  return numbers
}
