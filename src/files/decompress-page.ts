/**
 * Decompression of pieces whose size is known, such as Parquet pages: gzip by Node, Snappy and Zstandard in WebAssembly
 * (`assembly/decompression`). A result is a view of memory that the next call reuses, so that nothing is copied.
 */
import { readFileSync } from 'node:fs'
import * as zlib from 'node:zlib'
import type { Codec, Decompress } from '../formats/parquet/text-pages.js'
import { releaseMemory } from './release-memory.js'

/** Undefined for pages that are not compressed. */
export function decompressorOf(codec: Codec): Decompress | undefined {
  switch (codec) {
    case 'UNCOMPRESSED':
      return undefined
    case 'GZIP':
      return releasing((bytes, size) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, size) }))
    case 'SNAPPY':
      return (bytes, size) => decompressInKernel('snappy', bytes, size)
    case 'ZSTD':
      return zstdDecompressor()
  }
}

/** Node's own from 22.15 on. */
function zstdDecompressor(): Decompress {
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Uint8Array, options: object) => Buffer }
  return zstdDecompressSync === undefined
    ? (bytes, size) => decompressInKernel('zstd', bytes, size)
    : releasing((bytes, size) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) }))
}

/** Frees each result at the next call. A result is no Buffer, whose `slice` would not copy. */
function releasing(decompress: (bytes: Uint8Array, size: number) => Buffer): Decompress {
  let previous: Uint8Array | undefined
  return (bytes, size) => {
    if (previous !== undefined) releaseMemory([previous])
    const { buffer, byteOffset, byteLength } = decompress(bytes, size)
    previous = new Uint8Array(buffer, byteOffset, byteLength)
    return previous
  }
}

interface KernelExports {
  readonly memory: WebAssembly.Memory
  /** Makes room. @returns the address of the input */
  readonly inputAddress: (inputBytes: number, outputBytes: number) => number
  readonly outputAddress: (inputBytes: number) => number
  /** @returns size of the output; negative if the input is damaged or has more than `outputBytes` */
  readonly zstd: (inputBytes: number, outputBytes: number) => number
  readonly snappy: (inputBytes: number, outputBytes: number) => number
}

/** A memory that has grown beyond this is not kept: it never shrinks. */
const KEPT_BYTES = 32 << 20

let compiled: WebAssembly.Module | undefined
let kernel: KernelExports | undefined

/** Exported for tests, which also run with a Node that has its own decoder. @throws Error for damaged input */
export function decompressInKernel(codec: 'zstd' | 'snappy', bytes: Uint8Array, size: number): Uint8Array {
  kernel ??= newKernel()
  const { memory, inputAddress, outputAddress } = kernel
  try {
    const input = inputAddress(bytes.byteLength, size)
    new Uint8Array(memory.buffer).set(bytes, input)
    const written = kernel[codec](bytes.byteLength, size)
    if (written < 0) throw new Error(`the ${codec} data are damaged`)
    return new Uint8Array(memory.buffer, outputAddress(bytes.byteLength) >>> 0, written)
  } finally {
    if (memory.buffer.byteLength > KEPT_BYTES) kernel = undefined
  }
}

function newKernel(): KernelExports {
  compiled ??= new WebAssembly.Module(readFileSync(new URL('./decompression.wasm', import.meta.url)))
  return new WebAssembly.Instance(compiled, {}).exports as unknown as KernelExports
}
