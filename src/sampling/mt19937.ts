/**
 * The Mersenne Twister MT19937 (Matsumoto and Nishimura 1998), 32-bit outputs, with both of its seedings:
 * `init_genrand` as torch's CPU generator seeds it, `init_by_array` as Python's `random.Random` does.
 * State: 624 words. A draw costs a few nanoseconds.
 */

/** Size of the state in words, and offset of the recurrence. */
const STATE_WORDS = 624
const SHIFT_WORDS = 397

export interface MersenneTwister {
  /** An integer in [0, 2^32). */
  nextUint32(): number
}

/** Seeded with one word, as `torch.Generator().manual_seed(seed)`: only the low 32 bits of the seed count. */
export function twisterFromSeed(seed: number | bigint): MersenneTwister {
  return makeTwister(stateFromSeed(Number(BigInt.asUintN(32, BigInt(seed)))))
}

/** Seeded with an array of words, as Python's `random.Random(int)`: the magnitude in 32-bit words, lowest first. */
export function twisterFromInteger(seed: number | bigint): MersenneTwister {
  return makeTwister(stateFromKey(wordsOfInteger(seed)))
}

/** The magnitude of an integer as 32-bit words, lowest first; at least one word. */
export function wordsOfInteger(value: number | bigint): Uint32Array {
  const words: number[] = []
  let rest = BigInt(value)
  if (rest < 0n) rest = -rest
  do {
    words.push(Number(rest & 0xffffffffn))
    rest >>= 32n
  } while (rest > 0n)
  return Uint32Array.from(words)
}

function stateFromSeed(seed: number): Uint32Array {
  const state = new Uint32Array(STATE_WORDS)
  state[0] = seed
  for (let i = 1; i < STATE_WORDS; i++) state[i] = Math.imul(1812433253, mixed(state[i - 1]!)) + i
  return state
}

function stateFromKey(key: Uint32Array): Uint32Array {
  const state = stateFromSeed(19650218)
  let at = 1
  const advance = (): void => {
    at++
    if (at < STATE_WORDS) return
    state[0] = state[STATE_WORDS - 1]!
    at = 1
  }
  for (let step = 0; step < Math.max(STATE_WORDS, key.length); step++) {
    const word = step % key.length
    state[at] = (state[at]! ^ Math.imul(mixed(state[at - 1]!), 1664525)) + key[word]! + word
    advance()
  }
  for (let step = 0; step < STATE_WORDS - 1; step++) {
    state[at] = (state[at]! ^ Math.imul(mixed(state[at - 1]!), 1566083941)) - at
    advance()
  }
  state[0] = 0x80000000
  return state
}

function mixed(word: number): number {
  return word ^ (word >>> 30)
}

function makeTwister(state: Uint32Array): MersenneTwister {
  let next = STATE_WORDS
  return {
    nextUint32() {
      if (next === STATE_WORDS) {
        renew(state)
        next = 0
      }
      return temper(state[next++]!)
    },
  }
}

/** Replaces all words of the state by the next 624 of the recurrence. */
function renew(state: Uint32Array): void {
  for (let i = 0; i < STATE_WORDS; i++) {
    const joined = (state[i]! & 0x80000000) | (state[(i + 1) % STATE_WORDS]! & 0x7fffffff)
    const twisted = (joined >>> 1) ^ (joined & 1 ? 0x9908b0df : 0)
    state[i] = state[(i + SHIFT_WORDS) % STATE_WORDS]! ^ twisted
  }
}

function temper(word: number): number {
  let tempered = word ^ (word >>> 11)
  tempered ^= (tempered << 7) & 0x9d2c5680
  tempered ^= (tempered << 15) & 0xefc60000
  return (tempered ^ (tempered >>> 18)) >>> 0
}
