/**
 * `torch.randperm(n, generator=torch.Generator().manual_seed(seed))` on the CPU, with identical draws. Torch has two
 * algorithms: up to about 2 * 10^8 items a forward Fisher-Yates shuffle with 32-bit draws; above, where the remainder of a
 * 32-bit draw would be biased, an inside-out shuffle with 64-bit draws. Neither can be evaluated at a single position: the
 * whole array is computed, at 4 bytes and 50 to 150 nanoseconds per item (10^9 items: 4 GB and two minutes).
 */

import { PenstockError } from '../errors.js'
import { count, quantity } from '../formats/message-words.js'
import { type MersenneTwister, twisterFromSeed } from './mt19937.js'
import { ascending, finish, SLICE_STEPS, type Sliced, swap } from './slices.js'

/** Length from which torch draws 64 bits: UINT32_MAX / 20. */
const WIDE_LENGTH = Math.floor(0xffffffff / 20)

/** Items are stored as 32-bit integers. */
const LENGTH_LIMIT = 2 ** 32

/**
 * The permutation of [0, length).
 * @throws UNSUPPORTED above 2^32 items.
 */
export function torchRandperm(length: number, seed: number | bigint, wideLength = WIDE_LENGTH): Uint32Array {
  return finish(torchRandpermSlices(length, seed, wideLength))
}

/** `torchRandperm` in slices. @throws UNSUPPORTED above 2^32 items */
export function* torchRandpermSlices(
  length: number,
  seed: number | bigint,
  wideLength = WIDE_LENGTH,
): Sliced<Uint32Array> {
  if (length > LENGTH_LIMIT) {
    throw new PenstockError(
      'UNSUPPORTED',
      `${quantity(length, 'sample')} exceed the limit of the torch order, ${count(LENGTH_LIMIT)}; use the bijective order, which has no limit`,
    )
  }
  const twister = twisterFromSeed(seed)
  return yield* length < wideLength ? shuffledForward(length, twister) : shuffledInsideOut(length, twister)
}

function* shuffledForward(length: number, twister: MersenneTwister): Sliced<Uint32Array> {
  const permutation = yield* ascending(length)
  for (let i = 0; i < length - 1; ) {
    for (const stop = Math.min(length - 1, i + SLICE_STEPS); i < stop; i++) {
      swap(permutation, i, i + (twister.nextUint32() % (length - i)))
    }
    yield
  }
  return permutation
}

function* shuffledInsideOut(length: number, twister: MersenneTwister): Sliced<Uint32Array> {
  const permutation = new Uint32Array(length)
  for (let i = 0; i < length; ) {
    for (const stop = Math.min(length, i + SLICE_STEPS); i < stop; i++) {
      const other = nextUint64Modulo(i + 1, twister)
      permutation[i] = permutation[other]!
      permutation[other] = i
    }
    yield
  }
  return permutation
}

/** A 64-bit draw, high half first, modulo `bound` in (0, 2^32]; in steps of 16 bits, so that no product exceeds 2^53. */
function nextUint64Modulo(bound: number, twister: MersenneTwister): number {
  const high = twister.nextUint32() % bound
  const low = twister.nextUint32()
  const upper = (high * 0x10000 + (low >>> 16)) % bound
  return (upper * 0x10000 + (low & 0xffff)) % bound
}
