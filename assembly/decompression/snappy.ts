// Snappy without frames. Source: google/snappy, format_description.txt: the size of the output as a varint, then elements.
//
// | lowest bits of the first byte | element |
// | --- | --- |
// | 0 | literals: their number - 1 in the upper bits; 60 to 63 there mean 1 to 4 more bytes with it |
// | 1 | match of 4 to 11 bytes, offset of 11 bits |
// | 2, 3 | match of 1 to 64 bytes, offset of 2 or 4 bytes |
import { copyForward, copyMatch } from './copy'

/** @returns bytes written at `start`, -1 if the input is damaged or has more output than fits before `limit` */
export function decompressSnappy(at: usize, end: usize, start: usize, limit: usize): isize {
  let expected: u64 = 0
  for (let shift: u64 = 0; ; shift += 7) {
    if (at >= end || shift > 28) return -1
    const byte = <u64>load<u8>(at++)
    expected |= (byte & 127) << shift
    if (byte < 128) break
  }
  if (expected > <u64>(limit - start)) return -1
  let to = start
  while (at < end) {
    const tag = <u32>load<u8>(at++)
    let count = <usize>(tag >> 2) + 1
    let offset: usize
    switch (tag & 3) {
      case 0: {
        if (count > 60) {
          const extra = count - 60
          if (extra > end - at) return -1
          count = <usize>(<u64>load<u32>(at) & ((<u64>1 << (extra << 3)) - 1)) + 1
          at += extra
        }
        if (count > end - at || count > limit - to || count == 0) return -1
        copyForward(to, at, count)
        at += count
        to += count
        continue
      }
      case 1:
        count = <usize>((tag >> 2) & 7) + 4
        offset = (<usize>(tag >> 5) << 8) | load<u8>(at)
        at += 1
        break
      case 2:
        offset = <usize>load<u16>(at)
        at += 2
        break
      default:
        offset = <usize>load<u32>(at)
        at += 4
    }
    if (at > end || offset == 0 || offset > to - start || count > limit - to) return -1
    copyMatch(to, offset, count)
    to += count
  }
  return <u64>(to - start) == expected ? <isize>(to - start) : -1
}
