/** Seeded random choices, so that each tokenizer can be generated again from its number. */
export function randomFrom(seed) {
  let state = (seed * 0x9e3779b1) >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const below = limit => Math.floor(next() * limit)
  const pick = list => list[below(list.length)]
  return {
    next,
    below,
    pick,
    chance: probability => next() < probability,
    list: (length, make) => Array.from({ length }, (_, index) => make(index)),
  }
}
