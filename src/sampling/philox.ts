/**
 * Philox4x32-10, a counter-based generator (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): the numbers at
 * any place of a sequence without those before it. torch/penstock_torch/initial_weights.py computes the same.
 */

/** Numbers per block. */
export const PHILOX_NUMBERS = 4
const ROUNDS = 10
const [MULTIPLIER_0, MULTIPLIER_1] = [0xd2511f53, 0xcd9e8d57]
const [KEY_STEP_0, KEY_STEP_1] = [0x9e3779b9, 0xbb67ae85]

/**
 * Writes the four numbers, unsigned 32-bit integers, of a block.
 * @param counter four words of 32 bits, unchanged
 * @param key two words of 32 bits
 */
export function philox(counter: Uint32Array, key: Uint32Array, into: Uint32Array): void {
  let [c0, c1, c2, c3] = counter as unknown as [number, number, number, number]
  let [k0, k1] = key as unknown as [number, number]
  for (let round = 0; round < ROUNDS; round++) {
    const high0 = highProduct(MULTIPLIER_0, c0)
    const low0 = Math.imul(MULTIPLIER_0, c0)
    const high1 = highProduct(MULTIPLIER_1, c2)
    const low1 = Math.imul(MULTIPLIER_1, c2)
    c0 = (high1 ^ c1 ^ k0) >>> 0
    c1 = low1
    c2 = (high0 ^ c3 ^ k1) >>> 0
    c3 = low0
    k0 = (k0 + KEY_STEP_0) | 0
    k1 = (k1 + KEY_STEP_1) | 0
  }
  into[0] = c0
  into[1] = c1
  into[2] = c2
  into[3] = c3
}

/** Upper 32 bits of the product of two unsigned 32-bit integers. */
function highProduct(a: number, b: number): number {
  const aHigh = a >>> 16
  const aLow = a & 0xffff
  const bHigh = b >>> 16
  const bLow = b & 0xffff
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const carry = (middle & 0xffff) + aLow * bHigh
  return aHigh * bHigh + (middle >>> 16) + (carry >>> 16)
}
