// Decompression of pieces that are in memory as a whole, and whose size is known. Built to dist/files/decompression.wasm; host
// side: src/files/page-decoders.ts. The tests compare it with other decoders.
import { decompressSnappy } from './snappy'
import { decompressZstd } from './zstd'

/** Bytes that can be read around the input, and written after the output. */
const SLACK: usize = 64

/** Address of the input; the output follows it. Grows the memory, up to the 4 GiB that there may be. */
export function inputAddress(inputBytes: usize, outputBytes: usize): usize {
  const output = <u64>__heap_base + 4 * SLACK + inputBytes
  const pages = <i32>((output + outputBytes + SLACK + 0xffff) >> 16) - memory.size()
  if (pages > 0 && memory.grow(pages) < 0) unreachable()
  return __heap_base + SLACK
}

export function outputAddress(inputBytes: usize): usize {
  return (__heap_base + 2 * SLACK + inputBytes + SLACK - 1) & ~(SLACK - 1)
}

/** @returns bytes of the output, or -1 if the input is damaged or has more than `outputBytes` */
export function zstd(inputBytes: usize, outputBytes: usize): isize {
  const input = inputAddress(inputBytes, outputBytes)
  const output = outputAddress(inputBytes)
  return decompressZstd(input, input + inputBytes, output, output + outputBytes)
}

/** As `zstd`. */
export function snappy(inputBytes: usize, outputBytes: usize): isize {
  const input = inputAddress(inputBytes, outputBytes)
  const output = outputAddress(inputBytes)
  return decompressSnappy(input, input + inputBytes, output, output + outputBytes)
}
