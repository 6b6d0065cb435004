/** Packing Parquet files in the workers: the bytes of packing the same texts as JSONL, and the faults of separate stages. */
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, it } from 'vitest'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'
import { peersPython } from '../monitoring/fixtures.js'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))

async function pack(source: object, fuse = true) {
  const quarantine = at('faults')
  const faults = { faulty: 'quarantine', quarantine }
  const stages = [
    Object.fromEntries(Object.entries(source).map(([name, options]) => [name, { ...options, ...faults }])),
    { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, ...faults } },
    { 'write-pbin': { path: at('out.pbin'), if_exists: 'override' } },
  ]
  const [pipeline] = checkDefinition(definitionOf({ stages }))
  const { stages: reports } = await runPipeline(pipeline!, { fuse })
  const found = readFileSync(quarantine, 'utf8').split('\n').filter(Boolean)
  rmSync(quarantine)
  return {
    first: reports[0]!.name,
    packed: readFileSync(at('out.pbin')),
    // The offset of a row in a file is not known.
    faults: found.map(line => ({ ...JSON.parse(line), byte_offset: 0 })),
  }
}

const words = ['the', 'people', 'ünïcode', '日本語', '😀', '"quoted"', 'line\nfeed', '']
const documents = Array.from({ length: 3000 }, (_, document) =>
  document % 97 === 5
    ? null
    : Array.from(
        { length: document % 100 === 0 ? 15_000 : document % 9 },
        (_, word) => words[(document + word) % 8],
      ).join(' '),
)

describe('a Parquet file packed in the workers', () => {
  const id = documents.map((_, index) => index)
  const write = (name: string, text: (string | null | Uint8Array)[], rowGroupSize: number, options: object) => {
    const type = text.some(value => value instanceof Uint8Array) ? ('BYTE_ARRAY' as const) : ('STRING' as const)
    const columnData = [
      { name: 'id', data: id.slice(0, text.length), type: 'INT32' as const },
      { name: 'text', data: text, type, ...options },
    ]
    writeFileSync(at(name), Buffer.from(parquetWriteBuffer({ columnData, rowGroupSize })))
  }

  it.each([
    ['one row group, in pages', 3000, { encoding: 'PLAIN' }],
    ['many row groups', 70, {}],
    ['an encoding that only hyparquet reads', 1500, { encoding: 'DELTA_BYTE_ARRAY' }],
  ] as const)('has the bytes and faults of the separate stages: %s', async (_what, rows, options) => {
    write('a.parquet', documents, rows, options)
    const source = { 'read-corpus': { sources: [at('a.parquet')] } }
    const apart = await pack(source, false)
    const fused = await pack(source)
    expect([apart.first, fused.first]).toEqual(['read-corpus', 'read-corpus+tokenize-batches'])
    expect(fused.packed.equals(apart.packed)).toBe(true)
    expect(apart.faults.length).toBeGreaterThan(documents.length / 97)
    const places = ({ faults }: typeof apart) => faults.map(({ line, code }) => [line, code])
    expect(places(fused)).toEqual(places(apart))
    if (!('encoding' in options && options.encoding === 'DELTA_BYTE_ARRAY')) expect(fused.faults).toEqual(apart.faults)
    expect((await pack({ 'read-parquet': { path: at('a.parquet') } })).packed.equals(apart.packed)).toBe(true)
  })

  it('quarantines a text that is not UTF-8 without its neighbours', async () => {
    const bytes = ['good', Buffer.from([0xe6, 0x97]), 'fine'].map(text => Buffer.from(text))
    write('latin.parquet', bytes, 3, {})
    const { packed, faults } = await pack({ 'read-corpus': { sources: [at('latin.parquet')] } })
    expect(faults).toMatchObject([{ line: 2, code: 'UTF8_INVALID', record: '5pc=' }])
    writeFileSync(at('valid.jsonl'), '{"text":"good"}\n{"text":"fine"}\n')
    const valid = await pack({ 'read-corpus': { sources: [at('valid.jsonl')] } })
    expect(packed.equals(valid.packed)).toBe(true)
  })

  it('fails with the columns that exist when the one asked for does not', async () => {
    write('columns.parquet', ['a'], 1, {})
    const failure = pack({ 'read-corpus': { sources: [at('columns.parquet')], field: '.body' } })
    await expect(failure).rejects.toMatchObject({ code: 'FIELD_MISSING', where: { file: at('columns.parquet') } })
    await expect(failure).rejects.toThrow('.id, .text')
  })
})

const PYTHON = `
import sys, json, pyarrow as pa, pyarrow.parquet as pq
folder, docs = sys.argv[1], json.load(open(sys.argv[1] + '/documents.json'))
table = pa.table({'id': range(len(docs)), 'text': docs, 'doc': [{'text': text, 'n': 2**60} for text in docs]})
for codec in ['snappy', 'zstd', 'gzip', 'none']:
    for dictionary in [True, False]:
        for version in ['1.0', '2.0']:
            for groups in [1, 1000]:
                pq.write_table(table, f'{folder}/{codec}-{dictionary}-{version}-{groups}.parquet', compression=codec,
                               use_dictionary=dictionary, data_page_version=version, row_group_size=len(docs) // groups,
                               data_page_size=20000)
`

const python = peersPython()
describe.skipIf(python === undefined)('files of pyarrow', () => {
  it('give the packed file of the same texts as JSONL', { timeout: 300_000 }, async () => {
    writeFileSync(at('documents.json'), JSON.stringify(documents))
    writeFileSync(at('same.jsonl'), documents.map(text => `${JSON.stringify({ text })}\n`).join(''))
    execFileSync(python!, ['-c', PYTHON, folder])
    const expected = await pack({ 'read-corpus': { sources: [at('same.jsonl')] } })
    const lines = expected.faults.map(({ line }) => line)
    expect(lines.length).toBeGreaterThan(30)
    for (const codec of ['snappy', 'zstd', 'gzip', 'none']) {
      for (const dictionary of ['True', 'False']) {
        for (const shape of ['1.0-1', '1.0-1000', '2.0-1', '2.0-1000']) {
          for (const field of ['.text', '.doc.text']) {
            const name = `${codec}-${dictionary}-${shape}.parquet`
            const { first, packed, faults } = await pack({ 'read-corpus': { sources: [at(name)], field } })
            expect(first).toBe('read-corpus+tokenize-batches')
            expect(packed.equals(expected.packed), `${name} ${field}`).toBe(true)
            expect(
              faults.map(({ line }) => line),
              name,
            ).toEqual(lines)
          }
        }
      }
    }
  })
})
