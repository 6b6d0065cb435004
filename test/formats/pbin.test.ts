import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  createPbinIndexReader,
  decodePbinHeader,
  encodePbinHeader,
  PBIN_HEADER_BYTES,
  type PbinHeader,
  pbinIndexOffset,
  type TokenBytes,
  tokenBytesFor,
  viewTokens,
} from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'

const reference = new URL('../../../shared/reference/modalities/lorem_ipsum.pbin', import.meta.url)
const hasReference = existsSync(reference)

function readDocuments(header: PbinHeader, pickle: Uint8Array): number[] {
  const documents: number[] = []
  const reader = createPbinIndexReader(header, pairs => documents.push(...pairs))
  reader.feed(pickle)
  reader.end()
  return documents
}

describe.skipIf(!hasReference)('a packed file written by Modalities (needs ../shared/reference)', () => {
  const file = hasReference ? readFileSync(reference) : new Uint8Array()

  test('is read and reproduced byte for byte', () => {
    const header = decodePbinHeader(file, file.length)
    const documents = readDocuments(header, file.subarray(pbinIndexOffset(header)))
    const pairs = documents.flatMap((offset, i): [number, number][] =>
      i % 2 === 0 ? [[offset, documents[i + 1]!]] : [],
    )
    const data = file.subarray(PBIN_HEADER_BYTES, pbinIndexOffset(header))
    expect(pairs.reduce((sum, [, length]) => sum + length, 0)).toBe(header.dataBytes)
    expect(Buffer.compare(Buffer.concat([encodePbinHeader(header), data, writePairList(pairs)]), file)).toBe(0)
  })

  test('has documents that end with the end-of-document token of GPT-2', () => {
    const header = decodePbinHeader(file, file.length)
    const tokens = viewTokens(file.subarray(PBIN_HEADER_BYTES, pbinIndexOffset(header)), header.tokenBytes)
    const documents = readDocuments(header, file.subarray(pbinIndexOffset(header)))
    for (let i = 0; i < documents.length; i += 2) {
      expect(tokens[(documents[i]! + documents[i + 1]!) / header.tokenBytes - 1]).toBe(50256)
    }
  })
})

describe('header', () => {
  test('is 12 bytes, little-endian', () => {
    const bytes = encodePbinHeader({ dataBytes: 0x0102030405, tokenBytes: 2 })
    expect([...bytes]).toEqual([5, 4, 3, 2, 1, 0, 0, 0, 2, 0, 0, 0])
  })

  test('round-trips', () => {
    fc.assert(
      fc.property(fc.constantFrom<TokenBytes>(1, 2, 4), fc.integer({ min: 1, max: 2 ** 50 }), (tokenBytes, count) => {
        const header = { dataBytes: count * tokenBytes, tokenBytes }
        expect(decodePbinHeader(encodePbinHeader(header), header.dataBytes + 100)).toEqual(header)
      }),
    )
  })

  test.each([
    ['an empty file', [], 0, 0],
    ['a short file', [1, 0, 0, 0], 4, 0],
    ['an unfinished file', [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 100, 0],
    ['three bytes per token', [6, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0], 100, 8],
    ['no token width', [6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 100, 8],
    ['half a token', [7, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 100, 0],
    ['a file truncated in its tokens', [90, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 100, 0],
    ['a file truncated before its index', [88, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0], 100, 100],
    ['a length of 2^64 - 1', [255, 255, 255, 255, 255, 255, 255, 255, 1, 0, 0, 0], 100, 0],
  ])('rejects %s', (_, bytes, fileBytes, byteOffset) => {
    expect(() => decodePbinHeader(Uint8Array.from(bytes), fileBytes, { file: 'a.pbin' })).toThrow(
      expect.objectContaining({ code: 'PBIN_INVALID', where: { file: 'a.pbin', byteOffset } }),
    )
  })

  test('a random header is read or rejected with a code', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), fc.nat(1000), (bytes, fileBytes) => {
        try {
          const { dataBytes } = decodePbinHeader(bytes, fileBytes)
          expect(dataBytes).toBeLessThan(fileBytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'PBIN_INVALID' })
        }
      }),
    )
  })
})

describe('index', () => {
  const header: PbinHeader = { dataBytes: 20, tokenBytes: 2 }

  test('documents may be in any order', () => {
    const pairs: [number, number][] = [
      [10, 10],
      [0, 10],
    ]
    expect(readDocuments(header, writePairList(pairs))).toEqual(pairs.flat())
  })

  test.each([
    ['exceeds the data', [18, 4]],
    ['starts in a token', [1, 2]],
    ['ends in a token', [2, 3]],
  ] as const)('rejects a document that %s', (_, document) => {
    expect(() => readDocuments(header, writePairList([[0, 10], document]))).toThrow(
      expect.objectContaining({ code: 'PBIN_INVALID', where: { record: 1 } }),
    )
  })

  test('a fault in the pickle is located by its offset in the file', () => {
    expect(() => readDocuments(header, Uint8Array.of(0x80, 4, 0x63))).toThrow(
      expect.objectContaining({ code: 'PICKLE_INVALID', where: { byteOffset: 12 + 20 + 2 } }),
    )
  })
})

test.each([
  [1, 1],
  [256, 1],
  [257, 2],
  [65_536, 2],
  [65_537, 4],
  [2 ** 32, 4],
])('a vocabulary of %d needs %d bytes per token', (vocabSize, bytes) => {
  expect(tokenBytesFor(vocabSize)).toBe(bytes)
})

test('tokens are viewed at any alignment', () => {
  const bytes = Uint8Array.of(9, 1, 0, 2, 0, 3, 0, 4, 0)
  expect([...viewTokens(bytes.subarray(1), 2)]).toEqual([1, 2, 3, 4])
  expect([...viewTokens(bytes.subarray(1), 4)]).toEqual([0x20001, 0x40003])
  expect([...viewTokens(bytes.subarray(1, 3), 1)]).toEqual([1, 0])
})
