/** Ranges of a Parquet column whose writer stopped using the dictionary within a row group, as pyarrow does at a megabyte. */
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { openSource } from '#src/files/source-file'
import { loadPages } from '#src/workers/ranges/load-pages'
import { planParquet } from '#src/workers/ranges/parquet-plan'
import type { PageRange } from '#src/workers/ranges/range-task'
import { peersPython } from '../../monitoring/fixtures.js'
import { temporaryFolder } from '../../stages/support.js'

const path = join(temporaryFolder(), 'mixed.parquet')
const textOf = (row: number): string => `${row}`.padStart(100, '.')
const PYTHON = `
import sys, pyarrow as pa, pyarrow.parquet as pq
table = pa.table({'text': [str(row).rjust(100, '.') for row in range(5000)]})
pq.write_table(table, sys.argv[1], dictionary_pagesize_limit=50000, data_page_size=20000, write_batch_size=100)
`

const python = peersPython()
it.skipIf(python === undefined)('have a dictionary only where their pages refer to it, and all texts', async () => {
  execFileSync(python!, ['-c', PYTHON, path])
  const { handle, stats } = await openSource(path)
  const newMemory = (byteLength: number): SharedArrayBuffer => new SharedArrayBuffer(byteLength)
  const limits = { maxLineBytes: 1 << 20, rangeBytes: 20_000, newMemory }
  const file = { path, handle, stats, format: 'parquet' as const, field: ['text'], ...limits }
  const ranges: PageRange[] = []
  const texts: string[] = []
  for await (const { part } of planParquet(file, ['text'], { byteOffset: 0 })) {
    if (part.kind !== 'pages') continue
    ranges.push(part)
    const { bytes, offsets } = loadPages(part).documents
    for (let index = 1; index < offsets.length; index++) {
      texts.push(Buffer.from(bytes.subarray(offsets[index - 1], offsets[index])).toString())
    }
  }
  await handle.close()
  const withDictionary = ranges.map(({ runs }) => runs.some(run => run.dictionary !== undefined))
  expect(withDictionary[0]).toBe(true)
  expect(withDictionary.filter(Boolean).length).toBeLessThan(withDictionary.length / 3)
  expect(texts).toEqual(Array.from({ length: 5000 }, (_, row) => textOf(row)))
})
