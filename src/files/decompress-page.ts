/** Decompression of single Parquet pages, whose size is known before. */
import * as zlib from 'node:zlib'
import type { Codec, Decompress } from '../formats/parquet/text-pages.js'

/** Loads what a codec needs; undefined for pages that are not compressed. */
export async function openDecompressor(codec: Codec): Promise<Decompress | undefined> {
  switch (codec) {
    case 'UNCOMPRESSED':
      return undefined
    case 'GZIP':
      return (bytes, size) => zlib.gunzipSync(bytes, { maxOutputLength: Math.max(1, size) })
    case 'SNAPPY': {
      // `decompressSnappy` would compile its WebAssembly in each call.
      const { compressors } = await import('hyparquet-compressors')
      return compressors.SNAPPY
    }
    case 'ZSTD':
      return openZstd()
  }
}

/** Node's own from 22.15 on, else WebAssembly. */
async function openZstd(): Promise<Decompress> {
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: (bytes: Uint8Array, options: object) => Buffer }
  if (zstdDecompressSync !== undefined) {
    return (bytes, size) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(1, size) })
  }
  const { ZSTDDecoder } = await import('zstddec/stream')
  const decoder = new ZSTDDecoder()
  await decoder.init()
  return (bytes, size) => decoder.decode(bytes, size)
}
