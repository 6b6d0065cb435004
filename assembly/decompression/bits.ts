// Bits of Zstandard's streams. Those with values are read from their end to their start: a 64-bit word at `address`, of which
// the `used` highest bits were read. Words may reach before the start of the stream; the caller compares the position at the
// end.

/** The highest bits below `used`. `count` may be 0. */
// @ts-ignore: decorator
@inline
export function bitsOf(word: u64, used: u64, count: u64): u64 {
  return ((word << used) >> 1) >> (63 - count)
}

/** Bits of the last word of a stream that are used up: zeros and the 1 that marks the end. `last` is its last byte, not 0. */
// @ts-ignore: decorator
@inline
export function paddingBits(last: u32): u64 {
  return <u64>clz(last) - 23
}

// @ts-ignore: decorator
@inline
export function highestBit(value: u32): u32 {
  return 31 - clz(value)
}
