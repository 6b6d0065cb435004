import { appendFileSync, cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { isSound } from '#src/integrity/findings'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import {
  type Corpus,
  codesIn,
  DOCUMENTS,
  flipBit,
  makeCheckpoint,
  makeCorpus,
  verdictOf,
  verdictsOf,
} from './fixtures.js'

const folder = temporaryFolder()
const made = makeCorpus(folder)
let corpus: Corpus
beforeEach(async () => {
  corpus = await made
})

/** Verdict on a modified copy of a file, with or without its manifest. */
async function verdictOnChanged(path: string, change: (copy: string) => void, withManifest: boolean) {
  const copy = join(folder, `changed${path.slice(path.lastIndexOf('.'))}`)
  cpSync(path, copy)
  rmSync(`${copy}.manifest`, { force: true })
  if (withManifest) cpSync(`${path}.manifest`, `${copy}.manifest`)
  change(copy)
  return verdictOf(copy)
}

describe('verify', () => {
  it('reports no findings and the totals for intact files', async () => {
    const [index, packed] = [await verdictOf(corpus.index), await verdictOf(corpus.packed)]
    const rows = await verdictOf(corpus.rows)
    expect(index).toMatchObject({ kind: 'index', counts: { records: DOCUMENTS }, findings: [] })
    expect(packed).toMatchObject({ kind: 'packed file', counts: { documents: DOCUMENTS }, findings: [] })
    expect(rows).toMatchObject({ kind: 'packed rows', counts: { documentParts: DOCUMENTS }, findings: [] })
    expect(rows.counts.tokens).toBe(packed.counts.tokens)
  })

  it('detects every flipped bit of an index, a packed file and packed rows with a manifest', async () => {
    for (const path of [corpus.index, corpus.packed, corpus.rows]) {
      const bits = statSync(path).size * 8
      await fc.assert(
        fc.asyncProperty(fc.nat(bits - 1), async bit => {
          const verdict = await verdictOnChanged(path, copy => flipBit(copy, bit), true)
          expect(isSound(verdict)).toBe(false)
        }),
        { numRuns: 150 },
      )
    }
  })

  it('detects every flipped bit of the header of packed rows', async () => {
    for (let bit = 0; bit < (48 + 24) * 8; bit++) {
      const verdict = await verdictOnChanged(corpus.rows, copy => flipBit(copy, bit), true)
      expect(isSound(verdict), `bit ${bit}`).toBe(false)
    }
  })

  it('detects every truncation and extension without a manifest', async () => {
    for (const path of [corpus.index, corpus.packed, corpus.rows]) {
      const size = statSync(path).size
      for (let bytes = 0; bytes < size; bytes += 7) {
        const verdict = await verdictOnChanged(path, copy => truncateSync(copy, bytes), false)
        expect(isSound(verdict), `${path} cut to ${bytes}`).toBe(false)
      }
      for (const extra of [1, 2, 100]) {
        const verdict = await verdictOnChanged(path, copy => appendFileSync(copy, Buffer.alloc(extra, 0x2e)), false)
        expect(isSound(verdict), `${path} longer by ${extra}`).toBe(false)
      }
    }
  })

  it('locates damage, and notes a missing manifest', async () => {
    const data = 40
    const damaged = await verdictOnChanged(corpus.packed, copy => flipBit(copy, data * 8), true)
    expect(codesIn(damaged)).toEqual(['FILE_DAMAGED'])
    expect(damaged.findings[0]!.error.where.byteOffset).toBe(12)
    const unseen = await verdictOnChanged(corpus.packed, copy => flipBit(copy, data * 8), false)
    expect([codesIn(unseen), codesIn(unseen, 'note')]).toEqual([[], ['FILE_MISSING']])
  })

  it('detects every flipped bit, truncation and missing file of a checkpoint', async () => {
    const path = await makeCheckpoint(join(folder, 'checkpoints'))
    expect(await verdictOf(path)).toMatchObject({ kind: 'checkpoint', counts: { step: 3, files: 2 }, findings: [] })
    for (const name of ['state.json', 'model.safetensors', 'optimizer.safetensors']) {
      const file = join(path, name)
      const whole = readFileSync(file)
      for (let bit = 0; bit < whole.length * 8; bit += 101) {
        flipBit(file, bit)
        expect(isSound(await verdictOf(path)), `${name}, bit ${bit}`).toBe(false)
        writeFileSync(file, whole)
      }
      truncateSync(file, whole.length - 1)
      expect(codesIn(await verdictOf(path))).toEqual(['CHECKPOINT_INVALID'])
      rmSync(file)
      expect(isSound(await verdictOf(path))).toBe(false)
      writeFileSync(file, whole)
    }
  })

  it('checks entries, tokens and totals of packed rows without a manifest, and names the row', async () => {
    const header = 48 + 24
    const entry = (field: number, value: number) => (copy: string) => {
      const bytes = readFileSync(copy)
      bytes.writeUInt32LE(value, header + 16 * 2 + field)
      writeFileSync(copy, bytes)
    }
    const messageOf = async (change: (copy: string) => void) => {
      const { findings } = await verdictOnChanged(corpus.rows, change, false)
      return findings.filter(({ level }) => level === 'damaged').map(({ error }) => error.message)
    }
    expect((await messageOf(entry(0, 1 << 20)))[0]).toMatch(
      /^row 0 is invalid: document \d+ ends at token \d+ of a file/,
    )
    expect((await messageOf(entry(8, 66)))[0]).toMatch(/^row 0 is invalid: \d+ tokens in a row of 65/)
    expect((await messageOf(entry(8, 0)))[0]).toMatch(
      /^the rows have 60 entries and \d+ tokens; the header says 60 and/,
    )
    const firstOffset = (copy: string) => flipBit(copy, 8 * (header + 16 * DOCUMENTS))
    expect((await messageOf(firstOffset))[0]).toMatch(/^the rows have 59 entries/)
  })

  it('rejects an index whose source was edited', async () => {
    const source = readFileSync(corpus.source)
    writeFileSync(corpus.source, source.toString().replace('line 7', 'LINE 7'))
    expect(codesIn(await verdictOf(corpus.index))).toEqual(['FILE_CHANGED'])
    writeFileSync(corpus.source, source)
  })

  it('compares tokens with the tokenizer', async () => {
    const other = join(folder, 'other.json')
    writeFileSync(other, `${JSON.stringify(byteTokenizer())} `)
    expect(codesIn(await verdictOf(corpus.packed, { tokenizer: other }))).toEqual(['TOKENIZER_MISMATCH'])
    const { tokenizer } = corpus
    expect((await verdictOf(corpus.packed, { tokenizer })).findings).toEqual([])
    const wide = await verdictOnChanged(corpus.packed, copy => flipBit(copy, 13 * 8 + 7), false)
    expect(codesIn(wide)).toEqual([])
  })

  it('does not report a broken tokenizer as damage of the file', async () => {
    const broken = join(folder, 'broken.json')
    writeFileSync(broken, '{')
    await expect(verdictOf(corpus.packed, { tokenizer: broken })).rejects.toMatchObject({ code: 'TOKENIZER_INVALID' })
  })

  it('compares with the source on request and names the first document that differs', async () => {
    const { source, tokenizer } = corpus
    const deep = { deep: true, source, tokenizer }
    expect((await verdictOf(corpus.packed, deep)).findings).toEqual([])
    expect((await verdictOf(corpus.index, deep)).findings).toEqual([])
    const edited = join(folder, 'edited.jsonl')
    writeFileSync(edited, readFileSync(source, 'utf8').replace('line 41', 'line 42'))
    const verdict = await verdictOf(corpus.packed, { ...deep, source: edited })
    expect(verdict.findings.at(-1)!.error).toMatchObject({ code: 'FILE_DAMAGED', where: { record: 41 } })
    writeFileSync(edited, readFileSync(source, 'utf8').replace('line 41', 'line 4'))
    const moved = await verdictOf(corpus.index, { deep: true, source: edited })
    expect(moved.findings.at(-1)!.error).toMatchObject({ code: 'FILE_DAMAGED', where: { record: 41 } })
    expect(codesIn(await verdictOf(corpus.packed, { ...deep, endOfDocument: 'line' }))).toContain('FILE_DAMAGED')
    expect(END).not.toBe('line')
  })

  it('rejects a remote file with the tool that copies it', async () => {
    const verdicts = verdictsOf('s3://bucket/a.pbin')
    await expect(verdicts).rejects.toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('aws s3 cp') })
  })

  it('searches folders and reports leftovers of killed runs', async () => {
    writeFileSync(join(folder, 'lost.pbin.part'), '')
    const kinds = (await verdictsOf(folder)).map(({ kind }) => kind)
    expect(kinds).toContain('index')
    expect(kinds).toContain('packed file')
    expect(kinds).toContain('packed rows')
    expect(kinds).toContain('checkpoint')
    expect(kinds).toContain('leftover')
  })
})
