/**
 * CPython's `random.Random(seed)` for an integer seed: `getrandbits`, `random`, `shuffle` and the weighted `choices`, with
 * identical draws. Modalities uses it to shuffle packed files and JSONL lines and to split instruction data.
 */
import { twisterFromInteger } from './mt19937.js'
import { finish, type ShuffledItems, type Sliced, shuffleDown } from './slices.js'

export interface PythonRandom {
  /** An integer in [0, 2^bits), for bits in [1, 53]. */
  getrandbits(bits: number): number
  /** A float in [0, 1) with 53 random bits. */
  random(): number
  /** Shuffles in place. */
  shuffle<Item>(items: ShuffledItems<Item>): void
  /** `shuffle` in slices. */
  shuffling<Item>(items: ShuffledItems<Item>): Sliced<void>
  /** `choices(range(n), weights)[0]`: an index into the weights. */
  choose(weights: readonly number[]): number
}

export function pythonRandom(seed: number | bigint): PythonRandom {
  const twister = twisterFromInteger(seed)

  function getrandbits(bits: number): number {
    if (bits <= 32) return twister.nextUint32() >>> (32 - bits)
    const low = twister.nextUint32()
    return (twister.nextUint32() >>> (64 - bits)) * 2 ** 32 + low
  }

  function randbelow(bound: number): number {
    const bits = bitLength(bound)
    let drawn = getrandbits(bits)
    while (drawn >= bound) drawn = getrandbits(bits)
    return drawn
  }

  function random(): number {
    const high = twister.nextUint32() >>> 5
    const low = twister.nextUint32() >>> 6
    return (high * 2 ** 26 + low) / 2 ** 53
  }

  const shuffling = <Item>(items: ShuffledItems<Item>) => shuffleDown(items, last => randbelow(last + 1))

  return {
    getrandbits,
    random,
    shuffle: items => finish(shuffling(items)),
    shuffling,
    choose(weights) {
      const total = weights.reduce((sum, weight) => sum + weight, 0)
      const drawn = random() * total
      let reached = 0
      for (let index = 0; index < weights.length - 1; index++) {
        reached += weights[index]!
        if (drawn < reached) return index
      }
      return weights.length - 1
    },
  }
}

/** Python's `int.bit_length`, for [0, 2^53). */
export function bitLength(value: number): number {
  const high = Math.floor(value / 2 ** 32)
  return high > 0 ? 64 - Math.clz32(high) : 32 - Math.clz32(value)
}
