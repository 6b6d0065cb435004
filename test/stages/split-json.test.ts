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

  it.each([1, 7, 1000])('keeps digits, signs, escapes and the order of keys, in chunks of %i', async size => {
    const exact = [
      '{"id":12345678901234567890,"f":1.0,"e":1e400,"neg":-0.0,"2":1,"1":2}',
      '"\\u00e4 \\"[1, 2"',
      '-0',
      '{}',
    ]
    const spaced = `[ ${exact.join(' ,\n ').replaceAll(':', ' :\t')} ]\n`
    expect(textOfLines(await split(spaced, size))).toEqual(exact)
    expect(textOfLines(await split(exact.join(' '), size, { shape: 'values' }))).toEqual(exact)
  })

  it.each([
    ['a.1.b', '{"x":[1],"a":[{"b":[9]},{"c":0,"b":[1,[2]]}],"b":[7]}', 'array', ['1', '[2]']],
    ['a', '{"a":1}{"b":2}{"a":{"a":3}}', 'values', ['1', '{"a":3}']],
    ['a', '{"b":{"a":[1]},"\\u0061":[2]}', 'array', ['2']],
  ])('picks %s of %s', async (pick, text, shape, expected) => {
    expect(textOfLines(await split(text, 3, { pick, shape }))).toEqual(expected)
  })

  it.each([
    ['data.itemz', '{"data":{"items":[1]}}', 'OPTION_INVALID'],
    ['data', '{"data":{"items":[1]}}', 'JSON_INVALID'],
    ['data', '[1]', 'OPTION_INVALID'],
  ])('rejects pick %s of %s', async (pick, text, code) => {
    expect(await split(text, 3, { pick }).catch(error => error.code)).toBe(code)
  })

  it('emits many records in several batches', async () => {
    const many = Array.from({ length: 20_000 }, (_, id) => ({ id, text: 'x'.repeat(60) }))
    const batches = await split(JSON.stringify(many), 1 << 16)
    expect(batches.length).toBeGreaterThan(2)
    expect(textOfLines(batches)).toEqual(many.map(record => JSON.stringify(record)))
  })

  const malformed = [
    '[1, 2',
    '{"a": [1]}',
    '[1 2]',
    '[[1 2]]',
    '[1,]',
    '[1]x',
    '[tru e]',
    '[01]',
    '["a\nb"]',
    '[{"a" 1}]',
    ']',
    '[1}',
    '',
  ]
  it.each(malformed)('rejects %j', async text => {
    for (const size of [1, 3, 100]) expect(await split(text, size).catch(error => error.code)).toBe('JSON_INVALID')
  })

  it.each(['[{"a":"bcd"}]', '["bcdefghi"]', '[12345678901]'])('bounds the size of a value: %s', async text => {
    for (const size of [1, 3, 100]) {
      const cut = split(text, size, { max_record_bytes: text.length - 3 })
      await expect(cut).rejects.toMatchObject({ code: 'LINE_TOO_LONG', where: { byteOffset: 1 } })
      const whole = await split(text, size, { max_record_bytes: text.length - 2 })
      expect(textOfLines(whole)).toEqual([text.slice(1, -1)])
    }
  })

  it('reports the byte offset of an error', async () => {
    const failure = await split('[{"a":1}, {"a":}]', 3).catch(error => error)
    expect(failure).toMatchObject({ code: 'JSON_INVALID', where: { byteOffset: 10 } })
  })
})
