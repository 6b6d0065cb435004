/**
 * A run that was stopped or killed at any point is resumed by the next run of the same work, with the output bytes,
 * faults and totals of an uninterrupted run.
 */
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { JournalFile } from '#src/files/journal/journal-file'
import { openOutput } from '#src/files/output-file'
import type { PipelineResult, ResumeEvent } from '#src/pipelines/index'
import { temporaryFolder } from '../stages/support.js'
import { contentOf, type Job, jobs, prepare, run } from './resume-jobs.js'

const folder = temporaryFolder()
const at = (name: string): string => join(folder, name)
const MARK_BYTES = 250_000

// Each test has many runs, each with its own workers.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

beforeAll(() => prepare(folder, 2.2))

const append = JournalFile.prototype.append
afterEach(() => {
  JournalFile.prototype.append = append
})

/** Either the error of a stopped run or the result of a completed one. */
interface Stopped {
  readonly outcome?: unknown
  readonly result?: PipelineResult
}

/** Runs a job until its journal has `records` more records, or to completion. */
async function stopAfter(job: Job, records: number): Promise<Stopped> {
  const abort = new AbortController()
  let appended = 0
  JournalFile.prototype.append = async function (record) {
    await append.call(this, record)
    if (++appended === records && !('done' in (record as object))) abort.abort()
  }
  try {
    return { result: await run(job, { markBytes: MARK_BYTES, signal: abort.signal }) }
  } catch (outcome) {
    expect(outcome).toMatchObject({ code: 'STOPPED' })
    return { outcome }
  } finally {
    JournalFile.prototype.append = append
  }
}

async function resumeJob(job: Job): Promise<{ result: PipelineResult; events: ResumeEvent[] }> {
  const events: ResumeEvent[] = []
  const result = await run(job, { markBytes: MARK_BYTES, onResume: event => events.push(event) })
  return { result, events }
}

const removeOutputs = (job: Job): void => {
  for (const path of job.outputs) rmSync(path, { force: true })
}

/** Counts of the stages, without those that depend on batch boundaries or on time. */
const countsOf = ({ stages }: PipelineResult): unknown[] =>
  stages.map(({ name, stats }) => {
    const { recordsIn, recordsOut, rejected, bytesOut, counts } = stats
    return { name, recordsIn, recordsOut, rejected, bytesOut: name.startsWith('read') ? bytesOut : 0, counts }
  })

const leftBeside = (name: string): string[] =>
  readdirSync(folder).filter(file => file.startsWith(name) && /\.(part|lock|journal|stale)$/.test(file))

describe.each(Object.keys(jobs(folder, 'x')))('%s', name => {
  const uninterrupted = jobs(folder, 'uninterrupted')[name]!
  const disturbed = jobs(folder, 'disturbed')[name]!
  let expected: PipelineResult

  beforeAll(async () => {
    removeOutputs(uninterrupted)
    expected = await run(uninterrupted)
  })

  const expectUninterruptedEnd = (result: PipelineResult): void => {
    expect(contentOf(disturbed).join() === contentOf(uninterrupted).join()).toBe(true)
    expect(countsOf(result)).toEqual(countsOf(expected))
    expect(leftBeside('disturbed')).toEqual([])
    removeOutputs(disturbed)
  }

  it('writes the same bytes and totals when stopped at each mark in turn', async () => {
    removeOutputs(disturbed)
    let stops = 0
    for (;;) {
      const stopped = await stopAfter(disturbed, 1)
      if (stopped.result !== undefined) {
        expectUninterruptedEnd(stopped.result)
        break
      }
      stops++
      expect(disturbed.outputs.filter(existsSync)).toEqual([])
    }
    expect(stops).toBeGreaterThan(0)
  })

  // The most complex pipelines, fused and separate.
  it.runIf(name.startsWith('index and pack'))(
    'writes the same bytes and totals when stopped at any one mark',
    async () => {
      let stops = 0
      for (; ; stops++) {
        const stopped = await stopAfter(disturbed, stops + 1)
        if (stopped.outcome === undefined) break
        const { result, events } = await resumeJob(disturbed)
        expect(events).toMatchObject([{ kind: 'continued' }])
        expectUninterruptedEnd(result)
      }
      expect(stops).toBeGreaterThan(0)
      removeOutputs(disturbed)
    },
  )
})

const onePass = (name: string): Job => jobs(folder, name)['index and pack in one pass']!
const idx = '.idx'
const pbin = '.pbin'
let works = 0

/** A job stopped at its third mark, with its own outputs. */
async function stoppedJob(kind = 'index and pack in one pass'): Promise<{ job: Job; name: string }> {
  const name = `work-${works++}`
  const job = jobs(folder, name)[kind]!
  expect((await stopAfter(job, 3)).outcome).toBeDefined()
  return { job, name }
}

const contents = new Map<string, string[]>()

/** @param source label of the content of the source, if it was changed */
async function expectUninterrupted(job: Job, source = 'original'): Promise<void> {
  if (!contents.has(source)) {
    const whole = onePass(`whole-${works++}`)
    await run(whole)
    contents.set(source, contentOf(whole))
  }
  // Compared as booleans to avoid a diff of megabytes.
  expect(contentOf(job).map((content, index) => content === contents.get(source)![index])).toEqual(
    job.outputs.map(() => true),
  )
}

describe('a journal', () => {
  it('is used up to a torn last record', async () => {
    const { job, name } = await stoppedJob()
    const journal = at(`${name}${idx}.journal`)
    truncateSync(journal, statSync(journal).size - 1)
    const { events } = await resumeJob(job)
    expect(events).toMatchObject([{ kind: 'continued' }])
    await expectUninterrupted(job)
  })

  it('is used up to the previous record if the newest one describes bytes that an output lacks', async () => {
    const { job, name } = await stoppedJob()
    const part = at(`${name}${pbin}.part`)
    const shown = async () => (await resumeJob(job)).events[0]
    truncateSync(part, statSync(part).size - 70_000)
    const event = await shown()
    expect(event).toMatchObject({ kind: 'continued' })
    await expectUninterrupted(job)
  })

  it('is not used if it is garbage or its files are missing', async () => {
    for (const spoil of [
      (name: string) => writeFileSync(at(`${name}${idx}.journal`), 'not a journal, but of some length'),
      (name: string) => rmSync(at(`${name}${idx}.part`)),
      (name: string) => rmSync(at(`${name}${pbin}.scratch.part`)),
      (name: string) => rmSync(at(`${name}${pbin}.journal`)),
    ]) {
      const { job, name } = await stoppedJob()
      spoil(name)
      const { events } = await resumeJob(job)
      expect(events.filter(({ kind }) => kind === 'continued')).toEqual([])
      await expectUninterrupted(job)
      expect(leftBeside(`${name}.`)).toEqual([])
    }
  })

  it('is not used if another run has written one of the outputs since', async () => {
    const { job, name } = await stoppedJob()
    const output = at(`${name}${pbin}`)
    const other = (await openOutput(output, 'error'))!
    await other.abandon()
    // As if the other run had been killed here: its .part exists, and its lock file proves that it created it.
    writeFileSync(`${output}.part`, Buffer.alloc(5 << 20))
    const file = { file: `${name}${pbin}.part`, inode: statSync(`${output}.part`).ino }
    writeFileSync(`${output}.lock`, `{"lock":"penstock"}\n${JSON.stringify(file)}\n`)
    const { events } = await resumeJob(job)
    expect(events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining(pbin) }])
    await expectUninterrupted(job)
  })

  it('is not used if the source was edited, even with the same size and mtime', async () => {
    const source = at('in.jsonl')
    const before = readFileSync(source)
    const { mtime, atime } = statSync(source)
    try {
      for (const edit of [
        () => appendFileSync(source, '{"text":"more"}\n'),
        () => {
          // The first block is part of the sample.
          writeFileSync(source, Buffer.concat([Buffer.from('{"id":7'), before.subarray(7)]))
          utimesSync(source, atime, mtime)
        },
      ]) {
        const { job } = await stoppedJob()
        edit()
        const { events } = await resumeJob(job)
        expect(events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining('in.jsonl changed') }])
        await expectUninterrupted(job, `edited ${works}`)
        writeFileSync(source, before)
      }
    } finally {
      writeFileSync(source, before)
    }
  })

  it('is not used if only the ctime of the source changed', async () => {
    const source = at('in.jsonl')
    utimesSync(source, 1e9, 1e9)
    const { job } = await stoppedJob()
    utimesSync(source, 1e9, 1e9)
    const { events } = await resumeJob(job)
    expect(events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining('in.jsonl changed') }])
    await expectUninterrupted(job)
  })

  it('is used after its files were copied to another folder and back', async () => {
    const { job, name } = await stoppedJob()
    for (const file of leftBeside(`${name}`)) {
      copyFileSync(at(file), at(`copy-${file}`))
      rmSync(at(file))
      renameSync(at(`copy-${file}`), at(file))
    }
    const { events } = await resumeJob(job)
    expect(events).toMatchObject([{ kind: 'continued' }])
    await expectUninterrupted(job)
  })

  it('is not used with another tokenizer or other options', async () => {
    const tokenizer = at('tokenizer.json')
    const before = readFileSync(tokenizer)
    const { job } = await stoppedJob()
    writeFileSync(tokenizer, `${before} `)
    expect((await resumeJob(job)).events).toMatchObject([
      { kind: 'anew', reason: expect.stringContaining('tokenizer') },
    ])
    writeFileSync(tokenizer, before)

    const { job: other } = await stoppedJob()
    const stages = JSON.parse(JSON.stringify(other.stages).replace('".text"', '".id"'))
    const failed = await run({ ...other, stages }, { markBytes: MARK_BYTES }).then(
      () => 'done',
      error => error.code,
    )
    expect(failed).toBe('DATA_TOO_SMALL')
  })

  it('is used if only the number of workers or the spelling of paths differs', async () => {
    const { job } = await stoppedJob()
    const stages = JSON.parse(JSON.stringify(job.stages).replaceAll('"workers":2', '"workers":1'))
    const events: ResumeEvent[] = []
    await run({ ...job, stages }, { onResume: event => events.push(event) })
    expect(events).toMatchObject([{ kind: 'continued' }])
    await expectUninterrupted(job)
  })

  it('is not used if resume is false', async () => {
    const { job } = await stoppedJob()
    const events: ResumeEvent[] = []
    await run(job, { resume: false, onResume: event => events.push(event) })
    expect(events).toEqual([])
    await expectUninterrupted(job)
  })
})

describe('a resumed run', () => {
  it('continues to count faults', async () => {
    const { job } = await stoppedJob('pack')
    const rejected = (await resumeJob(job)).result.stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
    expect(rejected).toBeGreaterThan(10)
    const limited = (max: number, name: string): Job => {
      const { stages, outputs } = jobs(folder, name).index!
      return {
        stages: JSON.parse(JSON.stringify(stages).replaceAll('"faulty":', `"max_faulty":${max},"faulty":`)),
        outputs,
      }
    }
    const faults = readFileSync(job.outputs.at(-1)!, 'utf8')
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    const inJson = faults.filter(({ code }) => !/FIELD|DOCUMENT/.test(code)).length
    const over = limited(inJson - 1, 'over')
    expect((await stopAfter(over, 2)).outcome).toBeDefined()
    await expect(run(over)).rejects.toMatchObject({ code: 'TOO_MANY_FAULTS' })
    expect(leftBeside('over')).toEqual([])
  })

  it('keeps the random order of a run without a seed', async () => {
    const stages = [{ 'shuffle-lines': { paths: [at('in.jsonl')] } }, { 'write-lines': { path: at('drawn.jsonl') } }]
    const job: Job = { stages, outputs: [at('drawn.jsonl')] }
    expect((await stopAfter(job, 1)).outcome).toBeDefined()
    const { result } = await resumeJob(job)
    const seed = Number(/\d+/.exec(result.stages[0]!.stats.notes[0]!)![0])
    const given = [
      { 'shuffle-lines': { paths: [at('in.jsonl')], seed } },
      { 'write-lines': { path: at('given.jsonl') } },
    ]
    await run({ stages: given, outputs: [] })
    expect(readFileSync(at('drawn.jsonl')).equals(readFileSync(at('given.jsonl')))).toBe(true)
  })

  it('leaves no files if it fails because of a record', async () => {
    const name = 'strict'
    const { stages } = jobs(folder, name).index!
    const strict = JSON.parse(
      JSON.stringify(stages).replaceAll(/"faulty":"quarantine","quarantine":"[^"]*"/g, '"faulty":"fail"'),
    )
    await expect(run({ stages: strict, outputs: [] }, { markBytes: MARK_BYTES })).rejects.toMatchObject({
      code: 'JSON_INVALID',
    })
    expect(readdirSync(folder).filter(file => file.startsWith(name))).toEqual([])
  })

  it('is rejected while another run writes the same outputs', async () => {
    const job = onePass('twice')
    const outcomes = await Promise.allSettled([run(job), run(job)])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'FILE_LOCKED' } })
    await expectUninterrupted(job)
  })
})
