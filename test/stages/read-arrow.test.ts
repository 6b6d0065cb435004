/** Texts of Arrow files: the same as those that pyarrow wrote, in every encoding. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { DocumentBatch } from '#src/formats/batches'
import { type ReadCorpusOptions, readCorpus } from '#src/stages/read-corpus'
import { peersPython } from '../monitoring/fixtures.js'
import { documentTexts, gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const python = peersPython()

/** Some are alike, some are long, and some are short enough to be inside a view. */
const texts = Array.from({ length: 2000 }, (_, index) =>
  index % 10 === 0 ? 'again' : `${index} 日本 ${'words '.repeat(index % 500 === 7 ? 60_000 : index % 30)}`,
)
if (python !== undefined) {
  writeFileSync(at('texts.json'), JSON.stringify(texts))
  execFileSync(python, [new URL('write-arrow.py', import.meta.url).pathname, folder, at('texts.json')])
}

async function read(name: string, options: Omit<ReadCorpusOptions, 'sources'> = {}) {
  const stage = readCorpus({ sources: [at(name)], ...options })
  const batches = await gather<DocumentBatch>(stage)
  const rows = batches.flatMap(({ origin }) => [...origin.lines].map(line => origin.firstLine + line))
  return { texts: documentTexts(batches), rows, rejected: stage.stats.rejected }
}

describe.skipIf(python === undefined)('Arrow files of pyarrow', () => {
  it.each([
    'file.arrow',
    'stream.arrows',
    'one-batch.arrow',
    'many-batches.arrow',
    'lz4.arrow',
    'zstd.arrow',
    'large.arrow',
    'view.arrow',
    'view-zstd.arrow',
    'binary.arrow',
    'dictionary.arrow',
    'dictionary-stream.arrow',
    'replaced.arrow',
    'deltas.arrow',
    'sliced.arrow',
    'v2.feather',
  ])('give the texts of %s', async name => {
    const found = await read(name)
    expect(found.texts).toEqual(texts)
    expect(found.rows).toEqual(Array.from(texts, (_, index) => index + 1))
    const isBinary = name === 'binary.arrow'
    const shown = (text: string): string => (isBinary ? Buffer.from(text).toString('base64') : text)
    const filtered = await read(name, { field: '.text + "!"' })
    expect(filtered.texts).toEqual(texts.map(text => `${shown(text)}!`))
  })

  it('give the texts of a column in a struct', async () => {
    expect((await read('nested.arrow', { field: '.doc.text' })).texts).toEqual(texts)
  })

  it.each([
    ['nulls.arrow', '.text'],
    ['nulls-view.arrow', '.text'],
    ['nulls-dictionary.arrow', '.text'],
    ['nulls-in-dictionary.arrow', '.text'],
    ['nulls-struct.arrow', '.doc.text'],
  ])('give a fault for each null of %s', async (name, field) => {
    const isNull = (index: number): boolean => index % 3 === 1
    const found = await read(name, { field, faulty: 'skip' })
    expect(found.texts).toEqual(texts.filter((_, index) => !isNull(index)))
    expect(found.rejected).toBe(texts.filter((_, index) => isNull(index)).length)
    await expect(read(name, { field })).rejects.toMatchObject({
      code: 'FIELD_MISSING',
      where: { file: at(name), line: 2 },
      message: expect.stringContaining('record batch 0'),
    })
  })

  it('give the values of other types to a filter', async () => {
    const found = await read('records.arrow', { field: 'tojson' })
    expect(found.texts.map(text => JSON.parse(text))).toEqual([
      {
        text: 'a',
        big: 2 ** 60,
        small: -5,
        half: 0.5,
        yes: true,
        none: null,
        tags: ['x', null, 'y'],
        pair: [1, 2],
        inner: { word: 'w', list: [[1], []] },
        kind: 'red',
        at_s: '2026-01-02T03:04:05.000Z',
        at_ns: '2026-01-02T03:04:05.000Z',
        day: '2026-01-02T00:00:00.000Z',
      },
      expect.objectContaining({ text: 'b', tags: [], inner: null, kind: null }),
    ])
    expect(found.texts[0]).toContain('1152921504606846976')
  })

  it('name the columns that exist, and what they do not hold', async () => {
    const missing = { code: 'FIELD_MISSING', message: expect.stringContaining('.id, .numbers, .doc.n, .doc.text') }
    await expect(read('nested.arrow', { field: '.body' })).rejects.toMatchObject(missing)
    await expect(read('file.arrow', { field: '.id' })).rejects.toMatchObject({ code: 'FIELD_NOT_TEXT' })
    writeFileSync(at('v1.feather'), 'FEA1 and more')
    await expect(read('v1.feather')).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('reject a text over the limit as a record', async () => {
    const found = await read('one-batch.arrow', { max_record_bytes: 10_000, faulty: 'skip' })
    expect(found.texts).toEqual(texts.filter(text => text.length < 10_000))
    expect(found.rejected).toBe(4)
  })

  it.each(['stream.arrows', 'lz4.arrow', 'view.arrow', 'dictionary-stream.arrow'])(
    'are rejected where %s is damaged, without a crash or a wrong length',
    async name => {
      const whole = readFileSync(at(name))
      const path = `damaged-${name}`
      for (const cut of [0, 3, 7, 20, 1000, whole.length >> 1]) {
        writeFileSync(at(path), whole.subarray(0, cut))
        await expect(read(path), `${cut}`).rejects.toMatchObject({ code: 'ARROW_INVALID', where: { file: at(path) } })
      }
      // Changed metadata either leaves the texts alone or is reported.
      for (let position = 8; position < 1200; position += 13) {
        const damaged = Buffer.from(whole)
        damaged[position]! ^= 0x41
        writeFileSync(at(path), damaged)
        const outcome = await read(path, { faulty: 'skip' }).catch(error => error.code)
        const isRight = typeof outcome === 'string' || outcome.texts.length + outcome.rejected <= texts.length
        expect(isRight, `${position}: ${outcome}`).toBe(true)
        if (typeof outcome === 'string') expect(outcome).toMatch(/^(ARROW_INVALID|UNSUPPORTED|FIELD_\w+)$/)
      }
    },
  )
})
