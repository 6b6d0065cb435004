// UTF-8: decoding of valid text, the check that it is valid, and classes of its ASCII characters.
import { LENGTH_MASKS } from './memory'

// @ts-ignore: decorator
@inline
export function sequenceLength(lead: u32): usize {
  return 1 + <usize>(lead >= 0xc0) + <usize>(lead >= 0xe0) + <usize>(lead >= 0xf0)
}

/** Code point of the sequence at `at`; never over 0x10ffff, so that it may index a table even for bytes that are no UTF-8. */
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

// Classes of ASCII characters, each byte all ones or zeros.
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

/**
 * Whether [start, end) is UTF-8: three table look-ups by the halves of each byte and its predecessor, whose common bits
 * are the errors (J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte", 2021).
 */
export function isUtf8(start: usize, end: usize): bool {
  const byFirstHigh = i8x16(2, 2, 2, 2, 2, 2, 2, 2, -128, -128, -128, -128, 33, 1, 21, 73)
  const byFirstLow = i8x16(-25, -93, -125, -125, -117, -53, -53, -53, -53, -53, -53, -53, -53, -37, -53, -53)
  const bySecondHigh = i8x16(1, 1, 1, 1, 1, 1, 1, 1, -26, -82, -70, -70, 1, 1, 1, 1)
  /** Greatest last bytes of a block that leave no sequence unfinished. */
  const greatestLast = i8x16(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -17, -33, -65)
  const lowHalf = i8x16.splat(15)
  const highBit = i8x16.splat(-128)
  const zero = i64x2.splat(0)
  let previous = zero
  let errors = zero
  let unfinished = zero
  for (let at = start; at < end; at += 16) {
    let block = v128.load(at)
    if (end - at < 16) block = v128.and(block, v128.load(LENGTH_MASKS + ((end - at) << 4)))
    if (!v128.any_true(v128.and(block, highBit))) {
      errors = v128.or(errors, unfinished)
      unfinished = zero
    } else {
      const back1 = i8x16.shuffle(previous, block, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
      const back2 = i8x16.shuffle(previous, block, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
      const back3 = i8x16.shuffle(previous, block, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28)
      const first = v128.and(
        i8x16.swizzle(byFirstHigh, i8x16.shr_u(back1, 4)),
        i8x16.swizzle(byFirstLow, v128.and(back1, lowHalf)),
      )
      const special = v128.and(first, i8x16.swizzle(bySecondHigh, i8x16.shr_u(block, 4)))
      const isThird = i8x16.sub_sat_u(back2, i8x16.splat(-33))
      const isFourth = i8x16.sub_sat_u(back3, i8x16.splat(-17))
      const mustContinue = v128.and(i8x16.gt_u(v128.or(isThird, isFourth), zero), highBit)
      errors = v128.or(errors, v128.xor(mustContinue, special))
      unfinished = i8x16.sub_sat_u(block, greatestLast)
    }
    previous = block
  }
  return !v128.any_true(v128.or(errors, unfinished))
}
