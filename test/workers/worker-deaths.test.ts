/**
 * Workers that exit, throw, trap, run out of heap or loop: their task is retried with the same result, and a record
 * that kills two workers is a faulty record. The workers are the real ones with sabotaged engines.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { beforeEach, describe, expect, it } from 'vitest'
import { extractText } from '#src/stages/extract-text'
import { readFile } from '#src/stages/read-file'
import { readLines } from '#src/stages/read-lines'
import { linesOfRanges, type RangeBatch, readRanges, tokensOfRanges } from '#src/stages/read-ranges'
import { tokenizeBatches } from '#src/stages/tokenize-batches'
import { trainTokenizer } from '#src/stages/train-tokenizer'
import { validateJson } from '#src/stages/validate-json'
import { writeIndex } from '#src/stages/write-index'
import { writePbin } from '#src/stages/write-pbin'
import { RANGE_BYTES } from '#src/workers/ranges/range-sizes'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const tokenizer = at('tokenizer.json')
writeFileSync(tokenizer, JSON.stringify(byteTokenizer()))
const sabotaged = (name: string): URL => new URL(`./sabotaged/${name}-worker.mjs`, import.meta.url)

const WAYS = ['EXIT', 'THROW', 'TRAP', 'HEAP', 'LOOP'] as const
const LINES = 3000
const lineOf = (text: string): string => `${JSON.stringify({ text })}\n`
const goodLine = (line: number): string => lineOf(`line ${line} `.repeat((line % 13) + 1))

/** Writes a file of valid lines, some of them replaced. */
function corpus(name: string, instead: Readonly<Record<number, string>>): string {
  const path = at(`${name}.jsonl`)
  writeFileSync(path, Array.from({ length: LINES }, (_, index) => instead[index + 1] ?? goodLine(index + 1)).join(''))
  return path
}

type Faults = { readonly faulty?: 'fail' | 'skip' | 'quarantine'; readonly quarantine?: string }

/** Two ways to pack a file: fused and with separate stages. Each returns the packed bytes. */
const PACKERS: Record<string, (path: string, out: string, faults: Faults, worker?: URL) => Promise<Buffer>> = {
  async fused(path, out, faults, worker = sabotaged('range')) {
    const pack = { field: ['text'], tokenizer, end_of_document: END }
    const policy = { faulty: 'fail' as const, ...faults, quarantine: faults.quarantine, max_faulty: undefined }
    const options = {
      work: { paths: [path], maxLineBytes: RANGE_BYTES, workers: 2, index: false, pack },
      faults: { 'tokenize-batches': policy },
    }
    await pipeline(readRanges(options, worker), tokensOfRanges(), writePbin({ path: out }))
    return readFileSync(out)
  },
  async separate(path, out, faults, worker = sabotaged('tokenize')) {
    await pipeline(
      readFile({ path, chunk_bytes: 16 << 10 }),
      readLines({ source: path }),
      validateJson(),
      extractText(),
      tokenizeBatches({ tokenizer, end_of_document: END, workers: 2, ...faults }, worker),
      writePbin({ path: out }),
    )
    return readFileSync(out)
  },
}

const withoutLine = (name: string, line: number): Promise<Buffer> =>
  PACKERS.separate!(
    corpus(name, { [line]: '' }),
    at(`${name}.pbin`),
    {},
    new URL('../../dist/workers/tokenizer/tokenize-worker.js', import.meta.url),
  )

beforeEach(() => {
  for (const way of WAYS) rmSync(join(tmpdir(), `penstock-death-${process.pid}-${way}`), { force: true })
})

describe.each(Object.keys(PACKERS))('packing with %s stages', kind => {
  const pack = PACKERS[kind]!

  it.each(WAYS)('writes the same file when one worker dies by %s', async way => {
    const text = `a text DEATHby${way}once of a worker`
    const path = corpus(`${kind}-once-${way}`, { 1234: lineOf(text) })
    const before = process.cpuUsage()
    const got = await pack(path, at(`${kind}-once-${way}.pbin`), {})
    const { user, system } = process.cpuUsage(before)
    // The flag of the first death exists now, so no worker dies.
    expect(got.equals(await pack(path, at(`${kind}-again-${way}.pbin`), {}))).toBe(true)
    // CPU time, which is independent of other programs: the run, the lost work, and filling a heap.
    expect((user + system) / 1e6).toBeLessThan(8)
  })

  it.each(WAYS)('quarantines a record that kills workers by %s', async way => {
    const name = `${kind}-${way}`
    const poison = lineOf(`a text DEATHby${way} of workers`)
    const path = corpus(name, { 1234: poison })
    const quarantine = at(`${name}.faulty`)
    const got = await pack(path, at(`${name}.pbin`), { faulty: 'quarantine', quarantine })
    expect(got.equals(await withoutLine(`${name}-expected`, 1234))).toBe(true)
    const entries = readFileSync(quarantine, 'utf8')
    expect(entries.split('\n')).toHaveLength(2)
    const entry = JSON.parse(entries)
    expect(entry).toMatchObject({
      source: path,
      line: 1234,
      byte_offset: readFileSync(path).indexOf(poison),
      // Filling a heap takes time: on a slow machine the timeout may come first.
      code:
        { LOOP: 'WORKER_HUNG', HEAP: expect.stringMatching(/^WORKER_(DIED|HUNG)$/) }[way as string] ?? 'WORKER_DIED',
    })
    expect(Buffer.from(entry.record, 'base64').toString()).toBe(poison.trimEnd())
  })

  it('quarantines each of several poison records', async () => {
    const lines = [1, 2, 1500, LINES]
    const poisoned = (line: number): [number, string] => [line, lineOf(`${line} DEATHbyEXIT`)]
    const path = corpus(`${kind}-several`, Object.fromEntries(lines.map(poisoned)))
    const quarantine = at(`${kind}-several.faulty`)
    await pack(path, at(`${kind}-several.pbin`), { faulty: 'quarantine', quarantine })
    const entries = readFileSync(quarantine, 'utf8').trimEnd().split('\n')
    expect(entries.map(entry => JSON.parse(entry).line)).toEqual(lines)
  })

  it('fails with file and line under faulty: fail', async () => {
    const path = corpus(`${kind}-fail`, { 1234: lineOf('DEATHbyTHROW') })
    const out = at(`${kind}-fail.pbin`)
    await expect(pack(path, out, {})).rejects.toMatchObject({ code: 'WORKER_DIED', where: { file: path, line: 1234 } })
    expect(() => readFileSync(out)).toThrow('ENOENT')
  })
})

describe('indexing', () => {
  it('omits a line that kills the validation', async () => {
    const path = corpus('index', { 77: lineOf('DEATHbyTRAP') })
    const policy = { faulty: 'skip' as const, quarantine: undefined, max_faulty: undefined }
    const work = { paths: [path], maxLineBytes: RANGE_BYTES, workers: 2, index: true }
    const options = { work, faults: { 'validate-json': policy } }
    const ranges = readRanges(options, sabotaged('range'))
    const counted: number[] = []
    ranges.on('data', (batch: RangeBatch) => counted.push(batch.lines!.starts.length))
    await pipeline(ranges, linesOfRanges(), writeIndex({ path: at('index.idx') }))
    expect(counted.reduce((sum, count) => sum + count, 0)).toBe(LINES - 1)
    expect(ranges.stats.rejected).toBe(1)
  })
})

describe('training a tokenizer', () => {
  const train = async (path: string, out: string, faults: Faults): Promise<string> => {
    await pipeline(
      readFile({ path, chunk_bytes: 16 << 10 }),
      readLines({ source: path }),
      extractText(),
      trainTokenizer({ path: out, vocab_size: 300, workers: 2, ...faults }, sabotaged('train-tokenizer')),
    )
    return readFileSync(out, 'utf8')
  }

  it.each(WAYS)('skips a record that kills workers by %s', async way => {
    const path = corpus(`train-${way}`, { 99: lineOf(`DEATHby${way}`) })
    const trained = await train(path, at(`train-${way}.json`), { faulty: 'skip' })
    expect(trained).toBe(await train(corpus(`train-${way}-expected`, { 99: '' }), at(`train-${way}-2.json`), {}))
    await expect(train(path, at(`train-${way}-3.json`), {})).rejects.toMatchObject({ where: { file: path, line: 99 } })
  })
})
