import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { LineBatch } from '#src/formats/batches'
import { readLines } from '#src/stages/read-lines'
import { source } from '#src/stages/stream/stage'
import { chunked, gather, textOfLines, utf8 } from './support.js'

const read = (bytes: Uint8Array, size: number, options = {}) =>
  gather<LineBatch>(chunked(bytes, size), readLines({ source: 'x', ...options }) as never)

/** Offset and length of each line, computed from the definition: the bytes between line feeds. */
function expectedEntries(bytes: Uint8Array): [number, number][] {
  const entries: [number, number][] = []
  let start = 0
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && bytes[at] !== 10) continue
    if (at < bytes.length || at > start) entries.push([start, at - start])
    start = at + 1
  }
  return entries
}

const entriesOf = (batches: readonly LineBatch[]): [number, number][] =>
  batches.flatMap(batch =>
    [...batch.starts].map((start, line): [number, number] => [batch.byteOffset + start, batch.ends[line]! - start]),
  )

describe('read-lines', () => {
  const texts = ['a\nbc\n', 'a\nbc', '', '\n', '\n\n', 'a\r\nb\r\n', 'ä\u2028ö\n€\n😀', 'x\0y\nz', 'no end']

  it.each(texts)('splits %j into the same lines for every chunk size', async text => {
    const bytes = utf8(text)
    for (const size of [1, 2, 3, 7, Math.max(1, bytes.length)]) {
      expect(entriesOf(await read(bytes, size))).toEqual(expectedEntries(bytes))
    }
  })

  it('splits arbitrary bytes into the same lines for every chunk size', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.constantFrom(10, 13, 65, 195, 182), { maxLength: 200 }),
        fc.integer({ min: 1, max: 50 }),
        async (values, size) => {
          const bytes = Uint8Array.from(values)
          const batches = await read(bytes, size)
          expect(entriesOf(batches)).toEqual(expectedEntries(bytes))
          expect(batches.map(batch => batch.number)).toEqual(batches.map((_, index) => index))
        },
      ),
    )
  })

  it('numbers lines from 1 across batches', async () => {
    const batches = await read(utf8('a\nb\nc\nd\n'), 3)
    const numbers = batches.flatMap(batch => [...batch.lines].map(line => batch.firstLine + line))
    expect(numbers).toEqual([1, 2, 3, 4])
  })

  it('stops its source at the limit', async () => {
    const endless = source<Uint8Array>('endless', async function* () {
      for (;;) yield utf8('line\n')
    })
    const batches = await gather<LineBatch>(endless as never, readLines({ limit: 3 }) as never)
    expect(textOfLines(batches)).toEqual(['line', 'line', 'line'])
    expect(endless.stats.itemsOut).toBeLessThan(10)
  })

  describe('with a line over the limit', () => {
    const text = `ok\n${'x'.repeat(100)}\nalso ok\n${'y'.repeat(99)}`
    const options = { max_line_bytes: 20 }

    it.each([1, 2, 3, 7, 50, 1000])('fails with line and byte offset, in chunks of %i', async size => {
      const failure = await read(utf8(text), size, options).catch(error => error)
      expect(failure).toMatchObject({ code: 'LINE_TOO_LONG', where: { line: 2, byteOffset: 3 } })
    })

    it.each([1, 2, 3, 7, 50, 1000])('skips it with faulty: skip, in chunks of %i', async size => {
      const batches = await read(utf8(text), size, { ...options, faulty: 'skip' })
      expect(textOfLines(batches)).toEqual(['ok', 'also ok'])
      expect(batches.flatMap(batch => [...batch.lines].map(line => batch.firstLine + line))).toEqual([1, 3])
    })
  })
})
