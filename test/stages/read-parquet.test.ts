/** Texts of Parquet files: the same as of the JSONL with the same records, whatever wrote the file and however. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { describe, expect, it } from 'vitest'
import { PenstockError } from '#src/errors'
import type { DocumentBatch } from '#src/formats/batches'
import { type ReadParquetOptions, readParquet } from '#src/stages/read-parquet'
import { peersPython } from '../monitoring/fixtures.js'
import { documentTexts, gather, temporaryFolder } from './support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)

async function textsOf(options: ReadParquetOptions): Promise<string[]> {
  return documentTexts(await gather<DocumentBatch>(readParquet(options)))
}

const words = ['the', 'people', 'ünïcode', '日本語', '😀', '"quoted"', 'line\nfeed', '']
/** Some documents are alike, so that writers choose a dictionary; some are long, so that it overflows. */
const documents = Array.from({ length: 3000 }, (_, document) =>
  Array.from({ length: document % 100 === 0 ? 4000 : document % 7 }, (_, word) => words[(document + word) % 8]).join(
    ' ',
  ),
)

function write(name: string, data: (string | null)[], options: object = {}): string {
  const columns = [
    { name: 'id', data: data.map((_, index) => index), type: 'INT32' as const },
    { name: 'text', data, type: 'STRING' as const, ...options },
  ]
  writeFileSync(at(name), Buffer.from(parquetWriteBuffer({ columnData: columns, rowGroupSize: 1000 })))
  return at(name)
}

describe('read-parquet', () => {
  it('gives the texts of a column in the order of the rows', async () => {
    expect(await textsOf({ path: write('plain.parquet', documents) })).toEqual(documents)
  })

  it('counts null rows as faults that name row group and row', async () => {
    const path = write('nulls.parquet', [...documents.slice(0, 1500), null, 'last'])
    const error = await textsOf({ path }).catch(error => error)
    expect(error).toMatchObject({ code: 'FIELD_MISSING', where: { file: path, line: 1501 } })
    expect(error.message).toContain('row group 1')
    const skipping = readParquet({ path, faulty: 'skip' })
    const batches = await gather<DocumentBatch>(skipping)
    expect(skipping.stats.rejected).toBe(1)
    const rows = batches.flatMap(({ origin }) => [...origin.lines].map(line => origin.firstLine + line))
    expect(rows).toEqual([...Array.from({ length: 1500 }, (_, row) => row + 1), 1502])
  })

  it('names the columns that exist when the one asked for does not', async () => {
    const path = write('columns.parquet', ['a'])
    await expect(textsOf({ path, field: '.body' })).rejects.toMatchObject({
      code: 'FIELD_MISSING',
      message: expect.stringContaining('.id, .text'),
    })
    await expect(textsOf({ path, field: '.id' })).rejects.toMatchObject({ code: 'FIELD_NOT_TEXT' })
  })

  it.each([
    ['', 'is empty'],
    ['PAR1', 'a file of 4 bytes'],
  ])('says that %j is too short', async (content, message) => {
    writeFileSync(at('short.parquet'), content)
    const failure = expect(textsOf({ path: at('short.parquet') })).rejects
    await failure.toMatchObject({ code: 'PARQUET_INVALID', message: expect.stringContaining(message) })
  })

  it('applies a filter that computes to each row as a record', async () => {
    const path = write('filtered.parquet', ['a', 'b'])
    expect(await textsOf({ path, field: '.text + "!"' })).toEqual(['a!', 'b!'])
  })

  it('rejects a text that is not UTF-8 without its neighbours', async () => {
    const data = [Buffer.from('good'), Buffer.from([0xe6, 0x97]), Buffer.from([0xa5]), Buffer.from('fine')]
    const columns = [{ name: 'text', data, type: 'BYTE_ARRAY' as const }]
    writeFileSync(at('latin.parquet'), Buffer.from(parquetWriteBuffer({ columnData: columns })))
    expect(await textsOf({ path: at('latin.parquet'), faulty: 'skip' })).toEqual(['good', 'fine'])
    await expect(textsOf({ path: at('latin.parquet') })).rejects.toMatchObject({
      code: 'UTF8_INVALID',
      where: { line: 2 },
    })
  })

  it('gives the texts or a clear error for a file that is damaged anywhere', async () => {
    const original = readFileSync(write('damaged.parquet', documents.slice(0, 60), { codec: 'SNAPPY' }))
    let failures = 0
    for (let round = 0; round < 400; round++) {
      const bytes = Uint8Array.from(original)
      const place = (round * 7919) % bytes.length
      bytes[place] = (bytes[place]! + 1 + (round % 255)) & 255
      writeFileSync(at('damaged.parquet'), round % 10 === 0 ? bytes.subarray(0, place) : bytes)
      const outcome = await textsOf({ path: at('damaged.parquet'), faulty: 'skip' }).catch(error => error)
      if (Array.isArray(outcome)) continue
      failures++
      expect(outcome).toBeInstanceOf(PenstockError)
      expect(outcome.code).not.toBe('INTERNAL')
    }
    expect(failures).toBeGreaterThan(40)
  })
})

/** Every common way to write strings, as pyarrow writes it. */
const PYTHON = `
import sys, json, pyarrow as pa, pyarrow.parquet as pq
folder, docs = sys.argv[1], json.load(open(sys.argv[1] + '/documents.json'))
table = pa.table({'id': range(len(docs)), 'text': docs, 'doc': [{'text': text, 'n': 2**60} for text in docs]})
for codec in ['snappy', 'zstd', 'gzip', 'none']:
    for dictionary in [True, False]:
        for version in ['1.0', '2.0']:
            for rows in [len(docs), 3]:
                pq.write_table(table, f'{folder}/py-{codec}-{dictionary}-{version}-{rows}.parquet', compression=codec,
                               use_dictionary=dictionary, data_page_version=version, row_group_size=rows, data_page_size=20000)
for codec in ['brotli', 'lz4']:
    pq.write_table(table, f'{folder}/py-{codec}-True-1.0-3.parquet', compression=codec)
pq.write_table(table, f'{folder}/py-delta-False-1.0-3.parquet', use_dictionary=False,
               column_encoding={'text': 'DELTA_BYTE_ARRAY', 'doc.text': 'DELTA_LENGTH_BYTE_ARRAY'})
pq.write_table(table.slice(0, 0), f'{folder}/py-empty.parquet')
`

const python = peersPython()
describe.skipIf(python === undefined)('files of pyarrow', () => {
  it('give the same texts for every codec, encoding, page version and size of row groups', async () => {
    const expected = documents.slice(0, 1001)
    writeFileSync(at('documents.json'), JSON.stringify(expected))
    execFileSync(python!, ['-c', PYTHON, folder])
    const names = ['snappy', 'zstd', 'gzip', 'none'].flatMap(codec =>
      ['True', 'False'].flatMap(dictionary =>
        ['1.0', '2.0'].flatMap(version => [1001, 3].map(rows => `${codec}-${dictionary}-${version}-${rows}`)),
      ),
    )
    for (const name of [...names, 'brotli-True-1.0-3', 'lz4-True-1.0-3', 'delta-False-1.0-3']) {
      for (const field of ['.text', '.doc.text']) {
        expect(await textsOf({ path: at(`py-${name}.parquet`), field }), `${name} ${field}`).toEqual(expected)
      }
    }
    expect(await textsOf({ path: at('py-empty.parquet') })).toEqual([])
  })
})
