// Copies in units of 8 and 16 bytes.

/** Reads and writes up to 16 bytes more. */
// @ts-ignore: decorator
@inline
export function copyForward(to: usize, from: usize, count: usize): void {
  const end = to + count
  do {
    store<u64>(to, load<u64>(from))
    store<u64>(to, load<u64>(from, 8), 8)
    to += 16
    from += 16
  } while (to < end)
}

/** Closer than 16 bytes: repeats bytes that it writes. */
function copyRepeated(to: usize, offset: usize, count: usize): void {
  const end = to + count
  let from = to - offset
  if (offset >= 8) {
    do {
      store<u64>(to, load<u64>(from))
      to += 8
      from += 8
    } while (to < end)
    return
  }
  const bits = <u64>offset << 3
  let pattern = load<u64>(from) & ((<u64>1 << bits) - 1)
  for (let filled = bits; filled < 64; filled <<= 1) pattern |= pattern << filled
  const step = <usize>8 - (<usize>8 % offset)
  do {
    store<u64>(to, pattern)
    to += step
  } while (to < end)
}

/** Copies the bytes `offset` before `to`, which may be among those it writes. Writes up to 16 bytes more. */
// @ts-ignore: decorator
@inline
export function copyMatch(to: usize, offset: usize, count: usize): void {
  if (offset >= 16) copyForward(to, to - offset, count)
  else copyRepeated(to, offset, count)
}
