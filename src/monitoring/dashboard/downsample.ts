/** Min-max downsampling: each bucket keeps its lowest and highest points, in order, so the curve looks the same. */

export interface Points {
  readonly steps: ArrayLike<number>
  readonly values: ArrayLike<number>
}

/**
 * Downsamples points [first, end) to at most `limit`. NaN is kept only in buckets without any number.
 */
export function downsample({ steps, values }: Points, first: number, end: number, limit: number) {
  const out = { steps: [] as number[], values: [] as number[] }
  const keep = (index: number): void => {
    out.steps.push(steps[index]!)
    out.values.push(values[index]!)
  }
  const count = end - first
  if (count <= limit) {
    for (let index = first; index < end; index++) keep(index)
    return out
  }
  const buckets = Math.max(1, Math.floor(limit / 2))
  for (let bucket = 0; bucket < buckets; bucket++) {
    const from = first + Math.floor((bucket * count) / buckets)
    const to = first + Math.floor(((bucket + 1) * count) / buckets)
    let low = from
    let high = from
    for (let index = from; index < to; index++) {
      if (Number.isNaN(values[low]!) || values[index]! < values[low]!) low = index
      if (Number.isNaN(values[high]!) || values[index]! > values[high]!) high = index
    }
    keep(Math.min(low, high))
    if (low !== high) keep(Math.max(low, high))
  }
  return out
}

/** Index of the first of `count` ascending numbers that is at least `bound`; `count` if there is none. */
export function firstAtLeast(ascending: ArrayLike<number>, count: number, bound: number): number {
  let [low, high] = [0, count]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ascending[middle]! < bound) low = middle + 1
    else high = middle
  }
  return low
}
