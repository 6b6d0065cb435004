/** Corpora in an object store give the bytes of the same corpora on disk, also over a bad network. */
import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listSources, locateSources } from '#src/files/source-list'
import { penstock } from '../../cli/support.js'
import { byteTokenizer } from '../../stages/byte-tokenizer.js'
import { temporaryFolder } from '../../stages/support.js'
import { type ObjectStore, SECRET, s3Python, startBadNetwork, startObjectStore } from './object-store.js'

const folder = temporaryFolder()
const hashOf = (name: string): string =>
  createHash('sha256')
    .update(readFileSync(at(name)))
    .digest('hex')
const at = (...names: string[]): string => join(folder, ...names)
const jsonl = (from: number, to: number): string =>
  Array.from(
    { length: to - from },
    (_, index) => `${JSON.stringify({ text: `document ${from + index} ${'x'.repeat(index % 3000)}` })}\n`,
  ).join('')

describe.skipIf(s3Python === undefined)('an object store (needs: node scripts/setup-python.mjs s3)', () => {
  let store: ObjectStore
  const pack = (sources: readonly string[], output: string, env: Record<string, string> = {}) =>
    penstock(['pack', ...sources, '--tokenizer', at('tokenizer.json'), '-o', at(output), '--quiet'], folder, {
      ...store.env,
      ...env,
    })

  beforeAll(async () => {
    store = await startObjectStore(at('store'))
    writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
    mkdirSync(at('shards'))
    const texts = Array.from({ length: 3000 }, (_, row) => `row ${row} `.repeat((row % 700) + 1))
    const columnData = [{ name: 'text', data: texts, type: 'STRING' as const }]
    const files: Record<string, Uint8Array> = {
      'a b+ü.jsonl': Buffer.from(jsonl(0, 8000)),
      'c.jsonl.gz': gzipSync(jsonl(8000, 9000)),
      'd.parquet': Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize: 1100, codec: 'UNCOMPRESSED' })),
      'e.csv': Buffer.from('id,text\n1,"first"\n2,"second"\n'),
      'f.jsonl': new Uint8Array(0),
    }
    for (const [name, bytes] of Object.entries(files)) {
      writeFileSync(at('shards', name), bytes)
      await store.put('corpora', `shards/${name}`, bytes)
    }
    await store.put('corpora', 'shards/.hidden.jsonl', 'not read')
    expect(await pack([at('shards')], 'local.pbin')).toMatchObject({ code: 0, err: '' })
  }, 120_000)
  afterAll(() => store?.stop())

  it('gives the bytes of local files, for a folder and for patterns', async () => {
    expect(await pack(['s3://corpora/shards/'], 'folder.pbin')).toMatchObject({ code: 0, err: '' })
    expect(hashOf('folder.pbin')).toBe(hashOf('local.pbin'))
    const patterns = ['s3://corpora/shards/[a-c]*.{jsonl,jsonl.gz}', 's3://corpora/**/d.parquet', at('shards', 'e.csv')]
    expect(await pack([...patterns, '--order', 'given'], 'patterns.pbin')).toMatchObject({ code: 0, err: '' })
    expect(hashOf('patterns.pbin')).toBe(hashOf('local.pbin'))
  }, 60_000)

  it('is sampled by init, and planned by the definition that it writes', async () => {
    const run = (...args: string[]) => penstock(args, folder, store.env)
    const init = await run('init', 's3://corpora/shards/', '--tokenizer', at('tokenizer.json'))
    expect(init).toMatchObject({ code: 0 })
    const plan = await run('plan', at('shards.yaml'))
    expect(plan.out).toMatch(/reads +s3:\/\/corpora\/shards\/a b/)
    expect(plan.out).not.toContain('missing')
  }, 60_000)

  it('gives the same bytes when connections break and requests are refused', async () => {
    const network = await startBadNetwork(store.endpoint, 2 << 20)
    try {
      const env = { AWS_ENDPOINT_URL: network.endpoint }
      expect(await pack(['s3://corpora/shards'], 'bad.pbin', env)).toMatchObject({ code: 0, err: '' })
      expect(hashOf('bad.pbin')).toBe(hashOf('local.pbin'))
      expect(network.counts.dropped).toBeGreaterThan(0)
      expect(network.counts.refused).toBeGreaterThan(0)
    } finally {
      await network.stop()
    }
  }, 60_000)

  it('lists more than 1,000 objects', async () => {
    const keys = Array.from({ length: 1003 }, (_, index) => `many/${index}.jsonl`)
    for (let from = 0; from < keys.length; from += 50) {
      await Promise.all(keys.slice(from, from + 50).map(key => store.put('corpora', key, '{"text":"a"}\n')))
    }
    await locateSources(['s3://corpora/many/*.jsonl'])
    expect(listSources(['s3://corpora/many/*.jsonl'])).toEqual(keys.map(key => `s3://corpora/${key}`).sort())
  }, 60_000)

  it('reports what is wrong with credentials and names', async () => {
    const shards = 's3://corpora/shards'
    const wrongSecret = 'wrong-secret'
    const cases: [string, Record<string, string>, string][] = [
      [shards, { AWS_SECRET_ACCESS_KEY: wrongSecret }, 'SignatureDoesNotMatch'],
      [shards, { AWS_ACCESS_KEY_ID: 'other' }, 'InvalidAccessKeyId'],
      [shards, { AWS_ACCESS_KEY_ID: '' }, 'no credentials: set AWS_ACCESS_KEY_ID'],
      ['s3://no-such-bucket/a.jsonl', {}, 'no bucket no-such-bucket at http://127.0.0.1'],
      ['s3://corpora/none.jsonl', {}, 'no such file'],
      ['s3://corpora/none*.jsonl', {}, 'no file matches the pattern'],
    ]
    for (const [source, env, message] of cases) {
      const { code, err, out } = await pack([source], 'none.pbin', env)
      expect({ code, err }).toEqual({ code: 1, err: expect.stringContaining(message) })
      expect(out + err).not.toContain(SECRET)
      expect(out + err).not.toContain(wrongSecret)
    }
  }, 60_000)

  it('notices an object that is replaced while it is read', async () => {
    const { openAnySource } = await import('#src/files/source-file')
    await store.put('corpora', 'replaced.jsonl', Buffer.alloc(30 << 20, 'a'))
    const { handle } = await openAnySource('s3://corpora/replaced.jsonl')
    const into = new Uint8Array(1000)
    expect(await handle.read(into, 0, 1000, 0)).toEqual({ bytesRead: 1000 })
    await store.put('corpora', 'replaced.jsonl', Buffer.alloc(30 << 20, 'b'))
    await expect(handle.read(into, 0, 1000, 25 << 20)).rejects.toMatchObject({ code: 'FILE_CHANGED' })
    await handle.close()
  }, 60_000)
})
