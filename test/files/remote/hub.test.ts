/** Data sets on the Hugging Face Hub, and files on web servers, give the bytes of the same files on disk. */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readJournal } from '#src/files/journal/journal-file'
import { penstock, start } from '../../cli/support.js'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { type HubServer, SIGNATURE, startHub } from './hub-server.js'
import { s3Python } from './object-store.js'

const execute = promisify(execFile)
const TOKEN = 'hf_secretTokenOfATest'
const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const hashOf = (name: string): string =>
  createHash('sha256')
    .update(readFileSync(at(name)))
    .digest('hex')
const jsonl = (word: string, count: number): Buffer =>
  Buffer.from(
    Array.from({ length: count }, (_, index) => `${JSON.stringify({ text: `${word} ${index} `.repeat(90) })}\n`).join(
      '',
    ),
  )

let hub: HubServer
const pack = (sources: readonly string[], output: string, env: NodeJS.ProcessEnv = {}) =>
  penstock(packArgs(sources, output), folder, { ...environment(), ...env })
const packArgs = (sources: readonly string[], output: string): string[] => [
  'pack',
  ...sources,
  '--tokenizer',
  at('tokenizer.json'),
  '-o',
  at(output),
]
const environment = () => ({
  HF_ENDPOINT: hub.endpoint,
  HF_TOKEN: '',
  HF_HOME: at('no-login'),
  HF_HUB_DISABLE_XET: '1',
})

const columnData = [
  { name: 'text', data: Array.from({ length: 4000 }, (_, row) => `row ${row} `.repeat(200)), type: 'STRING' as const },
]
const files = {
  'README.md': Buffer.from('small'),
  'data/a b.jsonl': jsonl('a', 3000),
  'data/deep/b.jsonl': jsonl('b', 10),
  'data/small.jsonl': Buffer.from('{"text":"small"}\n'),
  'data/z.parquet': Buffer.from(parquetWriteBuffer({ columnData, codec: 'UNCOMPRESSED' })),
}
/** In the order of their names. */
const DATA = ['data/a b.jsonl', 'data/deep/b.jsonl', 'data/small.jsonl', 'data/z.parquet'] as const

beforeAll(async () => {
  hub = await startHub()
  hub.push('org/set', { 'old.jsonl': jsonl('old', 5) })
  hub.push('org/set', files)
  writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
  for (const name of DATA) writeFileSync(at(name.replaceAll('/', '-')), files[name])
  const local = DATA.map(name => at(name.replaceAll('/', '-')))
  expect(await pack(local, 'local.pbin')).toMatchObject({ code: 0 })
  expect(await pack([at('data-a b.jsonl')], 'a.pbin')).toMatchObject({ code: 0 })
}, 60_000)
afterAll(() => hub.stop())

describe('the Hub', () => {
  it.skipIf(s3Python === undefined)(
    'is imitated well enough for its Python client (needs: node scripts/setup-python.mjs s3)',
    async () => {
      const script = `
import hashlib, json
from huggingface_hub import HfFileSystem, hf_hub_download
fs = HfFileSystem()
names = sorted(fs.glob('datasets/org/set/data/**/*.jsonl'))
path = hf_hub_download('org/set', 'data/a b.jsonl', repo_type='dataset')
with fs.open('datasets/org/set/data/z.parquet', 'rb') as file:
    file.seek(-4, 2)
    tail = file.read().decode()
print(json.dumps([names, hashlib.sha256(open(path, 'rb').read()).hexdigest(), tail]))`
      const env = { ...process.env, ...environment(), HF_HOME: at('python') }
      const [names, hash, tail] = JSON.parse((await execute(s3Python!, ['-c', script], { env })).stdout)
      expect(names).toEqual(DATA.slice(0, 3).map(name => `datasets/org/set/${name}`))
      expect(hash).toBe(hashOf('data-a b.jsonl'))
      expect(tail).toBe('PAR1')
    },
    60_000,
  )

  it('gives the bytes of local files, for folders, patterns, files and revisions', async () => {
    expect(await pack(['hf://datasets/org/set/data'], 'folder.pbin')).toMatchObject({ code: 0 })
    expect(hashOf('folder.pbin')).toBe(hashOf('local.pbin'))
    expect(await pack(['hf://datasets/org/set@main/data/**/*.{jsonl,parquet}'], 'glob.pbin')).toMatchObject({ code: 0 })
    expect(hashOf('glob.pbin')).toBe(hashOf('local.pbin'))
    expect(await pack(['hf://datasets/org/set/data/a b.jsonl'], 'file.pbin')).toMatchObject({ code: 0 })
    expect(hashOf('file.pbin')).toBe(hashOf('a.pbin'))
    const old = hub.push('org/other', { 'a.jsonl': files['data/a b.jsonl'] })
    hub.push('org/other', { 'a.jsonl': Buffer.from('{"text":"new"}\n') })
    expect(await pack([`hf://datasets/org/other@${old}/a.jsonl`], 'old.pbin')).toMatchObject({ code: 0 })
    expect(hashOf('old.pbin')).toBe(hashOf('a.pbin'))
  }, 60_000)

  it('is asked again when an address has expired', async () => {
    hub.usesOfAddress = 1
    const { expired } = hub.counts
    try {
      hub.push('org/large', { 'a.jsonl': jsonl('large', 30_000) })
      writeFileSync(at('large.jsonl'), jsonl('large', 30_000))
      expect(await pack([at('large.jsonl')], 'large-local.pbin')).toMatchObject({ code: 0 })
      expect(await pack(['hf://datasets/org/large/a.jsonl'], 'large.pbin')).toMatchObject({ code: 0 })
    } finally {
      hub.usesOfAddress = 1000
    }
    expect(hashOf('large.pbin')).toBe(hashOf('large-local.pbin'))
    expect(hub.counts.expired).toBeGreaterThan(expired)
  }, 60_000)

  it('needs a token for a gated data set, which goes to nobody else and into no file', async () => {
    hub.push('org/gated', { 'a.jsonl': files['data/a b.jsonl'] })
    hub.gate('org/gated', TOKEN)
    const source = 'hf://datasets/org/gated/a.jsonl'
    const without = await pack([source], 'gated.pbin')
    expect(without).toMatchObject({ code: 1, err: expect.stringContaining('set HF_TOKEN') })
    const wrong = await pack([source], 'gated.pbin', { HF_TOKEN: 'hf_wrongToken' })
    expect(wrong).toMatchObject({ code: 1, err: expect.stringContaining('the data set is gated') })
    const right = await pack([source], 'gated.pbin', { HF_TOKEN: TOKEN })
    expect(right).toMatchObject({ code: 0 })
    expect(hashOf('gated.pbin')).toBe(hashOf('a.pbin'))
    expect(hub.leaked).toEqual([])
    for (const text of [without.err, wrong.err, right.err, right.out]) {
      expect(text).not.toMatch(new RegExp(`${TOKEN}|hf_wrongToken|${SIGNATURE}`))
    }
    const written = readdirSync(folder).filter(name => /pbin/.test(name))
    expect(written).toContain('gated.pbin.manifest')
    for (const name of written)
      expect(readFileSync(at(name), 'latin1'), name).not.toMatch(new RegExp(`${TOKEN}|${SIGNATURE}`))
  }, 60_000)

  it('serves the commit that a killed run began with', async () => {
    const before = jsonl('before', 40_000)
    writeFileSync(at('before.jsonl'), before)
    expect(await pack([at('before.jsonl')], 'before.pbin')).toMatchObject({ code: 0 })
    hub.push('org/moving', { 'a.jsonl': before })
    hub.blockAfterBytes = before.length - (2 << 20)
    const run = start(packArgs(['hf://datasets/org/moving/a.jsonl'], 'moving.pbin'), folder, environment())
    while ((await readJournal(at('moving.pbin.journal'))).records.length < 2)
      await new Promise(resolve => setTimeout(resolve, 50))
    run.kill('SIGKILL')
    await run.outcome
    hub.blockAfterBytes = undefined
    hub.push('org/moving', { 'a.jsonl': jsonl('after', 40_000) })
    const resumed = await pack(['hf://datasets/org/moving/a.jsonl'], 'moving.pbin')
    expect(resumed).toMatchObject({ code: 0, err: expect.stringContaining('resum') })
    expect(hashOf('moving.pbin')).toBe(hashOf('before.pbin'))
  }, 60_000)

  it('reports data sets, revisions and files that do not exist', async () => {
    const cases: [string, string][] = [
      ['hf://datasets/org/none/a.jsonl', 'no such data set'],
      ['hf://datasets/org/set@none/a.jsonl', 'no revision none'],
      ['hf://datasets/org/set/none.jsonl', 'no such file'],
      ['hf://datasets/org/set/data/none*.jsonl', 'no file matches the pattern'],
      ['hf://models/org/set', 'expected hf://datasets/'],
    ]
    for (const [source, message] of cases) {
      expect((await pack([source], 'none.pbin')).err, source).toContain(message)
    }
  }, 60_000)
})

describe('a web server', () => {
  it('gives the bytes of a local file, also after a redirect', async () => {
    for (const kind of ['plain', 'moved']) {
      expect(await pack([`${hub.web}/${kind}/org/set/head/data%2Fa%20b.jsonl`], `${kind}.pbin`)).toMatchObject({
        code: 0,
      })
      expect(hashOf(`${kind}.pbin`)).toBe(hashOf('a.pbin'))
    }
  }, 60_000)

  it('must answer range requests, have the file, and need no secret in the address', async () => {
    const whole = await pack([`${hub.web}/whole/org/set/head/data%2Fa%20b.jsonl`], 'none.pbin')
    expect(whole.err).toContain('no range requests')
    const missing = await pack([`${hub.web}/plain/org/set/head/none.jsonl`], 'none.pbin')
    expect(missing.err).toContain('no such file')
    for (const address of ['https://user:password1@host/a.jsonl', 'https://host/a.jsonl?sig=password1']) {
      const { code, err } = await pack([address], 'none.pbin')
      expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining('may contain secrets') })
      expect(err).not.toContain('password1')
    }
  }, 60_000)
})
