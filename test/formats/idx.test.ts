import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { createIndexReader, IndexWriter, readIndex } from '#src/formats/idx'
import { writePairList } from '#src/formats/pickle'

const reference = new URL('../../../shared/reference/modalities/', import.meta.url)
const hasReference = existsSync(reference)

describe.skipIf(!hasReference)('an index written by Modalities (needs ../shared/reference)', () => {
  const idx = hasReference ? readFileSync(new URL('lorem_ipsum.idx', reference)) : new Uint8Array()
  const jsonl = hasReference ? readFileSync(new URL('lorem_ipsum.jsonl', reference)) : new Uint8Array()

  test('is read, with one record per line', () => {
    const entries = readIndex(idx, { sourceBytes: jsonl.length })
    const lines = jsonl.toString().trimEnd().split('\n')
    expect(entries.length).toBe(2 * lines.length)
    const records = lines.map((_, i) =>
      jsonl.subarray(entries[2 * i], entries[2 * i]! + entries[2 * i + 1]!).toString(),
    )
    expect(records).toEqual(lines)
  })

  test('is reproduced byte for byte', () => {
    const writer = new IndexWriter()
    let offset = 0
    for (const line of jsonl.toString().trimEnd().split('\n')) {
      writer.push(offset, Buffer.byteLength(line))
      offset += Buffer.byteLength(line) + 1
    }
    expect(Buffer.compare(writer.finish(), idx)).toBe(0)
  })
})

describe('checks', () => {
  const pairs = [
    [0, 10],
    [11, 4],
    [30, 0],
  ] as [number, number][]

  test('accept dropped lines', () => {
    expect([...readIndex(writePairList(pairs), { sourceBytes: 30 })]).toEqual(pairs.flat())
  })

  test.each([
    ['exceeds the file', [...pairs, [30, 2]], 3],
    ['overlaps', [...pairs, [29, 1]], 3],
  ])('reject a record that %s', (_, list, record) => {
    const read = () =>
      readIndex(writePairList(list as [number, number][]), { sourceBytes: 31, where: { file: 'a.idx' } })
    expect(read).toThrow(expect.objectContaining({ code: 'IDX_INVALID', where: { file: 'a.idx', record } }))
  })

  test('count records across chunks', () => {
    const bytes = writePairList(Array.from({ length: 20_000 }, (_, i): [number, number] => [i < 19_999 ? 2 * i : 0, 1]))
    const reader = createIndexReader(() => {})
    const feedAll = () => {
      for (let i = 0; i < bytes.length; i += 1000) reader.feed(bytes.subarray(i, i + 1000))
    }
    expect(feedAll).toThrow(expect.objectContaining({ code: 'IDX_INVALID', where: { record: 19_999 } }))
  })
})
