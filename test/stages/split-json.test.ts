import { describe, expect, it } from 'vitest'
import type { LineBatch } from '#src/formats/batches'
import { splitJson } from '#src/stages/split-json'
import { chunked, gather, textOfLines, utf8 } from './support.js'

const split = (text: string, size: number, options = {}) =>
  gather<LineBatch>(chunked(utf8(text), size), splitJson(options) as never)

describe('split-json', () => {
  const records = [{ text: 'ä\n"😀"' }, 1.5, [null, true], {}]

  it.each([1, 2, 3, 7, 1000])('emits the elements of an array, in chunks of %i', async size => {
    const batches = await split(JSON.stringify(records, null, 2), size)
    expect(textOfLines(batches)).toEqual(records.map(record => JSON.stringify(record)))
    expect(batches.flatMap(batch => [...batch.lines].map(line => batch.firstLine + line))).toEqual([1, 2, 3, 4])
  })

  it('picks the array under a key', async () => {
    const text = JSON.stringify({ meta: [9], data: { items: records } })
    expect(textOfLines(await split(text, 5, { pick: 'data.items' }))).toEqual(
      records.map(record => JSON.stringify(record)),
    )
  })

  it('emits concatenated values', async () => {
    expect(textOfLines(await split('{"a":1} {"a":2}\n\n{"a":3}', 4, { shape: 'values' }))).toEqual([
      '{"a":1}',
      '{"a":2}',
      '{"a":3}',
    ])
  })

  it('emits many records in several batches', async () => {
    const many = Array.from({ length: 20_000 }, (_, id) => ({ id, text: 'x'.repeat(60) }))
    const batches = await split(JSON.stringify(many), 1 << 16)
    expect(batches.length).toBeGreaterThan(2)
    expect(textOfLines(batches)).toEqual(many.map(record => JSON.stringify(record)))
  })

  it.each(['[1, 2', '{"a": [1]}', '[1 2]'])('rejects %s', async text => {
    expect(await split(text, 3).catch(error => error.code)).toBe('JSON_INVALID')
  })
})
