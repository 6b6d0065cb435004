// UTF-8: decoding of valid text, and classes of its ASCII characters.

// @ts-ignore: decorator
@inline
export function sequenceLength(lead: u32): usize {
  return 1 + <usize>(lead >= 0xc0) + <usize>(lead >= 0xe0) + <usize>(lead >= 0xf0)
}

/** Code point of the sequence at `at`; at most 0x10ffff even for invalid UTF-8, so that it can index a table. */
// @ts-ignore: decorator
@inline
export function codePointAt(at: usize, lead: u32): u32 {
  if (lead < 0x80) return lead
  if (lead < 0xe0) return ((lead & 0x1f) << 6) | (load<u8>(at, 1) & 0x3f)
  if (lead < 0xf0) return ((lead & 0x0f) << 12) | (<u32>(load<u8>(at, 1) & 0x3f) << 6) | (load<u8>(at, 2) & 0x3f)
  const codePoint =
    ((lead & 0x07) << 18) | (<u32>(load<u8>(at, 1) & 0x3f) << 12) | (<u32>(load<u8>(at, 2) & 0x3f) << 6) | (load<u8>(at, 3) & 0x3f)
  return min<u32>(codePoint, 0x10ffff)
}

// @ts-ignore: decorator
@inline
export function bitmask64(a: v128, b: v128, c: v128, d: v128): u64 {
  const low = <u32>(i8x16.bitmask(a) | (i8x16.bitmask(b) << 16))
  const high = <u32>(i8x16.bitmask(c) | (i8x16.bitmask(d) << 16))
  return <u64>low | (<u64>high << 32)
}

// Classes of ASCII characters, all bits of a byte set or clear.
// @ts-ignore: decorator
@inline
export function isLetter(block: v128): v128 {
  return i8x16.le_u(i8x16.sub(v128.or(block, i8x16.splat(0x20)), i8x16.splat(97)), i8x16.splat(25))
}
// @ts-ignore: decorator
@inline
export function isDigit(block: v128): v128 {
  return i8x16.le_u(i8x16.sub(block, i8x16.splat(48)), i8x16.splat(9))
}
/** Tab to carriage return. */
// @ts-ignore: decorator
@inline
export function isControlSpace(block: v128): v128 {
  return i8x16.le_u(i8x16.sub(block, i8x16.splat(9)), i8x16.splat(4))
}

// @ts-ignore: decorator
@inline
export function isWhiteSpace(block: v128): v128 {
  return v128.or(isControlSpace(block), i8x16.eq(block, i8x16.splat(0x20)))
}
