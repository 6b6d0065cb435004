/**
 * Long computations cut into slices: a generator that yields between them, so that whoever runs it may let others have
 * their turn, and that returns the result. The slices are short, some thousand steps.
 */

export type Sliced<Result> = Generator<void, Result, void>

/** Steps of a slice: some tenths of a millisecond. */
export const SLICE_STEPS = 1 << 13

/** Runs a computation to its end at once. */
export function finish<Result>(work: Sliced<Result>): Result {
  for (;;) {
    const step = work.next()
    if (step.done) return step.value
  }
}

/** An array or typed array whose items are moved about. */
export interface ShuffledItems<Item> {
  readonly length: number
  [index: number]: Item
}

/**
 * The shuffle of Fisher and Yates from the last item down, in place.
 * @param drawUpTo gives a number of [0, last]
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

/** 0 to length - 1. */
export function* ascending(length: number): Sliced<Uint32Array> {
  const numbers = new Uint32Array(length)
  for (let number = 0; number < length; ) {
    for (const stop = Math.min(length, number + SLICE_STEPS); number < stop; number++) numbers[number] = number
    yield
  }
  return numbers
}
