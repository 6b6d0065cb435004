/** Rows of whole documents: what a .pack file contains. */
import { readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { DescriptorPool } from '#src/files/descriptor-pool'
import { readPackManifest } from '#src/files/manifest'
import { openPackFile, type RowEntry } from '#src/files/samples/pack-file'
import { BlockChecksums } from '#src/formats/checksum'
import { crc32 } from '#src/formats/crc32'
import type { PackHeader } from '#src/formats/pack'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import { listDocuments } from '#src/stages/samples/list-documents'
import { type PackSamplesOptions, packSamples } from '#src/stages/samples/pack-samples'
import { temporaryFolder } from './support.js'

const folder = temporaryFolder()

/** Writes documents of these lengths; each token is the number of its document. */
function packed(name: string, lengths: readonly number[]): string {
  const path = join(folder, name)
  const tokens = Uint8Array.from(lengths.flatMap((length, document) => new Array(length).fill(document)))
  const starts = lengths.map((_, at) => lengths.slice(0, at).reduce((sum, length) => sum + length, 0))
  const pairs = lengths.map((length, at): [number, number] => [starts[at]!, length])
  const header = encodePbinHeader({ dataBytes: tokens.length, tokenBytes: 1 })
  writeFileSync(path, Buffer.concat([header, tokens, writePairList(pairs)]))
  return path
}

async function pack(paths: readonly string[], options: Partial<PackSamplesOptions> = {}) {
  const path = join(folder, 'rows.pack')
  const output = { path, sequence_length: 9, if_exists: 'override', ...options } as const
  await pipeline(listDocuments({ paths: [...paths] }), packSamples(output))
  return { path, ...(await rowsIn(path)) }
}

async function rowsIn(path: string): Promise<{ header: PackHeader; rows: RowEntry[][] }> {
  const pool = new DescriptorPool()
  try {
    const file = await openPackFile(path, pool)
    return { header: file.header, rows: Array.from({ length: file.header.rows }, (_, row) => file.row(row)) }
  } finally {
    pool.close()
  }
}

const lengths = [4, 10, 1, 0, 3, 7, 25, 2, 9, 5]
const others = [6, 11]
const [first, second] = [packed('first.pbin', lengths), packed('second.pbin', others)]

test('every token is in exactly one row, apart from those that parts of a document share', async () => {
  const { header, rows } = await pack([first, second])
  const seen = [new Map<number, number>(), new Map<number, number>()]
  for (const row of rows) {
    expect(row.reduce((sum, { tokens }) => sum + tokens, 0)).toBeLessThanOrEqual(10)
    for (const { file, firstToken, tokens } of row) {
      for (let at = firstToken; at < firstToken + tokens; at++) seen[file]!.set(at, (seen[file]!.get(at) ?? 0) + 1)
    }
  }
  const twice = (file: number) => [...seen[file]!].filter(([, count]) => count > 1).map(([at]) => at)
  expect(seen.map(({ size }) => size)).toEqual([66, 17])
  // Documents 6 of the first file, from 25 on, and 1 of the second, from 6 on, are longer than a row of 10 tokens.
  expect([twice(0), twice(1)]).toEqual([[34, 43], [15]])
  expect(header).toMatchObject({ rowTokens: 10, tokens: 66 + 17 + 3, droppedTokens: 0, rows: rows.length })
})

test('documents longer than a row can be dropped, and are counted', async () => {
  const { header, rows } = await pack([first, second], { long: 'drop' })
  expect(header).toMatchObject({ tokens: 66 - 25 + 6, droppedTokens: 36 })
  expect(rows.flat().every(({ tokens }) => tokens <= 10)).toBe(true)
})

test('rows have sequence_length tokens without reuse_last_target', async () => {
  expect((await pack([first], { reuse_last_target: false })).header.rowTokens).toBe(9)
})

test('the seed changes the rows where there are several windows, and nothing else does', async () => {
  const many = packed(
    'many.pbin',
    Array.from({ length: 70_000 }, (_, at) => 1 + (at % 9)),
  )
  const bytes = async (seed: number) => readFileSync((await pack([many], { seed })).path)
  const [one, again, other] = [await bytes(1), await bytes(1), await bytes(2)]
  expect(again.equals(one)).toBe(true)
  expect(other.equals(one)).toBe(false)
  const { header, rows } = await rowsIn(join(folder, 'rows.pack'))
  const documents = rows.flat().map(({ firstToken }) => firstToken)
  expect(new Set(documents).size).toBe(70_000)
  expect(header.tokens / (header.rows * header.rowTokens)).toBeGreaterThan(0.99)
})

test('the manifest has checksums of the header and of everything after it', async () => {
  const { path, header } = await pack([first, second])
  const bytes = readFileSync(path)
  const checksums = new BlockChecksums()
  checksums.update(bytes.subarray(48 + 24 * 2))
  expect(await readPackManifest(path, bytes.length)).toEqual({
    version: 1,
    fileBytes: bytes.length,
    headerChecksum: crc32(bytes.subarray(0, 48 + 24 * 2)),
    checksums: [...checksums.finish()],
    rows: header.rows,
  })
})

describe('a damaged .pack file is rejected', () => {
  /** Overwrites bytes of a valid file. */
  async function damaged(at: number, value: number): Promise<string> {
    const { path } = await pack([first])
    const bytes = readFileSync(path)
    bytes[at < 0 ? bytes.length + at : at] = value
    writeFileSync(path, bytes)
    return path
  }
  test.each([
    ['another format', 0, 0],
    ['unfinished', 16, 0],
    ['another number of entries', 24, 1],
    ['another number of files', 12, 2],
  ])('%s', async (_, at, value) => {
    await expect(rowsIn(await damaged(at, value))).rejects.toMatchObject({ code: 'PACK_INVALID' })
  })

  test.each([
    ['an entry after the tokens of its file', 48 + 24 + 6, 1],
    ['more tokens than a row', 48 + 24 + 8, 255],
    ['a row that ends before it starts', -8, 0],
  ])('%s', async (_, at, value) => {
    await expect(rowsIn(await damaged(at, value))).rejects.toMatchObject({ code: 'PACK_INVALID' })
  })

  test('truncated', async () => {
    const { path } = await pack([first])
    truncateSync(path, statSync(path).size - 1)
    await expect(rowsIn(path)).rejects.toMatchObject({ code: 'PACK_INVALID' })
    truncateSync(path, 50)
    await expect(rowsIn(path)).rejects.toMatchObject({ code: 'PACK_INVALID' })
  })
})

test('nothing is written without documents', async () => {
  const empty = packed('long.pbin', [3, 0])
  await expect(pack([empty], { long: 'drop', sequence_length: 2, reuse_last_target: false })).rejects.toMatchObject({
    code: 'DATA_TOO_SMALL',
  })
})
