/**
 * A shuffle of [0, length) that needs no memory: a keyed bijection evaluated at one position in constant time. A generalised
 * Feistel network over a grid of rows x columns (Black and Rogaway 2002, method 3) holding at least `length` cells; a result
 * outside [0, length) is fed back ("cycle walking"), which is rare because the grid is at most one column longer.
 * The default order of samples: 10^9 of them cost nothing at start.
 */

/** Enough for a uniform distribution of permutations even of a few items; a round costs two nanoseconds. */
const ROUNDS = 8

export interface Bijection {
  readonly length: number
  /** Image of `position`, both in [0, length); distinct for distinct positions. */
  at(position: number): number
}

/** Lengths up to 2^53; each (seed, epoch, stream) gives a different shuffle. @param stream 32 bits */
export function bijection(length: number, seed: number, epoch = 0, stream = 0): Bijection {
  const keys = roundKeys(seed, epoch, stream)
  const columns = Math.max(1, Math.ceil(Math.sqrt(length)))
  const rows = Math.max(1, Math.ceil(length / columns))

  function permuteCell(cell: number): number {
    let row = Math.floor(cell / columns)
    let column = cell - row * columns
    for (let round = 0; round < ROUNDS; round += 2) {
      row = (row + scramble(column, keys[round]!)) % rows
      column = (column + scramble(row, keys[round + 1]!)) % columns
    }
    return row * columns + column
  }

  return {
    length,
    at(position) {
      let cell = permuteCell(position)
      while (cell >= length) cell = permuteCell(cell)
      return cell
    },
  }
}

function roundKeys(seed: number, epoch: number, stream: number): Uint32Array {
  let state = scramble(seed >>> 0, scramble(Math.floor(seed / 2 ** 32) >>> 0, 0x9e3779b9))
  state = scramble(epoch >>> 0, state)
  if (stream !== 0) state = scramble(stream, state)
  return Uint32Array.from({ length: ROUNDS }, (_, round) => {
    state = scramble(round + 1, state)
    return state
  })
}

/** A keyed 32-bit hash: MurmurHash3's finaliser, twice, with the key added between. */
function scramble(value: number, key: number): number {
  return finalise(finalise(value ^ key) + key)
}

function finalise(value: number): number {
  let hash = value ^ (value >>> 16)
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
