/** Outputs in an object store: complete or absent, the same bytes as local ones, and the first of two writers wins. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { textOf } from '#src/files/remote/http-request'
import { sendToS3 } from '#src/files/remote/s3-request'
import { penstock, start } from '../../cli/support.js'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { type ObjectStore, s3Python, startBadNetwork, startObjectStore } from './object-store.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
const hash = (bytes: Uint8Array | undefined): string | undefined =>
  bytes && createHash('sha256').update(bytes).digest('hex')
const hashOf = (name: string): string | undefined => hash(readFileSync(at(name)))
const lines = Array.from({ length: 12_000 }, (_, index) =>
  JSON.stringify({ text: `${`${index} `.repeat(index % 900)}.` }),
)

describe.skipIf(s3Python === undefined)('outputs in an object store (needs: node scripts/setup-python.mjs s3)', () => {
  let store: ObjectStore
  /** Each machine has a staging folder of its own. */
  const env = (machine: string) => ({ ...store.env, XDG_CACHE_HOME: at(machine) })
  const packArgs = (output: string, ...more: string[]): string[] => [
    'pack',
    at('corpus.jsonl'),
    '--tokenizer',
    at('tokenizer.json'),
    '-o',
    output,
    '--quiet',
    ...more,
  ]
  const object = async (key: string) => hash(await store.get('outputs', key))

  beforeAll(async () => {
    store = await startObjectStore(at('store'))
    await store.put('outputs', 'other', '')
    writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
    writeFileSync(at('corpus.jsonl'), `${lines.join('\n')}\n`)
    expect(await penstock(packArgs(at('local.pbin')), folder)).toMatchObject({ code: 0, err: '' })
  }, 120_000)
  afterAll(() => store?.stop())

  it('have the bytes of local ones, with their manifest, also over a bad network', async () => {
    const network = await startBadNetwork(store.endpoint, 1 << 20)
    try {
      const bad = { ...env('a'), AWS_ENDPOINT_URL: network.endpoint }
      expect(await penstock(packArgs('s3://outputs/a.pbin'), folder, bad)).toMatchObject({ code: 0, err: '' })
      expect(network.counts.refused).toBeGreaterThan(0)
    } finally {
      await network.stop()
    }
    expect(await object('a.pbin')).toBe(hashOf('local.pbin'))
    expect(await object('a.pbin.manifest')).toBe(hashOf('local.pbin.manifest'))
  }, 120_000)

  it('are kept, replaced or an error when they exist', async () => {
    await store.put('outputs', 'exists.pbin', 'old')
    const exists = 's3://outputs/exists.pbin'
    const failed = await penstock(packArgs(exists), folder, env('b'))
    expect(failed).toMatchObject({ code: 1, err: expect.stringContaining(`${exists}: the output exists`) })
    expect(await penstock(packArgs(exists, '--if-exists', 'skip'), folder, env('b'))).toMatchObject({ code: 0 })
    expect((await store.get('outputs', 'exists.pbin'))?.toString()).toBe('old')
    expect(await penstock(packArgs(exists, '--if-exists', 'override'), folder, env('b'))).toMatchObject({ code: 0 })
    expect(await object('exists.pbin')).toBe(hashOf('local.pbin'))
  }, 60_000)

  it('come from the first of two writers; the other one reports it', async () => {
    const both = await Promise.all(
      ['c', 'd'].map(machine => penstock(packArgs('s3://outputs/both.pbin'), folder, env(machine))),
    )
    const [lost, ...others] = both.filter(({ code }) => code !== 0)
    expect(others).toEqual([])
    expect(lost?.err).toMatch(/both.pbin: (another run has published this output first|the output exists)/)
    expect(await object('both.pbin')).toBe(hashOf('local.pbin'))
    expect(await object('both.pbin.manifest')).toBe(hashOf('local.pbin.manifest'))
  }, 60_000)

  it('are absent after a kill, and the next run publishes the same bytes', async () => {
    const name = 's3://outputs/killed.pbin'
    for (let delay = 300; ; delay *= 1.3) {
      const run = start(packArgs(name), folder, env('e'))
      const timer = setTimeout(() => run.kill('SIGKILL'), delay)
      const { signal } = await run.outcome
      clearTimeout(timer)
      if (signal === null) break
      expect(await object('killed.pbin').then(found => found ?? hashOf('local.pbin'))).toBe(hashOf('local.pbin'))
    }
    expect(await object('killed.pbin')).toBe(hashOf('local.pbin'))
    const query = { uploads: '', prefix: 'killed' }
    const pending = await textOf(await sendToS3({ name, bucket: 'outputs', query }))
    expect(pending).not.toContain('<Upload>')
  }, 120_000)

  it('of one source each are written to a folder of the store, skipping those that are there', async () => {
    writeFileSync(at('b.jsonl'), `${lines.slice(0, 10).join('\n')}\n`)
    const args = ['pack', at('corpus.jsonl'), at('b.jsonl'), '--tokenizer', at('tokenizer.json')]
    const folders = [...args, '--output-folder', 's3://outputs/each/', '--index']
    expect(await penstock([...folders, '--quiet'], folder, env('f'))).toMatchObject({ code: 0, err: '' })
    expect(await object('each/corpus.pbin')).toBe(hashOf('local.pbin'))
    expect(await object('each/b.idx')).toBeDefined()
    const again = await penstock(folders, folder, env('g'))
    expect(again.err).toContain('2 of 2 packed files already exist')
  }, 60_000)

  it('are not begun without access to the bucket', async () => {
    const missing = await penstock(packArgs('s3://missing-bucket/x.pbin'), folder, env('h'))
    expect(missing).toMatchObject({ code: 1, err: expect.stringContaining('no bucket missing-bucket') })
    const hub = await penstock(packArgs('https://127.0.0.1/x.pbin'), folder, env('h'))
    expect(hub).toMatchObject({ code: 2, err: expect.stringContaining('outputs are local files or objects') })
  }, 60_000)
})
