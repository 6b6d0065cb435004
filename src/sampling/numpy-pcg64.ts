/**
 * `numpy.random.default_rng(seed)`: SeedSequence and PCG64 (XSL-RR 128/64), with `Generator.shuffle` of a Python list, which
 * Modalities uses to shuffle chunks, and `Generator.permutation(n)`, which shuffles 0 to n - 1 the same way. Draws have 32
 * bits, the low half of a 64-bit output before its high half; a shuffle masks draws and rejects those out of range.
 */
import { wordsOfInteger } from './mt19937.js'
import { bitLength } from './python-random.js'
import { ascending, finish, type ShuffledItems, type Sliced, shuffleDown } from './slices.js'

export interface NumpyGenerator {
  /** An integer in [0, 2^32). */
  nextUint32(): number
  /** `Generator.shuffle` of a list, in place. Numpy draws differently for arrays. */
  shuffle<Item>(items: ShuffledItems<Item>): void
  /** `shuffle` in slices. */
  shuffling<Item>(items: ShuffledItems<Item>): Sliced<void>
  /** `Generator.permutation(length)`. */
  permutation(length: number): Uint32Array
}

export function numpyGenerator(seed: number | bigint): NumpyGenerator {
  const nextUint32 = pcg64(seedSequence(wordsOfInteger(seed), 8))

  /** An integer in [0, last]: draws as many bits as `last` has, and rejects values above it. */
  function drawUpTo(last: number): number {
    const unusedBits = 32 - bitLength(last)
    let drawn = (nextUint32() << unusedBits) >>> unusedBits
    while (drawn > last) drawn = (nextUint32() << unusedBits) >>> unusedBits
    return drawn
  }

  const shuffling = <Item>(items: ShuffledItems<Item>) => shuffleDown(items, drawUpTo)
  const shuffle = <Item>(items: ShuffledItems<Item>) => finish(shuffling(items))

  return {
    nextUint32,
    shuffle,
    shuffling,
    permutation(length) {
      const items = finish(ascending(length))
      shuffle(items)
      return items
    },
  }
}

const POOL_WORDS = 4

/** numpy's SeedSequence(entropy).generate_state(wordCount): mixes any integer into words. */
function seedSequence(entropy: Uint32Array, wordCount: number): Uint32Array {
  const hash = hasher(0x43b0d7e5, 0x931e8875)
  const pool = Uint32Array.from({ length: POOL_WORDS }, (_, index) => hash(entropy[index] ?? 0))
  for (let from = 0; from < POOL_WORDS; from++) {
    for (let to = 0; to < POOL_WORDS; to++) if (from !== to) pool[to] = mix(pool[to]!, hash(pool[from]!))
  }
  for (let from = POOL_WORDS; from < entropy.length; from++) {
    for (let to = 0; to < POOL_WORDS; to++) pool[to] = mix(pool[to]!, hash(entropy[from]!))
  }
  const output = hasher(0x8b51f9dd, 0x58f38ded)
  return Uint32Array.from({ length: wordCount }, (_, index) => output(pool[index % POOL_WORDS]!))
}

/** A hash whose constant changes with every word. */
function hasher(start: number, multiplier: number): (word: number) => number {
  let constant = start
  return word => {
    const masked = word ^ constant
    constant = Math.imul(constant, multiplier)
    const product = Math.imul(masked, constant)
    return (product ^ (product >>> 16)) >>> 0
  }
}

function mix(left: number, right: number): number {
  const mixed = Math.imul(0xca01f9dd, left) - Math.imul(0x4973f715, right)
  return (mixed ^ (mixed >>> 16)) >>> 0
}

/** 128-bit numbers are eight limbs of 16 bits, lowest first, so that sums of products stay exact in a double. */
const LIMBS = 8
type Limbs = Float64Array

const MULTIPLIER = limbsOf([0x9fccf645, 0x4385df64, 0x1fc65da4, 0x2360ed05])

/** The generator of 32-bit halves, seeded with the eight words of a SeedSequence. */
function pcg64(words: Uint32Array): () => number {
  // SeedSequence yields 64-bit numbers, low word first; each pair forms a 128-bit number, high one first.
  const start = limbsOf([words[2]!, words[3]!, words[0]!, words[1]!])
  const increment = limbsOf([words[6]!, words[7]!, words[4]!, words[5]!])
  for (let limb = LIMBS - 1; limb > 0; limb--) {
    increment[limb] = ((increment[limb]! << 1) & 0xffff) | (increment[limb - 1]! >>> 15)
  }
  increment[0] = ((increment[0]! << 1) & 0xffff) | 1

  let state = step(new Float64Array(LIMBS), increment)
  state = step(sum(state, start), increment)
  let pendingHigh: number | undefined
  return () => {
    if (pendingHigh !== undefined) {
      const high = pendingHigh
      pendingHigh = undefined
      return high
    }
    state = step(state, increment)
    const [low, high] = output(state)
    pendingHigh = high
    return low
  }
}

/** state * MULTIPLIER + increment, modulo 2^128. */
function step(state: Limbs, increment: Limbs): Limbs {
  const next = new Float64Array(LIMBS)
  let carry = 0
  for (let limb = 0; limb < LIMBS; limb++) {
    let column = carry + increment[limb]!
    for (let part = 0; part <= limb; part++) column += state[part]! * MULTIPLIER[limb - part]!
    carry = Math.floor(column / 0x10000)
    next[limb] = column - carry * 0x10000
  }
  return next
}

function sum(left: Limbs, right: Limbs): Limbs {
  const total = new Float64Array(LIMBS)
  let carry = 0
  for (let limb = 0; limb < LIMBS; limb++) {
    const column = left[limb]! + right[limb]! + carry
    carry = column >= 0x10000 ? 1 : 0
    total[limb] = column & 0xffff
  }
  return total
}

/** XSL-RR: the halves of the state combined by XOR, rotated right by its top six bits; as [low, high] words. */
function output(state: Limbs): readonly [low: number, high: number] {
  const word = (index: number): number => ((state[2 * index + 1]! << 16) | state[2 * index]!) >>> 0
  let low = word(0) ^ word(2)
  let high = word(1) ^ word(3)
  const rotation = word(3) >>> 26
  if (rotation >= 32) [low, high] = [high, low]
  const bits = rotation % 32
  if (bits === 0) return [low >>> 0, high >>> 0]
  return [((low >>> bits) | (high << (32 - bits))) >>> 0, ((high >>> bits) | (low << (32 - bits))) >>> 0]
}

/** Four 32-bit words, lowest first, as limbs. */
function limbsOf(words: readonly number[]): Limbs {
  return Float64Array.from(words.flatMap(word => [word & 0xffff, word >>> 16]))
}
