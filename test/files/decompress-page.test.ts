/** Decompression of pages in WebAssembly, compared with frames by hand, with a decoder written here, and with pyarrow's encoders. */
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ZSTDDecoder } from 'zstddec/stream'
import { decompressInKernel, decompressorOf } from '#src/files/decompress-page'
import { peersPython } from '../monitoring/fixtures.js'
import { temporaryFolder } from '../stages/support.js'

/** `zlib.zstdCompressSync` of TEXT with ZSTD_c_checksumFlag, Node 22.21. */
const FRAME = Buffer.from(
  '28b52ffd64a0046d0100440250656e73746f636b20726561647320612073747265616d206f66207265636f7264732e200100ccebfcea09032db062',
  'hex',
)
const TEXT = Buffer.from('Penstock reads a stream of records. '.repeat(40))
const SKIPPABLE = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3])
/** A block of five equal bytes, then a stored block, in a frame with a window. */
const SIMPLE = Buffer.from([
  0x28,
  0xb5,
  0x2f,
  0xfd,
  0,
  0x38,
  (5 << 3) | 2,
  0,
  0,
  0x61,
  (3 << 3) | 1,
  0,
  0,
  0x62,
  0x63,
  0x64,
])

let state = 1
/** The same numbers in each run. */
function random(bound: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
  return Math.floor((state / 2 ** 32) * bound)
}

/** Elements of every kind with what they stand for. */
function snappy(elements: number): { packed: Buffer; text: Buffer } {
  const text: number[] = []
  const packed: number[] = []
  for (let element = 0; element < elements; element++) {
    const kind = text.length === 0 ? 0 : random(4)
    if (kind === 0) {
      const count = random(8) === 0 ? 1 + random(70_000) : 1 + random(80)
      const literals = Array.from({ length: count }, () => random(256))
      const extra = count <= 60 ? 0 : count <= 256 ? 1 : count <= 65_536 ? 2 : 3
      packed.push((extra === 0 ? count - 1 : 59 + extra) << 2)
      for (let byte = 0; byte < extra; byte++) packed.push(((count - 1) >> (8 * byte)) & 255)
      packed.push(...literals)
      text.push(...literals)
      continue
    }
    const count = kind === 1 ? 4 + random(8) : 1 + random(64)
    const limit = kind === 1 ? 2047 : kind === 2 ? 65_535 : text.length
    const offset = 1 + random(Math.min(limit, random(2) === 0 ? 20 : text.length, text.length))
    if (kind === 1) packed.push(1 | ((count - 4) << 2) | ((offset >> 8) << 5), offset & 255)
    else
      packed.push(
        kind | ((count - 1) << 2),
        ...[0, 8, 16, 24].slice(0, kind === 2 ? 2 : 4).map(bit => (offset >> bit) & 255),
      )
    for (let byte = 0; byte < count; byte++) text.push(text[text.length - offset]!)
  }
  const size: number[] = []
  for (let rest = text.length; ; rest >>= 7) {
    size.push(rest < 128 ? rest : (rest & 127) | 128)
    if (rest < 128) break
  }
  return { packed: Buffer.from([...size, ...packed]), text: Buffer.from(text) }
}

describe('a Zstandard page', () => {
  it('is decompressed from blocks of all kinds, several frames and skippable ones', () => {
    const pages = Buffer.concat([SKIPPABLE, FRAME, SIMPLE, SKIPPABLE, FRAME])
    const text = Buffer.concat([TEXT, Buffer.from('aaaaabcd'), TEXT])
    expect(Buffer.from(decompressInKernel('zstd', pages, text.length)).equals(text)).toBe(true)
  })

  it('is rejected when it ends early, and when any of its bits is wrong', () => {
    for (let end = 0; end < FRAME.length; end++) {
      if (end > 0)
        expect(() => decompressInKernel('zstd', FRAME.subarray(0, end), TEXT.length), `${end}`).toThrow('damaged')
      for (let bit = 0; bit < 8; bit++) {
        const changed = Buffer.from(FRAME)
        changed[end]! ^= 1 << bit
        let text = TEXT
        try {
          text = Buffer.from(decompressInKernel('zstd', changed, TEXT.length))
        } catch {}
        // A few bits of the header have no influence on the text.
        expect(text.equals(TEXT), `bit ${bit} of byte ${end}`).toBe(true)
      }
    }
  })

  it('is rejected when it has more text than its page says', () => {
    expect(() => decompressInKernel('zstd', FRAME, TEXT.length - 1)).toThrow('damaged')
  })

  it('leaves the decoder usable after a page that is larger than the memory that it keeps', () => {
    const large = Buffer.from([
      0x28,
      0xb5,
      0x2f,
      0xfd,
      0,
      0x38,
      ...Array.from({ length: 400 }, () => [2, 0, 8, 0x61]).flat(),
      3,
      0,
      8,
      0x62,
    ])
    const text = decompressInKernel('zstd', large, 401 * 65_536)
    expect([text.length, text[0], text.at(-1)]).toEqual([401 * 65_536, 0x61, 0x62])
    expect(Buffer.from(decompressInKernel('zstd', FRAME, TEXT.length)).equals(TEXT)).toBe(true)
  })
})

describe('a Snappy page', () => {
  it('is decompressed from random elements of all kinds', () => {
    for (let page = 0; page < 120; page++) {
      const { packed, text } = snappy(random(40))
      expect(Buffer.from(decompressInKernel('snappy', packed, text.length)).equals(text)).toBe(true)
    }
  })

  it('is rejected when it ends early, refers to text before its start, or has more text than its page says', () => {
    const { packed, text } = snappy(30)
    for (let end = 0; end < Math.min(1000, packed.length); end++) {
      expect(() => decompressInKernel('snappy', packed.subarray(0, end), text.length)).toThrow('damaged')
    }
    expect(() => decompressInKernel('snappy', packed, text.length - 1)).toThrow('damaged')
    expect(() => decompressInKernel('snappy', Uint8Array.of(5, 0, 0x61, 1, 2), 5)).toThrow('damaged')
  })
})

it('a gzip page is decompressed by Node', () => {
  const decompress = decompressorOf('GZIP')!
  const packed = execFileSync('gzip', ['-c'], { input: TEXT })
  expect(Buffer.from(decompress(packed, TEXT.length)).equals(TEXT)).toBe(true)
  expect(() => decompress(packed, TEXT.length - 1)).toThrow()
})

/** Cases as: sizes of the text and the page (u32), text, page; texts with few and many literals, matches, repeats and lengths. */
const PYTHON = `
import sys, random, struct, pyarrow as pa
source = open(sys.argv[2], 'rb').read()
random.seed(1)
with open(sys.argv[1], 'wb') as file:
    for case in range(int(sys.argv[3])):
        size = random.choice([0, 1, 10, 300, 5000, 150000, 400000])
        kind = case % 5
        if kind == 0:
            start = random.randrange(len(source)); text = (source[start:] * (1 + size // len(source)) + source)[:size]
        elif kind == 1:
            text = bytes(random.choices(range(256), weights=[2 ** -(i % random.randint(2, 40)) for i in range(256)], k=size))
        elif kind == 2:
            text = random.randbytes(size)
        elif kind == 3:
            period = random.randint(1, 40); text = (random.randbytes(period) * (size // period + 1))[:size]
        else:
            words = [random.randbytes(random.randint(1, 12)) for _ in range(random.choice([3, 50, 4000]))]
            text = b''.join(random.choices(words, k=size // 6 + 1))[:size]
        for codec in [pa.Codec('zstd', compression_level=random.choice([-7, 1, 2, 3, 5, 9, 16, 19])), pa.Codec('snappy')]:
            page = codec.compress(text, asbytes=True)
            file.write(struct.pack('<II', len(text), len(page)) + text + page)
`

const python = peersPython()
describe.skipIf(python === undefined)('pages of pyarrow', () => {
  it('give their texts, and damaged ones what another decoder gives or an error', { timeout: 60_000 }, async () => {
    const path = join(temporaryFolder(), 'pages')
    execFileSync(python!, ['-c', PYTHON, path, 'package-lock.json', '100'])
    const judge = new ZSTDDecoder()
    await judge.init()
    const cases = readFileSync(path)
    let read = 0
    let damaged = 0
    for (let at = 0; at < cases.length; read++) {
      const [size, packedSize] = [cases.readUInt32LE(at), cases.readUInt32LE(at + 4)]
      const text = cases.subarray(at + 8, at + 8 + size)
      const page = Buffer.from(cases.subarray(at + 8 + size, at + 8 + size + packedSize))
      at += 8 + size + packedSize
      const codec = read % 2 === 0 ? 'zstd' : 'snappy'
      expect(text.equals(decompressInKernel(codec, page, size)), `${codec} of ${size} bytes`).toBe(true)
      if (codec === 'snappy' || size === 0) continue
      page[random(page.length)]! ^= 1 << random(8)
      let found: Uint8Array | undefined
      try {
        found = decompressInKernel('zstd', page, size)
      } catch {
        damaged++
      }
      // The other decoder accepts streams of literals that do not end with the last one.
      const expected = judge.decode(page, size)
      if (found !== undefined && expected.length === size) expect(Buffer.from(expected).equals(found)).toBe(true)
    }
    expect(read).toBe(200)
    expect(damaged).toBeGreaterThan(10)
  })
})
