// Validates the UTF-8 of a record's strings; outside strings, JSON has no byte above 0x7f. While strings are scanned, blocks
// with such bytes are only recorded, without a branch, because their positions are unpredictable. They are validated at the end
// of the record with three table look-ups on the nibbles of each byte and its predecessor, whose common bits are the errors
// (J. Keiser and D. Lemire, "Validating UTF-8 in less than one instruction per byte", 2021).
import { LENGTH_MASKS } from './memory'

const NOTED_AT_ONCE: usize = 256
/** Maximum number of bytes after a block that a sequence starting in it may take. */
const OVERHANG: usize = 3

/** u32: addresses of the recorded blocks. */
const NOTED: usize = memory.data(<i32>NOTED_AT_ONCE << 2, 64)
const NOTED_LIMIT: usize = NOTED + (NOTED_AT_ONCE << 2)
export let notedEnd: usize = NOTED

let recordStart: usize = 0
let isRight: bool = true

export function beginRecord(start: usize): void {
  recordStart = start
  notedEnd = NOTED
  isRight = true
}

/** Records the 64 bytes at `at` if any is above 0x7f; returns the next free slot, initially `notedEnd`. */
// @ts-ignore: decorator
@inline
export function note(at: usize, hasHighBytes: bool, noted: usize): usize {
  const place = noted == NOTED_LIMIT ? checkSome() : noted
  store<u32>(place, <u32>at)
  return place + (<usize>hasHighBytes << 2)
}

// @ts-ignore: decorator
@inline
export function keepNoted(noted: usize): void {
  notedEnd = noted
}

/** Makes room when all slots are used: validates all blocks but the last, which may continue. */
function checkSome(): usize {
  const last = <usize>load<u32>(NOTED_LIMIT - 4)
  check(NOTED_LIMIT - 4, last)
  store<u32>(NOTED, <u32>last)
  return NOTED + 4
}

/** Whether the strings of the record are valid UTF-8; its line feed is at `end`. */
export function isRecordUtf8(end: usize): bool {
  if (notedEnd > NOTED) check(notedEnd, end)
  return isRight
}

function check(behind: usize, end: usize): void {
  let errors = i64x2.splat(0)
  let from = recordStart
  for (let noted = NOTED; noted < behind; noted += 4) {
    const block = <usize>load<u32>(noted)
    from = max(from, block)
    // The first bytes of the record continue no sequence, but the bytes before it may be a truncated one.
    let previous = from - recordStart < OVERHANG ? i64x2.splat(0) : v128.load(from - 16)
    for (const stop = min(block + 64 + OVERHANG, end); from < stop; from += 16) {
      const bytes = v128.load(from)
      const wrong = errorsIn(bytes, previous)
      errors = v128.or(errors, end - from < 16 ? v128.and(wrong, v128.load(LENGTH_MASKS + ((end - from) << 4))) : wrong)
      previous = bytes
    }
  }
  if (v128.any_true(errors)) isRight = false
}

/** Nonzero where the bytes are invalid after those before them. */
// @ts-ignore: decorator
@inline
function errorsIn(bytes: v128, previous: v128): v128 {
  const byFirstHigh = i8x16(2, 2, 2, 2, 2, 2, 2, 2, -128, -128, -128, -128, 33, 1, 21, 73)
  const byFirstLow = i8x16(-25, -93, -125, -125, -117, -53, -53, -53, -53, -53, -53, -53, -53, -37, -53, -53)
  const bySecondHigh = i8x16(1, 1, 1, 1, 1, 1, 1, 1, -26, -82, -70, -70, 1, 1, 1, 1)
  const back1 = i8x16.shuffle(previous, bytes, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30)
  const back2 = i8x16.shuffle(previous, bytes, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29)
  const back3 = i8x16.shuffle(previous, bytes, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28)
  const first = v128.and(
    i8x16.swizzle(byFirstHigh, i8x16.shr_u(back1, 4)),
    i8x16.swizzle(byFirstLow, v128.and(back1, i8x16.splat(15))),
  )
  const special = v128.and(first, i8x16.swizzle(bySecondHigh, i8x16.shr_u(bytes, 4)))
  // Continuation bytes required: after the first byte of a three- or four-byte sequence, and two after that of a four-byte one.
  const isThird = i8x16.sub_sat_u(back2, i8x16.splat(<i8>(0xe0 - 0x80)))
  const isFourth = i8x16.sub_sat_u(back3, i8x16.splat(<i8>(0xf0 - 0x80)))
  return v128.xor(v128.and(v128.or(isThird, isFourth), i8x16.splat(-128)), special)
}
