/** Zstandard decompression: every chunk size, and every kind of damage with its position. Frames are built by hand. */
import * as zlib from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { decompressInWorker, decompressZstd } from '#src/workers/decompression/decompress-zstd'
import { utf8 } from '../../stages/support.js'

const MAGIC = [0x28, 0xb5, 0x2f, 0xfd]
/** Frame header: a window of 128 KiB, no content size, no checksum. */
const HEADER = [...MAGIC, 0x00, 0x38]
const block = (type: 0 | 1 | 3, size: number, content: ArrayLike<number>, isLast = true): number[] => {
  const header = (size << 3) | (type << 1) | (isLast ? 1 : 0)
  return [header & 0xff, (header >> 8) & 0xff, header >> 16, ...Array.from(content)]
}
const raw = (text: string): number[] => [...HEADER, ...block(0, text.length, utf8(text))]
const SKIPPABLE = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]
/** An empty single-segment frame with the checksum of no bytes. */
const EMPTY = [...MAGIC, 0x24, 0x00, 0x01, 0x00, 0x00, 0x99, 0xe9, 0xd8, 0x51]
/** `zlib.zstdCompressSync` of TEXT with ZSTD_c_checksumFlag, Node 22.21. */
const COMPRESSED = [
  ...Buffer.from(
    '28b52ffd64a0046d0100440250656e73746f636b20726561647320612073747265616d206f66207265636f7264732e200100ccebfcea09032db062',
    'hex',
  ),
]
const TEXT = 'Penstock reads a stream of records. '.repeat(40)

async function* inChunks(bytes: readonly number[], size: number): AsyncGenerator<Uint8Array> {
  for (let start = 0; start < bytes.length; start += size) yield Uint8Array.from(bytes.slice(start, start + size))
}

async function collect(output: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  for await (const chunk of output) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

const DECODERS: [name: string, decode: typeof decompressZstd][] = [['WebAssembly', decompressInWorker]]
if ('createZstdDecompress' in zlib) DECODERS.push(['Node', decompressZstd])

describe.each(DECODERS)('the %s decoder', (_name, decode) => {
  it.each([1, 2, 3, 7, 1 << 20])('decompresses frames of all kinds in chunks of %i bytes', async size => {
    const file = [...SKIPPABLE, ...COMPRESSED, ...EMPTY, ...raw('raw'), ...HEADER, ...block(1, 5, [0x61]), ...SKIPPABLE]
    expect(await collect(decode('x.zst', inChunks(file, size)))).toBe(`${TEXT}rawaaaaa`)
  })

  const changed = (at: number): number[] => COMPRESSED.map((byte, index) => (index === at ? byte ^ 0x55 : byte))
  it.each([
    ['a wrong checksum', changed(COMPRESSED.length - 1), COMPRESSED.length - 4],
    ['a damaged block', [...COMPRESSED.slice(0, 10), 0xff, 0xff, ...COMPRESSED.slice(12)], 7],
    ['bytes after the last frame', [...COMPRESSED, ...utf8('garbage')], COMPRESSED.length],
    ['one byte after the last frame', [...COMPRESSED, 0], COMPRESSED.length],
    ['a truncated frame', COMPRESSED.slice(0, -5), 0],
    ['a truncated skippable frame', [...EMPTY, ...SKIPPABLE.slice(0, -1)], EMPTY.length],
    ['a file of another format', [...utf8('{"text":"a"}\n')], 0],
    ['an empty file', [], 0],
    ['a reserved block type', [...HEADER, ...block(3, 1, [0])], HEADER.length],
    ['a block over 128 KiB', [...HEADER, ...block(0, 200_000, [])], HEADER.length],
  ])('reports %s with its position', async (_what, bytes, byteOffset) => {
    const failure = collect(decode('x.zst', inChunks(bytes, 10)))
    await expect(failure).rejects.toMatchObject({ code: 'FILE_UNREADABLE', where: { file: 'x.zst', byteOffset } })
  })

  it.each([
    ['a window over 128 MiB (zstd --long=28)', [...MAGIC, 0x00, 0x90, ...block(0, 1, [0x61])]],
    ['a dictionary', [...MAGIC, 0x01, 0x38, 0x07, ...block(0, 1, [0x61])]],
  ])('rejects %s', async (_what, bytes) => {
    await expect(collect(decode('x.zst', inChunks(bytes, 10)))).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('bounds the output of a decompression bomb to what is consumed', async () => {
    const blocks = Array.from({ length: 20_000 }, () => block(1, 128 << 10, [0x61], false))
    const output = decode('x.zst', inChunks([...HEADER, ...blocks.flat()], 1 << 20))
    const { value } = await output.next()
    expect(value![0]).toBe(0x61)
    await output.return(undefined)
  })
})
