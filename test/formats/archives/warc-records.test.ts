/** WARC bytes -> records, at any chunk size, with damage that costs only the record that has it. */
import { describe, expect, it } from 'vitest'
import { type WarcDamage, type WarcRecord, WarcSplitter } from '#src/formats/archives/warc-records'
import { utf8 } from '../../stages/support.js'

const record = (block: string, { type = 'conversion', length = utf8(block).length, end = '\r\n' } = {}): string =>
  [`WARC/1.0`, `WARC-Type: ${type}`, `Content-Length: ${length}`, '', block].join(end) + end + end

function split(text: string, chunk = text.length): (WarcRecord | WarcDamage)[] {
  const bytes = utf8(text)
  const splitter = new WarcSplitter(() => true)
  const found: (WarcRecord | WarcDamage)[] = []
  for (let at = 0; at < bytes.length; at += chunk) found.push(...splitter.push(bytes.slice(at, at + chunk)))
  return [...found, ...splitter.finish()]
}

/** Texts of records, `!` and the offset of damage. */
const shown = (found: readonly (WarcRecord | WarcDamage)[]): string[] =>
  found.map(item => (item.kind === 'damage' ? `!${item.byteOffset}` : Buffer.concat(item.block ?? []).toString()))

describe('WarcSplitter', () => {
  it.each([1, 2, 3, 7, 1000])('gives the blocks of records in chunks of %i bytes', chunk => {
    const text = record('') + record('a\r\n\r\nWARC/1.0\r\n') + record('日本', { end: '\n' }) + record('z')
    const found = split(text, chunk)
    expect(shown(found)).toEqual(['', 'a\r\n\r\nWARC/1.0\r\n', '日本', 'z'])
    expect(found.map(({ byteOffset }) => byteOffset)).toEqual([0, record('').length, 132, 190])
  })

  it('joins continued fields and keeps the first of repeated ones', () => {
    const [found] = split('WARC/1.1\r\nA: 1\r\n\t2\r\na: 3\r\nContent-Length: 0\r\n\r\n\r\n\r\n') as WarcRecord[]
    expect(found!.fields).toEqual(
      new Map([
        ['a', '1 2'],
        ['content-length', '0'],
      ]),
    )
  })

  it.each([1, 5, 1000])('continues after a damaged record, in chunks of %i bytes', chunk => {
    const good = record('good')
    const bad = [
      'junk\r\n\r\n',
      record('x', { length: 2 }).replace('Content-Length: 2\r\n', ''),
      record('short', { length: 2 }),
      'WARC/1.0\r\nContent-Length: 1e3\r\n\r\n',
      'WARC/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n',
    ]
    for (const damage of bad) {
      expect(shown(split(good + damage + good, chunk)), damage).toEqual(['good', `!${good.length}`, 'good'])
    }
  })

  it('reports a file that ends inside a header or a block', () => {
    const whole = record('good') + record('cut off')
    for (const end of [70, 100, 120]) {
      expect(shown(split(whole.slice(0, end))), `${end}`).toEqual(['good', `!${record('good').length}`])
    }
  })

  it('does not collect a header without an end', () => {
    const found = split(`WARC/1.0\r\n${'A: b\r\n'.repeat(300_000)}`, 1 << 16)
    expect(shown(found)).toEqual(['!0'])
  })

  it('continues at a cursor with the records after it, also inside damage', () => {
    const text = record('one') + record('cut', { length: 1 }) + record('two')
    for (let cut = 0; cut <= text.length; cut++) {
      const first = new WarcSplitter(() => true)
      const before = [...first.push(utf8(text.slice(0, cut)))]
      const second = new WarcSplitter(() => true, first.cursor)
      const after = [...second.push(utf8(text.slice(first.cursor.byteOffset))), ...second.finish()]
      expect(shown([...before, ...after]), `${cut}`).toEqual(['one', `!${record('one').length}`, 'two'])
    }
  })
})
