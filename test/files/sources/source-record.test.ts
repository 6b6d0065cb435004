/** The sources of a packed file are recorded in its manifest; inspect shows them, and verify --deep uses them. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { unpack } from 'msgpackr/unpack'
import { beforeAll, describe, expect, it } from 'vitest'
import { changesOf, recordSources } from '#src/files/sources/source-record'
import { penstock } from '../../cli/support.js'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const packed = at('all.pbin')
const run = (...args: string[]) => penstock(args, folder)
const verify = () => run('verify', packed, '--deep', '--tokenizer', at('tokenizer.json'))

beforeAll(async () => {
  mkdirSync(at('shards'))
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  writeFileSync(at('shards/b.jsonl'), '{"text":"b"}\n')
  writeFileSync(at('shards/a.csv'), 'text\na\n')
  const args = ['--tokenizer', at('tokenizer.json'), '--order', 'given', '-o', packed]
  expect(await run('pack', 'shards/b.jsonl', 'shards/a.csv', ...args)).toMatchObject({ code: 0 })
}, 30_000)

describe('the sources of a packed file', () => {
  it('are in its manifest, in their order, with absolute paths', () => {
    const { sources } = unpack(readFileSync(`${packed}.manifest`)) as { sources: object }
    expect(sources).toEqual({
      samples: 64,
      paths: [at('shards/b.jsonl'), at('shards/a.csv')],
      bytes: [13, 7],
      versions: [expect.stringMatching(/^[0-9a-f]{64}$/), expect.stringMatching(/^[0-9a-f]{64}$/)],
    })
  })

  it('are shown by inspect', async () => {
    expect((await run('inspect', packed)).out).toMatch(/sources +2 files, 20 B/)
  }, 30_000)

  it('are read by verify --deep with the options that the manifest records', async () => {
    writeFileSync(at('shards/c.csv'), 'text;x;z,y\na;b;c,d\n')
    writeFileSync(at('shards/d.txt'), 'one\ntwo\n')
    const args = ['--delimiter', 'comma', '--text-per', 'line', '--field', '.["text;x;z"] // .text']
    const other = at('other.pbin')
    const packing = ['pack', 'shards/c.csv', 'shards/d.txt', ...args, '--tokenizer', at('tokenizer.json'), '-o', other]
    expect(await run(...packing)).toMatchObject({ code: 0 })
    expect(await run(...packing.slice(0, -2), '--output-folder', at('each'))).toMatchObject({ code: 0 })
    const checked = await run('verify', other, '--deep', '--tokenizer', at('tokenizer.json'), ...args.slice(-2))
    expect(checked).toMatchObject({ code: 0, out: expect.stringContaining('sound') })
  }, 30_000)

  it('are packed again by verify --deep, which names the one that has changed', async () => {
    expect(await verify()).toMatchObject({ code: 0 })
    writeFileSync(at('shards/a.csv'), 'text\nx\n')
    const { code, out, err } = await verify()
    expect({ code, text: out + err }).toEqual({
      code: 1,
      text: expect.stringContaining(`${at('shards/a.csv')}: the source has changed`),
    })
  }, 30_000)
})

describe('recordSources', () => {
  it('samples less of each of many files', async () => {
    const names = Array.from({ length: 600 }, (_, index) => at(`many-${index}`))
    for (const [index, name] of names.entries()) writeFileSync(name, `${index}`.repeat(30_000))
    const record = (await recordSources(names))!
    expect(record.samples).toBe(1)
    expect(new Set(record.versions).size).toBe(names.length)
    writeFileSync(names[7]!, `x${readFileSync(names[7]!, 'utf8').slice(1)}`)
    const changes: unknown[] = []
    for await (const change of changesOf(record)) changes.push(change)
    expect(changes).toEqual([expect.objectContaining({ code: 'FILE_CHANGED', where: { file: names[7] } })])
  })

  it('records nothing of what is not a file', async () => {
    expect(await recordSources([])).toBeUndefined()
    expect(await recordSources([at('many-1'), folder])).toBeUndefined()
  })
})
