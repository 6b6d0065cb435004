/** Fused stages write the same bytes and report the same faults as separate stages, wherever the range boundaries are. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { indexStages } from '#src/cli/actions/index-jsonl'
import { type PackFlags, packStages } from '#src/cli/actions/pack'
import type { CheckedPipeline } from '#src/pipelines/check'
import { fuse } from '#src/pipelines/fuse'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'
import { rangeSteps, rangeWorkOf } from '#src/pipelines/range-work'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'
import { bgzf, zstdFrames } from '../workers/decompression/compressed-files.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))

/** About 3 MB: lines of all lengths, some longer than a range, texts with escapes, and every kind of fault. */
function corpus(withFaults: boolean): Buffer {
  let state = 12345
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
  const words = ['line', 'ünïcode', '"quoted"', 'tab\t', '😀', 'back\\slash', END, 'x'.repeat(40), '']
  const faults = ['{"text":', '', '{"body":1}', '{"text":5}', '{"text":""}', '{"text":"\xff"}']
  const lines = Array.from({ length: 4000 }, (_, line) => {
    if (withFaults && random(50) === 0) return Buffer.from(faults[random(faults.length)]!, 'latin1')
    const count = line % 1500 === 700 ? 60_000 : random(60) + 1
    const text = Array.from({ length: count }, () => words[random(words.length)]).join(' ')
    return Buffer.from(`${JSON.stringify({ id: line, text: `${text}.` })}${line % 7 === 0 ? '\r' : ''}`)
  })
  return Buffer.concat(
    lines.flatMap((line, index) => (index === lines.length - 1 ? [line] : [line, Buffer.from('\n')])),
  )
}

async function pack(name: string, source: string, fuse: boolean, faults: Record<string, unknown>) {
  const stages = [
    { 'read-file': { path: source } },
    { 'read-lines': faults },
    { 'validate-json': faults },
    {
      fork: [
        [{ 'write-index': { path: at(`${name}.idx`) } }],
        [
          { 'extract-text': { field: '.text', ...faults } },
          { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, ...faults } },
          { 'write-pbin': { path: at(`${name}.pbin`) } },
        ],
      ],
    },
  ]
  const [pipeline] = checkDefinition(definitionOf({ stages }))
  const { stages: reports } = await runPipeline(pipeline!, { fuse })
  return { reports, files: ['idx', 'pbin'].map(ending => readFileSync(at(`${name}.${ending}`))) }
}

describe('fused stages', () => {
  it('write the same index and packed file', async () => {
    writeFileSync(at('good.jsonl'), corpus(false))
    const apart = await pack('apart', at('good.jsonl'), false, {})
    const fused = await pack('fused', at('good.jsonl'), true, {})
    expect(apart.reports.map(report => report.name)).toContain('validate-json')
    expect(fused.reports[0]!.name).toBe('read-file+read-lines+validate-json+extract-text+tokenize-batches')
    for (const index of [0, 1]) expect(fused.files[index]!.equals(apart.files[index]!)).toBe(true)
    expect(apart.files[1]!.length).toBeGreaterThan(1_000_000)
  })

  it('quarantine the same records', async () => {
    writeFileSync(at('bad.jsonl'), corpus(true))
    const entries = async (name: string, fuse: boolean) => {
      const quarantine = at(`${name}.quarantine`)
      const { files } = await pack(name, at('bad.jsonl'), fuse, { faulty: 'quarantine', quarantine })
      const lines = readFileSync(quarantine, 'utf8')
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line))
      return { files, faults: lines.toSorted((a, b) => a.line - b.line) }
    }
    const apart = await entries('bad-apart', false)
    const fused = await entries('bad-fused', true)
    expect(apart.faults.length).toBeGreaterThan(50)
    expect(new Set(apart.faults.map(fault => fault.code)).size).toBe(6)
    expect(fused.faults).toEqual(apart.faults)
    for (const index of [0, 1]) expect(fused.files[index]!.equals(apart.files[index]!)).toBe(true)
  })

  it('fail at the same position', async () => {
    writeFileSync(at('one.jsonl'), Buffer.concat([corpus(false), Buffer.from('\n{"text":\n')]))
    const failure = (name: string, fuse: boolean) => pack(name, at('one.jsonl'), fuse, {}).catch(error => error)
    const apart = await failure('one-apart', false)
    const fused = await failure('one-fused', true)
    expect(apart).toMatchObject({ code: 'JSON_INVALID', where: { line: 4001, file: at('one.jsonl') } })
    expect(fused).toMatchObject({ code: 'JSON_INVALID', message: apart.message, where: apart.where })
  })
})
describe('a fused corpus', () => {
  it('gives the bytes and faults of the separate stages, file by file', async () => {
    mkdirSync(at('corpus'))
    const lines = corpus(true).toString('latin1').split('\n')
    for (const name of ['1', '2', '3', '4']) {
      // The second file is empty, and no last line has its line feed.
      const part = name === '2' ? [] : lines.slice(1000 * (Number(name) - 1), 1000 * Number(name))
      writeFileSync(at(`corpus/${name}.jsonl`), Buffer.from(part.join('\n'), 'latin1'))
    }
    const packCorpus = async (name: string, fuse: boolean) => {
      const faults = { faulty: 'quarantine', quarantine: at(`${name}.quarantine`) }
      const stages = [
        { 'read-corpus': { sources: [at('corpus')], ...faults } },
        { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, ...faults } },
        { 'write-pbin': { path: at(`${name}.pbin`) } },
      ]
      const [pipeline] = checkDefinition(definitionOf({ stages }))
      const { stages: reports } = await runPipeline(pipeline!, { fuse })
      return { reports, files: ['pbin', 'quarantine'].map(ending => readFileSync(at(`${name}.${ending}`), 'latin1')) }
    }
    const apart = await packCorpus('corpus-apart', false)
    const fused = await packCorpus('corpus-fused', true)
    expect(fused.reports[0]!.name).toBe('read-corpus+tokenize-batches')
    expect(apart.reports[0]!.name).toBe('read-corpus')
    expect(fused.files[0] === apart.files[0]).toBe(true)
    expect(fused.files[1]!.split('\n')).toEqual(apart.files[1]!.split('\n'))
    expect(fused.reports[0]!.stats.rejected).toBe(apart.files[1]!.split('\n').length - 1)
  })
})

describe('a fused corpus of compressed files', () => {
  const text = corpus(true)
  const small = Buffer.from('{"text":"last"}\n')
  const files: Record<string, Buffer> = {
    'whole.jsonl.gz': gzipSync(text),
    'members.jsonl.gz': bgzf(text, 20_000),
    'large-first-member.jsonl.gz': Buffer.concat([gzipSync(text), gzipSync(small)]),
    'bgzf-then-gzip.jsonl.gz': Buffer.concat([bgzf(text, 50_000), gzipSync(text)]),
    'frame.jsonl.zst': zstdFrames(text, text.length),
    'frames.jsonl.zst': zstdFrames(text, 30_001),
    'large-last-frame.jsonl.zst': Buffer.concat([zstdFrames(text, 9_000), zstdFrames(text, text.length)]),
  }
  mkdirSync(at('compressed'))
  for (const [name, bytes] of Object.entries(files)) writeFileSync(at(`compressed/${name}`), bytes)

  const packed = async (name: string, file: string, fuse: boolean, limit: number) => {
    const faults = { faulty: 'quarantine', quarantine: at(`${name}.quarantine`) }
    const stages = [
      { 'read-corpus': { sources: [at(`compressed/${file}`)], max_record_bytes: limit, ...faults } },
      { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 2, ...faults } },
      { 'write-pbin': { path: at(`${name}.pbin`), if_exists: 'override' } },
    ]
    const [pipeline] = checkDefinition(definitionOf({ stages }))
    const { stages: reports } = await runPipeline(pipeline!, { fuse })
    const contents = ['pbin', 'quarantine'].map(ending => readFileSync(at(`${name}.${ending}`), 'latin1'))
    for (const ending of ['pbin', 'quarantine']) rmSync(at(`${name}.${ending}`))
    return { first: reports[0]!.name, packed: contents[0]!, faults: contents[1]!.split('\n') }
  }

  // Text over the limit of a record is decompressed as one stream.
  it.each(Object.keys(files).flatMap(file => [2 << 20, 64 << 20].map(limit => [file, limit] as const)))(
    'gives the bytes and faults of the separate stages: %s, %i bytes',
    async (file, limit) => {
      const apart = await packed('z-apart', file, false, limit)
      const fused = await packed('z-fused', file, true, limit)
      expect([apart.first, fused.first]).toEqual(['read-corpus', 'read-corpus+tokenize-batches'])
      expect(fused.packed === apart.packed).toBe(true)
      expect(apart.faults.length).toBeGreaterThan(50)
      expect(fused.faults).toEqual(apart.faults)
    },
  )

  it('gives the index and packed file of the separate stages for a single file', async () => {
    const apart = await pack('single-apart', at('compressed/frames.jsonl.zst'), false, { faulty: 'skip' })
    const fused = await pack('single-fused', at('compressed/frames.jsonl.zst'), true, { faulty: 'skip' })
    expect(fused.reports.length).toBeLessThan(apart.reports.length)
    for (const index of [0, 1]) expect(fused.files[index]!.equals(apart.files[index]!)).toBe(true)
  })

  it('reports damage with its position, after the records before it', async () => {
    const damaged = Buffer.from(files['frames.jsonl.zst']!)
    writeFileSync(at('compressed/trailing.jsonl.zst'), Buffer.concat([damaged, Buffer.from('x')]))
    const position = await packed('damaged', 'trailing.jsonl.zst', true, 64 << 20).catch(error => error.where)
    expect(position).toMatchObject({ file: at('compressed/trailing.jsonl.zst'), byteOffset: damaged.length })
    const member = bgzf(text, 20_000)
    member[member.length - 28 - 8]! ^= 1
    writeFileSync(at('compressed/checksum.jsonl.gz'), member)
    const failure = await packed('damaged', 'checksum.jsonl.gz', true, 64 << 20).catch(error => error)
    expect(failure).toMatchObject({ code: 'FILE_UNREADABLE', where: { file: at('compressed/checksum.jsonl.gz') } })
    expect(failure.message).toContain('checksum')
    expect(failure.where.byteOffset).toBeGreaterThan(member.length / 2)
  })
})

describe('range work that a command starts early', () => {
  const commands: Record<string, object[]> = {
    index: indexStages(at('good.jsonl'), at('early.idx'), { faulty: 'fail', ifExists: 'error' }),
    ...Object.fromEntries(
      Object.entries({
        pack: {},
        'pack with an index': { index: true },
        'pack with every option': {
          index: at('other.idx'),
          field: '.meta["text"][0]',
          endOfDocument: END,
          workers: 3,
          faulty: 'skip',
          maxFaulty: 4,
          output: at('other.pbin'),
        },
      } satisfies Record<string, Partial<PackFlags>>).map(([name, flags]) => {
        const defaults = { tokenizer: at('tokenizer.json'), field: '.text', faulty: 'fail', ifExists: 'error' } as const
        return [name, packStages(at('good.jsonl'), { ...defaults, ...flags })]
      }),
    ),
  }

  it.each(Object.entries(commands))('equals that of the run, for %s', (_, stages) => {
    writeFileSync(at('good.jsonl'), '{"text":"a"}\n')
    const [{ chain }] = checkDefinition(definitionOf({ stages })) as [CheckedPipeline]
    const steps = [...chain.steps, ...chain.fork.flatMap(branch => branch.steps)]
    const early = rangeWorkOf(rangeSteps(stages))
    expect(early).toBeDefined()
    expect(rangeWorkOf(steps)).toEqual(early)
    expect(fuse(chain).steps[0]!.name).toBe('read-ranges')
  })
})
