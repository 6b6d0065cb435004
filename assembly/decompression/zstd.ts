// Zstandard frames (RFC 8878) that are in memory as a whole: matches are copied within the output, without a window. Layout
// of frames: src/formats/archives/zstd-frames.ts.
import { xxh64 } from './checksum'
import { decodeStream, decodeStreams, readTree } from './huffman'
import { applySequences, beginSequences } from './sequences'

const MAX_BLOCK_BYTES: usize = 128 << 10
const LITERALS: usize = memory.data(131136)

let hasTree: bool = false
let literals: usize = 0
let literalsEnd: usize = 0

/**
 * Decompresses the frames at [at, end).
 * @returns bytes written at `start`, -1 if the input is damaged, needs a dictionary, or has more output than fits before `limit`
 */
export function decompressZstd(at: usize, end: usize, start: usize, limit: usize): isize {
  let to = start
  while (at < end) {
    if (at + 8 > end) return -1
    const magic = load<u32>(at)
    if ((magic & 0xfffffff0) == 0x184d2a50) {
      const size = <usize>load<u32>(at, 4)
      if (size > end - at - 8) return -1
      at += 8 + size
      continue
    }
    if (magic != 0xfd2fb528) return -1
    const descriptor = <u32>load<u8>(at, 4)
    const dictionaryBytes = (<u32>1 << (descriptor & 3)) >> 1
    const isSingle = (descriptor >> 5) & 1
    const sizeFlag = descriptor >> 6
    // Frames that need a dictionary are not read.
    if ((descriptor & 8) != 0 || dictionaryBytes != 0) return -1
    at += 5 + <usize>(1 - isSingle) + <usize>(sizeFlag == 0 ? isSingle : <u32>1 << sizeFlag)
    const frame = to
    beginSequences()
    hasTree = false
    for (let isLast = false; !isLast; ) {
      if (at + 3 > end) return -1
      const header = <u32>load<u16>(at) | (<u32>load<u8>(at, 2) << 16)
      at += 3
      isLast = (header & 1) != 0
      const type = (header >> 1) & 3
      const size = <usize>(header >> 3)
      if (type == 1) {
        if (at >= end || size > limit - to) return -1
        memory.fill(to, load<u8>(at++), size)
        to += size
        continue
      }
      if (size > end - at || size > MAX_BLOCK_BYTES) return -1
      if (type == 0) {
        if (size > limit - to) return -1
        memory.copy(to, at, size)
        to += size
      } else {
        if (type == 3) return -1
        const sequences = readLiterals(at, at + size)
        if (sequences == 0) return -1
        to = applySequences(sequences, at + size, literals, literalsEnd, frame, to, limit)
        if (to == 0) return -1
      }
      at += size
    }
    if ((descriptor & 4) == 0) continue
    if (at + 4 > end || load<u32>(at) != <u32>xxh64(frame, to)) return -1
    at += 4
  }
  return to - start
}

/** Sets the literals of a block. @returns the address of its sequences, 0 if the literals are damaged */
function readLiterals(from: usize, end: usize): usize {
  if (from >= end) return 0
  const type = load<u8>(from) & 3
  const format = <u32>(load<u8>(from) >> 2) & 3
  const header = load<u64>(from)
  if (type < 2) {
    const headerBytes: usize = format == 3 ? 3 : format == 1 ? 2 : 1
    const size = <usize>(format == 3 ? (header >> 4) & 0xfffff : format == 1 ? (header >> 4) & 0xfff : (header >> 3) & 0x1f)
    from += headerBytes
    const stored: usize = type == 0 ? size : 1
    if (size > MAX_BLOCK_BYTES || from + stored > end) return 0
    literals = type == 0 ? from : LITERALS
    if (type == 1) memory.fill(LITERALS, load<u8>(from), size)
    literalsEnd = literals + size
    return from + stored
  }
  const bits: u64 = format < 2 ? 10 : format == 2 ? 14 : 18
  const size = <usize>((header >> 4) & ((<u64>1 << bits) - 1))
  const stored = <usize>((header >> (4 + bits)) & ((<u64>1 << bits) - 1))
  from += format < 2 ? 3 : <usize>format + 2
  if (size > MAX_BLOCK_BYTES || from + stored > end) return 0
  let streams = from
  if (type == 2) {
    streams = readTree(from, from + stored)
    if (streams == 0) return 0
    hasTree = true
  } else if (!hasTree) return 0
  const isComplete =
    format == 0
      ? decodeStream(streams, from + stored, LITERALS, LITERALS + size)
      : decodeStreams(streams, from + stored, LITERALS, <u32>size)
  if (!isComplete) return 0
  literals = LITERALS
  literalsEnd = LITERALS + size
  return from + stored
}
