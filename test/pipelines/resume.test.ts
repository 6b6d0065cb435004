/**
 * Stopped or killed anywhere, a run of the same work goes on, and what it writes is what an undisturbed one writes: the
 * bytes of every output, the faults, the totals.
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

// Many runs each, with workers of their own.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 120_000 })

beforeAll(() => prepare(folder, 2.2))

const append = JournalFile.prototype.append
afterEach(() => {
  JournalFile.prototype.append = append
})

/** One of the two: why it was stopped, or what came of it. */
interface Stopped {
  readonly outcome?: unknown
  readonly result?: PipelineResult
}

/** Runs a job until its journal has some more records, or to its end. */
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

async function goOn(job: Job): Promise<{ result: PipelineResult; events: ResumeEvent[] }> {
  const events: ResumeEvent[] = []
  const result = await run(job, { markBytes: MARK_BYTES, onResume: event => events.push(event) })
  return { result, events }
}

const removeOutputs = (job: Job): void => {
  for (const path of job.outputs) rmSync(path, { force: true })
}

/** What the stages counted, without what depends on how the input was cut into batches, or on time. */
const countsOf = ({ stages }: PipelineResult): unknown[] =>
  stages.map(({ name, stats }) => {
    const { recordsIn, recordsOut, rejected, bytesOut, counts } = stats
    return { name, recordsIn, recordsOut, rejected, bytesOut: name.startsWith('read') ? bytesOut : 0, counts }
  })

const leftBeside = (name: string): string[] =>
  readdirSync(folder).filter(file => file.startsWith(name) && /\.(part|lock|journal|stale)$/.test(file))

describe.each(Object.keys(jobs(folder, 'x')))('%s', name => {
  const undisturbed = jobs(folder, 'undisturbed')[name]!
  const disturbed = jobs(folder, 'disturbed')[name]!
  let expected: PipelineResult

  beforeAll(async () => {
    removeOutputs(undisturbed)
    expected = await run(undisturbed)
  })

  const expectUndisturbedEnd = (result: PipelineResult): void => {
    expect(contentOf(disturbed).join() === contentOf(undisturbed).join()).toBe(true)
    expect(countsOf(result)).toEqual(countsOf(expected))
    expect(leftBeside('disturbed')).toEqual([])
    removeOutputs(disturbed)
  }

  it('stopped at each mark in turn, goes on to the same bytes and totals', async () => {
    removeOutputs(disturbed)
    let stops = 0
    for (;;) {
      const stopped = await stopAfter(disturbed, 1)
      if (stopped.result !== undefined) {
        expectUndisturbedEnd(stopped.result)
        break
      }
      stops++
      expect(disturbed.outputs.filter(existsSync)).toEqual([])
    }
    expect(stops).toBeGreaterThan(0)
  })

  // With all of the bookkeeping, fused and not.
  it.runIf(name.startsWith('index and pack'))(
    'stopped at any one mark, goes on to the same bytes and totals',
    async () => {
      let stops = 0
      for (; ; stops++) {
        const stopped = await stopAfter(disturbed, stops + 1)
        if (stopped.outcome === undefined) break
        const { result, events } = await goOn(disturbed)
        expect(events).toMatchObject([{ kind: 'continued' }])
        expectUndisturbedEnd(result)
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

/** A job that was stopped at its third mark, with outputs of its own. */
async function stoppedJob(kind = 'index and pack in one pass'): Promise<{ job: Job; name: string }> {
  const name = `work-${works++}`
  const job = jobs(folder, name)[kind]!
  expect((await stopAfter(job, 3)).outcome).toBeDefined()
  return { job, name }
}

const contents = new Map<string, string[]>()

/** @param source another name when the source is not as it was */
async function expectUndisturbed(job: Job, source = 'as it was'): Promise<void> {
  if (!contents.has(source)) {
    const whole = onePass(`whole-${works++}`)
    await run(whole)
    contents.set(source, contentOf(whole))
  }
  // Not a diff of megabytes where they differ.
  expect(contentOf(job).map((content, index) => content === contents.get(source)![index])).toEqual(
    job.outputs.map(() => true),
  )
}

describe('a journal', () => {
  it('with a torn last record is used up to there', async () => {
    const { job, name } = await stoppedJob()
    const journal = at(`${name}${idx}.journal`)
    truncateSync(journal, statSync(journal).size - 1)
    const { events } = await goOn(job)
    expect(events).toMatchObject([{ kind: 'continued' }])
    await expectUndisturbed(job)
  })

  it('whose newest record tells of bytes that an output lacks is used up to the one before', async () => {
    const { job, name } = await stoppedJob()
    const part = at(`${name}${pbin}.part`)
    const shown = async () => (await goOn(job)).events[0]
    truncateSync(part, statSync(part).size - 70_000)
    const event = await shown()
    expect(event).toMatchObject({ kind: 'continued' })
    await expectUndisturbed(job)
  })

  it('of garbage, or without its files, is not used', async () => {
    for (const spoil of [
      (name: string) => writeFileSync(at(`${name}${idx}.journal`), 'no journal at all, though of some length'),
      (name: string) => rmSync(at(`${name}${idx}.part`)),
      (name: string) => rmSync(at(`${name}${pbin}.scratch.part`)),
      (name: string) => rmSync(at(`${name}${pbin}.journal`)),
    ]) {
      const { job, name } = await stoppedJob()
      spoil(name)
      const { events } = await goOn(job)
      expect(events.filter(({ kind }) => kind === 'continued')).toEqual([])
      await expectUndisturbed(job)
      expect(leftBeside(`${name}.`)).toEqual([])
    }
  })

  it('is not used when another run has written one of the outputs since', async () => {
    const { job, name } = await stoppedJob()
    const other = (await openOutput(at(`${name}${pbin}`), 'error'))!
    await other.write(Buffer.alloc(5 << 20))
    // As if killed here: its .part is there, longer than the one before.
    await other.patch(new Uint8Array(1), 0)
    copyFileSync(at(`${name}${pbin}.part`), at('other.part'))
    await other.abandon()
    renameSync(at('other.part'), at(`${name}${pbin}.part`))
    const { events } = await goOn(job)
    expect(events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining(pbin) }])
    await expectUndisturbed(job)
  })

  it('of a source that was edited, even with its size and date as before, is not used', async () => {
    const source = at('in.jsonl')
    const before = readFileSync(source)
    const { mtime, atime } = statSync(source)
    try {
      for (const edit of [
        () => appendFileSync(source, '{"text":"more"}\n'),
        () => {
          // The first block is among those that are looked at.
          writeFileSync(source, Buffer.concat([Buffer.from('{"id":7'), before.subarray(7)]))
          utimesSync(source, atime, mtime)
        },
      ]) {
        const { job } = await stoppedJob()
        edit()
        const { events } = await goOn(job)
        expect(events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining('in.jsonl changed') }])
        await expectUndisturbed(job, `edited ${works}`)
        writeFileSync(source, before)
      }
    } finally {
      writeFileSync(source, before)
    }
  })

  it('of another tokenizer or other options is not used', async () => {
    const tokenizer = at('tokenizer.json')
    const before = readFileSync(tokenizer)
    const { job } = await stoppedJob()
    writeFileSync(tokenizer, `${before} `)
    expect((await goOn(job)).events).toMatchObject([{ kind: 'anew', reason: expect.stringContaining('tokenizer') }])
    writeFileSync(tokenizer, before)

    const { job: other } = await stoppedJob()
    const stages = JSON.parse(JSON.stringify(other.stages).replace('".text"', '".id"'))
    const failed = await run({ ...other, stages }, { markBytes: MARK_BYTES }).then(
      () => 'done',
      error => error.code,
    )
    expect(failed).toBe('DATA_TOO_SMALL')
  })

  it('is used although workers and folders are told in other words', async () => {
    const { job } = await stoppedJob()
    const stages = JSON.parse(JSON.stringify(job.stages).replaceAll('"workers":2', '"workers":1'))
    const events: ResumeEvent[] = []
    await run({ ...job, stages }, { onResume: event => events.push(event) })
    expect(events).toMatchObject([{ kind: 'continued' }])
    await expectUndisturbed(job)
  })

  it('is not used when told to start anew', async () => {
    const { job } = await stoppedJob()
    const events: ResumeEvent[] = []
    await run(job, { resume: false, onResume: event => events.push(event) })
    expect(events).toEqual([])
    await expectUndisturbed(job)
  })
})

describe('a run that goes on', () => {
  it('counts faults on from where they stood', async () => {
    const { job } = await stoppedJob('pack')
    const rejected = (await goOn(job)).result.stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
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

  it('keeps the order that it drew without a seed', async () => {
    const stages = [{ 'shuffle-lines': { paths: [at('in.jsonl')] } }, { 'write-lines': { path: at('drawn.jsonl') } }]
    const job: Job = { stages, outputs: [at('drawn.jsonl')] }
    expect((await stopAfter(job, 1)).outcome).toBeDefined()
    const { result } = await goOn(job)
    const seed = Number(/\d+/.exec(result.stages[0]!.stats.notes[0]!)![0])
    const told = [{ 'shuffle-lines': { paths: [at('in.jsonl')], seed } }, { 'write-lines': { path: at('told.jsonl') } }]
    await run({ stages: told, outputs: [] })
    expect(readFileSync(at('drawn.jsonl')).equals(readFileSync(at('told.jsonl')))).toBe(true)
  })

  it('leaves nothing when it fails for a record', async () => {
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

  it('is refused while another one writes the same outputs', async () => {
    const job = onePass('twice')
    const outcomes = await Promise.allSettled([run(job), run(job)])
    expect(outcomes.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
    expect(outcomes.find(({ status }) => status === 'rejected')).toMatchObject({ reason: { code: 'FILE_LOCKED' } })
    await expectUndisturbed(job)
  })
})
