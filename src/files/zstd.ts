/**
 * Streaming Zstandard decompression of a file: with Node's decoder (22.15 and later), otherwise with a WebAssembly decoder,
 * which requests its input synchronously and therefore reads the file itself.
 */
import { closeSync, openSync, readSync } from 'node:fs'
import { pipeline, type Transform } from 'node:stream'
import * as zlib from 'node:zlib'

const INPUT_BYTES = 128 << 10

/** Decompressed bytes of `path`. @param packed the compressed bytes as a stream, for Node's decoder */
export function zstdDecompressed(path: string, packed: () => AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform }
  if (createZstdDecompress !== undefined) return pipeline(packed, createZstdDecompress(), () => {})
  return decompressedByWasm(path)
}

async function* decompressedByWasm(path: string): AsyncGenerator<Uint8Array> {
  const { ZSTDDecoder } = await import('zstddec/stream')
  const decoder = new ZSTDDecoder()
  await decoder.init()
  const descriptor = path === '-' ? 0 : openSync(path, 'r')
  try {
    yield* decoder.decodeStreaming(inputOf(descriptor))
  } finally {
    if (descriptor !== 0) closeSync(descriptor)
  }
}

function* inputOf(descriptor: number): Generator<Uint8Array> {
  for (;;) {
    const chunk = new Uint8Array(INPUT_BYTES)
    const length = readSync(descriptor, chunk)
    if (length === 0) return
    yield chunk.subarray(0, length)
  }
}
