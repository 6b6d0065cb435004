/** Shards of a pipeline, run in any order and by any process, merge into the files that a single run writes. */
import { createHash } from 'node:crypto'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import { beforeAll, describe, expect, it } from 'vitest'
import { shardExitCode } from '#src/cluster/exit-codes'
import { mergeShards } from '#src/cluster/merge-shards'
import {
  passesOf,
  readPlan,
  readTasks,
  type ShardPlan,
  type ShardTask,
  shardsAtOnce,
  writePlan,
} from '#src/cluster/plan-file'
import { planShards } from '#src/cluster/plan-shards'
import { runShard } from '#src/cluster/run-shard'
import { shardPipeline } from '#src/cluster/shard-pipeline'
import { shardsStatus } from '#src/cluster/shard-status'
import { checkDefinition, definitionOf, runPipeline } from '#src/pipelines/index'
import { penstock } from '../cli/support.js'
import { byteTokenizer, END } from '../stages/byte-tokenizer.js'
import { temporaryFolder } from '../stages/support.js'

const folder = temporaryFolder()
const at = (...names: string[]): string => join(folder, ...names)
writeFileSync(at('tokenizer.json'), JSON.stringify(byteTokenizer()))
mkdirSync(at('corpus'))

const texts = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, index) => `line ${from + index} ${'of text '.repeat((from + index) % 90)}`)
const linesOf = (documents: readonly string[]): string =>
  documents.map(text => `${JSON.stringify({ text, length: text.length })}\n`).join('')
const columnsOf = (data: string[]) => ({
  columnData: [
    { name: 'text', data },
    { name: 'length', data: data.map(text => text.length) },
  ],
  rowGroupSize: 50,
})

writeFileSync(at('corpus/1.jsonl'), linesOf(texts(0, 600)).trimEnd())
writeFileSync(at('corpus/2.jsonl.gz'), gzipSync(linesOf(texts(600, 200))))
writeFileSync(at('corpus/3.parquet'), Buffer.from(parquetWriteBuffer(columnsOf(texts(800, 500)))))
writeFileSync(
  at('corpus/4.csv'),
  `text,length\n${texts(1300, 20)
    .map(text => `${text},${text.length}\n`)
    .join('')}`,
)
writeFileSync(at('corpus/5.jsonl'), linesOf(texts(1320, 500)))

const tokens = (path: string, options = {}): object[] => [
  { 'tokenize-batches': { tokenizer: at('tokenizer.json'), end_of_document: END, workers: 1, ...options } },
  { 'write-pbin': { path } },
]
const definitions: Readonly<Record<string, (path: string) => { stages: object[]; outputs: string[] }>> = {
  'a corpus of all formats': path => ({
    stages: [{ 'read-corpus': { sources: [at('corpus')] } }, ...tokens(`${path}.pbin`)],
    outputs: [`${path}.pbin`],
  }),
  'a field that is computed, record by record': path => ({
    stages: [
      { 'read-corpus': { sources: [at('corpus/1.jsonl'), at('corpus/3.parquet')], field: '.text + "."' } },
      ...tokens(`${path}.pbin`),
    ],
    outputs: [`${path}.pbin`],
  }),
  'a Parquet file': path => ({
    stages: [{ 'read-parquet': { path: at('corpus/3.parquet') } }, ...tokens(`${path}.pbin`)],
    outputs: [`${path}.pbin`],
  }),
  'an index and a packed file in one pass': path => ({
    stages: [
      { 'read-file': { path: at('corpus/1.jsonl') } },
      'read-lines' as unknown as object,
      'validate-json' as unknown as object,
      {
        fork: [
          [{ 'write-index': { path: `${path}.idx` } }],
          ['extract-text' as unknown as object, ...tokens(`${path}.pbin`)],
        ],
      },
    ],
    outputs: [`${path}.pbin`, `${path}.idx`],
  }),
  'lines that are not validated': path => ({
    stages: [
      { 'read-file': { path: at('corpus/1.jsonl'), chunk_bytes: 4096 } },
      { 'read-lines': { max_line_bytes: 1000 } },
      { 'write-index': { path: `${path}.idx` } },
    ],
    outputs: [`${path}.idx`],
  }),
  'a tokenizer': path => ({
    stages: [
      { 'read-corpus': { sources: [at('corpus')] } },
      { 'train-tokenizer': { path: `${path}.json`, vocab_size: 300, special_tokens: [END], workers: 1 } },
    ],
    outputs: [`${path}.json`],
  }),
  'a shuffle of packed files, in two passes': path => ({
    stages: [
      { 'shuffle-documents': { paths: [at('packed.pbin'), at('other.pbin')], seed: 5 } },
      { 'write-pbin': { path: `${path}.pbin` } },
    ],
    outputs: [`${path}.pbin`],
  }),
  'a filter of a packed file': path => ({
    stages: [
      { 'read-pbin': { path: at('packed.pbin') } },
      { 'filter-documents': { min_tokens: 300 } },
      { 'write-pbin': { path: `${path}.pbin` } },
    ],
    outputs: [`${path}.pbin`],
  }),
}

const pipelineOf = (stages: object[]) => checkDefinition(definitionOf({ name: 'pack', stages }))[0]!

async function plan(name: string, stages: object[], shards: number): Promise<{ at: string; plan: ShardPlan }> {
  const place = at(`${name}.shards`)
  const planned = await planShards(pipelineOf(stages), shards)
  await writePlan(place, planned.plan, planned.tasks)
  return { at: place, plan: await readPlan(place) }
}

async function tasksOf(place: string, planned: ShardPlan): Promise<ShardTask[]> {
  const tasks: ShardTask[] = []
  for await (const task of readTasks(place, planned)) tasks.push(task)
  return tasks
}

const shardList = ({ shards }: ShardPlan): number[] => [...Array(shards).keys()]
/** Hashes: comparing large buffers byte by byte takes seconds. */
const withManifest = (path: string): string[] =>
  [path, `${path}.manifest`]
    .filter(existsSync)
    .map(file => createHash('sha256').update(readFileSync(file)).digest('hex'))
const packCorpus = (name: string): object[] => [
  { 'read-corpus': { sources: [at('corpus/1.jsonl'), at('corpus/5.jsonl')] } },
  ...tokens(at(name)),
]

describe('merged shards', () => {
  for (const [name, define] of Object.entries(definitions)) {
    it(`have the bytes and manifests of a single run: ${name}`, async () => {
      if (!existsSync(at('packed.pbin'))) {
        await runPipeline(pipelineOf(packCorpus('packed.pbin')))
        for (const ending of ['pbin', 'pbin.manifest']) copyFileSync(at(`packed.${ending}`), at(`other.${ending}`))
      }
      const single = define(at('single'))
      const many = define(at('many'))
      await runPipeline(pipelineOf(single.stages))
      const planned = await plan('many', many.stages, 3)
      expect(shardsAtOnce(planned.plan)).toBe(3)
      for (const { first, end } of passesOf(planned.plan)) {
        for (let shard = end; shard-- > first; ) await runShard(planned.at, planned.plan, shard)
      }
      await mergeShards(planned.at, planned.plan)
      for (const [index, output] of many.outputs.entries()) {
        expect(withManifest(output)).toEqual(withManifest(single.outputs[index]!))
      }
      for (const path of [planned.at, ...[...single.outputs, ...many.outputs].flatMap(o => [o, `${o}.manifest`])]) {
        rmSync(path, { recursive: true, force: true })
      }
    })
  }

  it('are about equal in size, and begin where the shard before ends', async () => {
    const { at: place, plan: planned } = await plan('balance', packCorpus('balance.pbin'), 5)
    const tasks = await tasksOf(place, planned)
    const sizes = tasks.map(({ bytes }) => bytes)
    expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBe(planned.bytes)
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThan(4000)
    for (const [index, { from, sources }] of tasks.entries()) {
      if (from === undefined) continue
      expect(tasks[index - 1]).toMatchObject({ to: from })
      expect(readFileSync(sources[0]!.path)[from - 1]).toBe(10)
    }
  })

  it('are the same without fused stages', async () => {
    const { at: place, plan: planned } = await plan('apart', packCorpus('apart.pbin'), 4)
    const [, task] = await tasksOf(place, planned)
    await runPipeline(await shardPipeline(place, planned, task!), { fuse: false })
    const apart = withManifest(join(place, '000', '00001.pbin'))
    await runShard(place, planned, 1)
    expect(withManifest(join(place, '000', '00001.pbin'))).toEqual(apart)
  })

  it('may include shards without a document', async () => {
    const lines = [...Array(40).fill('{"text":""}\n'), linesOf(texts(0, 5))]
    writeFileSync(at('sparse.jsonl'), lines.join(''))
    const stages = (path: string): object[] => [
      { 'read-corpus': { sources: [at('sparse.jsonl')], faulty: 'skip' } },
      ...tokens(path, { faulty: 'skip' }),
    ]
    await runPipeline(pipelineOf(stages(at('sparse-single.pbin'))))
    const { at: place, plan: planned } = await plan('sparse', stages(at('sparse.pbin')), 8)
    for (const shard of shardList(planned)) await runShard(place, planned, shard)
    const { rejected } = await mergeShards(place, planned)
    expect(rejected).toBe(40)
    expect(existsSync(join(place, '000', '00000.pbin'))).toBe(false)
    expect(withManifest(at('sparse.pbin'))).toEqual(withManifest(at('sparse-single.pbin')))
  })
})

describe('a shard', () => {
  it('is written once by processes that run it at the same time', async () => {
    const { at: place, plan: planned } = await plan('twice', packCorpus('twice.pbin'), 2)
    const outcomes = await Promise.all([0, 0, 0].map(shard => runShard(place, planned, shard)))
    expect(outcomes.map(({ kind }) => kind).toSorted()).toEqual(['done', 'kept', 'kept'])
    expect(await runShard(place, planned, 0)).toMatchObject({ kind: 'kept' })
  })

  it('is run again after its source has changed and the work was planned again', async () => {
    writeFileSync(at('grows.jsonl'), linesOf(texts(0, 50)))
    const stages = [{ 'read-corpus': { sources: [at('grows.jsonl')] } }, ...tokens(at('grows.pbin'))]
    const { at: place, plan: planned } = await plan('grows', stages, 2)
    await runShard(place, planned, 0)
    writeFileSync(at('grows.jsonl'), linesOf(texts(0, 60)))
    await expect(runShard(place, planned, 1)).rejects.toMatchObject({ code: 'FILE_CHANGED' })
    await expect(plan('grows', stages, 2)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
  })

  it('is in the status as waiting, failed, stopped and done', async () => {
    writeFileSync(at('faulty.jsonl'), `${linesOf(texts(0, 50))}{"text":\n${linesOf(texts(50, 50))}`)
    const stages = [{ 'read-corpus': { sources: [at('faulty.jsonl')] } }, ...tokens(at('faulty.pbin'))]
    const { at: place, plan: planned } = await plan('faulty', stages, 4)
    const counts = async () => (await shardsStatus(place, planned)).counts
    expect(await counts()).toMatchObject({ waiting: 4 })
    let seen: Promise<unknown> | undefined
    await runShard(place, planned, 0, {
      onProgress: () => {
        seen ??= counts()
      },
    })
    expect(await seen).toMatchObject({ waiting: 3, running: 1 })
    const failures = await Promise.all([1, 2].map(shard => runShard(place, planned, shard).catch(error => error)))
    expect(failures.filter(({ code }) => code === 'JSON_INVALID')).toHaveLength(1)
    const stopped = runShard(place, planned, 3, { signal: AbortSignal.abort() })
    await expect(stopped).rejects.toMatchObject({ code: 'STOPPED' })
    const status = await shardsStatus(place, planned)
    expect(status.counts).toEqual({ waiting: 0, running: 0, lost: 0, retry: 1, failed: 1, done: 2 })
    const [failed] = status.active
    expect(failed).toMatchObject({ state: 'failed', error: { exitCode: 65, code: 'JSON_INVALID' } })
    expect(failed!.error!.message).toContain('faulty.jsonl')
    await expect(mergeShards(place, planned)).rejects.toMatchObject({ code: 'FILE_MISSING' })
  })

  it('is lost when its process is gone', async () => {
    const { at: place, plan: planned } = await plan('lost', packCorpus('lost.pbin'), 2)
    const running = { process: { host: 'elsewhere', pid: 1 }, share: 0.5, at: Date.now() }
    const file = join(place, '000', '00001.running.json')
    writeFileSync(file, JSON.stringify(running))
    const { active, leftMs } = await shardsStatus(place, planned)
    expect(active).toMatchObject([{ shard: 1, state: 'running', share: 0.5 }])
    expect(leftMs).toBeUndefined()
    const { record } = await runShard(place, planned, 0)
    const { bytes, doneBytes, leftMs: left } = await shardsStatus(place, planned)
    expect(left! / (bytes - doneBytes)).toBeCloseTo(record.elapsedMs / (doneBytes - (bytes - doneBytes)), 3)
    writeFileSync(file, JSON.stringify({ ...running, at: Date.now() - 3_600_000 }))
    expect((await shardsStatus(place, planned)).active).toMatchObject([{ shard: 1, state: 'lost' }])
    await runShard(place, planned, 1)
    expect((await shardsStatus(place, planned)).counts).toMatchObject({ waiting: 0, done: 2 })
  })
})

describe('a status', () => {
  it('reads the records of complete shards once, and again when one is gone', async () => {
    const { at: place, plan: planned } = await plan('summary', packCorpus('summary.pbin'), 2)
    for (const shard of shardList(planned)) await runShard(place, planned, shard)
    const before = await shardsStatus(place, planned)
    const record = join(place, '000', '00000.done.json')
    const content = readFileSync(record)
    writeFileSync(record, 'not read')
    expect(await shardsStatus(place, planned)).toEqual(before)
    rmSync(record)
    expect((await shardsStatus(place, planned)).counts).toMatchObject({ waiting: 1, done: 1 })
    writeFileSync(record, content)
    writeFileSync(join(place, '000', 'status.json'), '{"key":')
    expect(await shardsStatus(place, planned)).toEqual(before)
  })
})

describe('a merge', () => {
  it('succeeds again while its output is unchanged, and replaces no other file', async () => {
    const { at: place, plan: planned } = await plan('again', packCorpus('again.pbin'), 2)
    for (const shard of shardList(planned)) await runShard(place, planned, shard)
    expect((await mergeShards(place, planned)).results).toHaveLength(1)
    expect((await mergeShards(place, planned)).results).toEqual([])
    writeFileSync(at('again.pbin'), 'another file')
    await expect(mergeShards(place, planned)).rejects.toMatchObject({ code: 'FILE_EXISTS' })
  })

  const changes: Readonly<Record<string, [code: string, change: (place: string) => void]>> = {
    'a part of other bytes': [
      'FILE_DAMAGED',
      place => {
        const path = join(place, '000', '00001.pbin')
        const bytes = readFileSync(path)
        bytes[100] = bytes[100]! ^ 1
        writeFileSync(path, bytes)
      },
    ],
    'a part that is the copy of another': [
      'FILE_DAMAGED',
      place => copyFileSync(join(place, '000', '00000.pbin'), join(place, '000', '00001.pbin')),
    ],
    'a part with the record of another': [
      'FILE_MISSING',
      place => {
        for (const ending of ['pbin', 'pbin.manifest', 'done.json'])
          copyFileSync(join(place, '000', `00000.${ending}`), join(place, '000', `00001.${ending}`))
      },
    ],
    'a part that is missing': ['FILE_MISSING', place => rmSync(join(place, '000', '00002.pbin'))],
    'a source that changed between two shards': [
      'FILE_CHANGED',
      place => {
        const path = join(place, '000', '00001.done.json')
        writeFileSync(path, readFileSync(path, 'utf8').replace(/"versions":\["./, '"versions":["x'))
      },
    ],
  }
  let complete: Awaited<ReturnType<typeof plan>> | undefined
  let changed = 0
  beforeAll(async () => {
    const stages = [{ 'read-corpus': { sources: [at('corpus/1.jsonl')] } }, ...tokens(at('changed.pbin'))]
    complete = await plan('changed', stages, 3)
    for (const shard of shardList(complete.plan)) await runShard(complete.at, complete.plan, shard)
  })
  for (const [name, [code, change]] of Object.entries(changes)) {
    it(`rejects ${name}`, async () => {
      const place = at(`changed-${code}-${changed++}`)
      cpSync(complete!.at, place, { recursive: true })
      change(place)
      const planned = complete!.plan
      await expect(mergeShards(place, planned)).rejects.toMatchObject({ code })
      expect(existsSync(at('changed.pbin'))).toBe(false)
    })
  }
})

describe('counts of words', () => {
  it('are not merged when their source changed between two shards, even to the same size', async () => {
    writeFileSync(at('words.jsonl'), linesOf(texts(0, 100)))
    const stages = [
      { 'read-corpus': { sources: [at('words.jsonl')] } },
      { 'train-tokenizer': { path: at('words.json'), vocab_size: 300, workers: 1 } },
    ]
    const { at: place, plan: planned } = await plan('words', stages, 2)
    await runShard(place, planned, 0)
    writeFileSync(at('words.jsonl'), linesOf(texts(0, 100)).replace('line 0', 'LINE 0'))
    await runShard(place, planned, 1)
    await expect(mergeShards(place, planned)).rejects.toMatchObject({ code: 'FILE_CHANGED' })
  })
})

describe('a second pass', () => {
  it('is retried until the first one is complete', async () => {
    await runPipeline(pipelineOf(packCorpus('unshuffled.pbin')))
    const shuffle = [
      { 'shuffle-documents': { paths: [at('unshuffled.pbin')], seed: 1 } },
      { 'write-pbin': { path: at('shuffled.pbin') } },
    ]
    const { at: place, plan: planned } = await plan('shuffled', shuffle, 2)
    await runShard(place, planned, 1)
    const early = await runShard(place, planned, 2).catch((error: unknown) => error)
    expect(shardExitCode(early)).toBe(75)
    expect(String(early)).toContain('shards 0 are not complete')
    await runShard(place, planned, 0)
    expect(await runShard(place, planned, 2)).toMatchObject({ kind: 'done' })
    expect((await shardsStatus(place, planned)).counts).toMatchObject({ waiting: 1, done: 3 })
  })
})

describe('verify', () => {
  it('in shards names the damaged file of each, and finds the others sound', async () => {
    mkdirSync(at('packed'))
    for (const name of ['a', 'b', 'c']) await runPipeline(pipelineOf(packCorpus(`packed/${name}.pbin`)))
    const bytes = readFileSync(at('packed/b.pbin'))
    bytes[100] = bytes[100]! ^ 1
    writeFileSync(at('packed/b.pbin'), bytes)
    const place = at('verify.shards')
    const run = (...args: string[]) => penstock(args, folder)
    expect(await run('verify', 'packed', '--shards', '3', '--shard-folder', place)).toMatchObject({ code: 0 })
    expect(await run('shards', 'run', place)).toMatchObject({ code: 65 })
    const { counts, active } = await shardsStatus(place, await readPlan(place))
    expect(counts).toMatchObject({ done: 2, failed: 1 })
    expect(active[0]!.error).toMatchObject({ code: 'FILE_DAMAGED', message: expect.stringContaining('b.pbin') })
    await expect(mergeShards(place, await readPlan(place))).rejects.toThrow(/1 of 3 .*b\.pbin/)
  })
})

describe('a plan', () => {
  it('cannot be in an object store', async () => {
    const planned = await planShards(pipelineOf(packCorpus('stored.pbin')), 2)
    const invalid = expect.objectContaining({ code: 'ARGUMENT_INVALID' })
    await expect(writePlan('s3://bucket/plan', planned.plan, planned.tasks)).rejects.toEqual(invalid)
    await expect(readPlan('s3://bucket/plan')).rejects.toEqual(invalid)
  })

  const rejected: Readonly<Record<string, object[]>> = {
    'a limit': [{ 'read-pbin': { path: at('corpus/1.jsonl'), limit: 3 } }, { 'write-pbin': { path: at('no.pbin') } }],
    'a shuffle of a file with itself': [
      { 'shuffle-documents': { paths: [at('corpus/1.jsonl'), at('corpus/1.jsonl')], seed: 1 } },
      { 'write-pbin': { path: at('no.pbin') } },
    ],
    'a shuffle without a seed': [
      { 'shuffle-documents': { paths: [at('corpus/1.jsonl')] } },
      { 'write-pbin': { path: at('no.pbin') } },
    ],
    'a limit of faulty records': [
      { 'read-corpus': { sources: [at('corpus')], faulty: 'skip', max_faulty: 3 } },
      ...tokens(at('no.pbin')),
    ],
    'an output in an object store': [{ 'read-corpus': { sources: [at('corpus')] } }, ...tokens('s3://b/no.pbin')],
  }
  for (const [name, stages] of Object.entries(rejected)) {
    it(`rejects ${name}`, async () => {
      await expect(planShards(pipelineOf(stages), 3)).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
    })
  }
})
