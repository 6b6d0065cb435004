import { appendFileSync, existsSync, mkdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { sinksOfSubscriber } from '#src/modalities/to-penstock'
import { findRunLogs, openRunLog } from '#src/monitoring/dashboard/run-log'
import { openSinks } from '#src/monitoring/open-sinks'
import { sinkSchemas } from '#src/monitoring/options'
import type { RunEvent } from '#src/monitoring/run-event'
import { RunMonitor } from '#src/monitoring/run-monitor'
import { jsonlSink, LOG_NAME } from '#src/monitoring/sinks/jsonl-log'
import { prometheusSink } from '#src/monitoring/sinks/prometheus'
import { resultsSink } from '#src/monitoring/sinks/results-sink'
import { GuardedSink } from '#src/monitoring/sinks/sink'
import { traceSink } from '#src/monitoring/sinks/trace-sink'
import { inFolder, runInfo, runThrough, START, stageStats, unexpected } from '../fixtures.js'

const linesOf = (path: string): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))

const progress = (time: number, changes: Parameters<typeof stageStats>[0]): RunEvent => ({
  kind: 'progress',
  time,
  snapshot: { pipeline: 'train', elapsedMs: time - START, stages: [{ name: 'read-file', stats: stageStats(changes) }] },
})

describe('the JSON log', () => {
  it('has one valid line per event, with null and a flag for non-finite values', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'made', 'log.jsonl')
      await runThrough(jsonlSink(path, unexpected), 6)
      const lines = linesOf(path)
      expect(lines.map(line => line.kind)).toEqual(['run-start', ...Array(6).fill('metrics'), 'run-end'])
      expect(lines[5]).toMatchObject({ step: 5, values: { 'train/loss': null }, nonFinite: { 'train/loss': 'NaN' } })
      expect(lines[6]).not.toHaveProperty('nonFinite')
    })
  })

  it('ends with the final counts, and supports appending', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'log.jsonl')
      for (const start of [START, START + 60_000]) {
        const sink = jsonlSink(path, unexpected)
        for (let tick = 0; tick <= 10; tick++) sink.log(progress(start + 200 * tick, { recordsIn: tick }))
        sink.log({ kind: 'run-end', time: start + 3000, outcome: 'done' })
        await sink.close()
      }
      const counts = linesOf(path).map(line =>
        line.kind === 'progress'
          ? (line.snapshot as { stages: { stats: { recordsIn: number } }[] }).stages[0]!.stats.recordsIn
          : 'end',
      )
      expect(counts).toEqual([0, 10, 'end', 0, 10, 'end'])
    })
  })
})

it('logs the final counts of each pipeline of a run', async () => {
  await inFolder(async folder => {
    const path = join(folder, LOG_NAME)
    const sink = jsonlSink(path, unexpected)
    const progress = (pipeline: string, time: number, recordsIn: number): RunEvent => {
      const stages = [{ name: 'write-pbin', stats: stageStats({ recordsIn }) }]
      return { kind: 'progress', time, snapshot: { pipeline, elapsedMs: time, stages } }
    }
    for (const [pipeline, records] of Object.entries({ tokenizer: [1, 2, 3], pack: [4, 5] })) {
      for (const count of records) sink.log(progress(pipeline, START + count, count))
    }
    sink.log({ kind: 'run-end', time: START + 6, outcome: 'done' })
    await sink.close()
    const counts = linesOf(path)
      .filter(line => line.kind === 'progress')
      .map(line => line.snapshot as { pipeline: string; stages: { stats: { recordsIn: number } }[] })
      .map(({ pipeline, stages }) => [pipeline, stages[0]!.stats.recordsIn])
    expect(counts).toEqual([
      ['tokenizer', 1],
      ['tokenizer', 3],
      ['pack', 5],
    ])
  })
})

describe('a run log', () => {
  const read = async (path: string) => {
    const [file] = await findRunLogs(path)
    const log = await openRunLog(file!)
    await log.close()
    return log.history
  }

  it('restores what was logged, including NaN', async () => {
    await inFolder(async folder => {
      await runThrough(jsonlSink(join(folder, LOG_NAME), unexpected), 300)
      const history = await read(folder)
      expect(history.info).toEqual(runInfo)
      const { steps, values } = history.series('train/loss', { from: 0, to: 1000, limit: 1000 })
      expect(steps).toHaveLength(300)
      // The server sends null for NaN.
      expect(values[4]).toBeNull()
      expect(values[5]).toBe(5 / 6)
      expect(history.summary()!.outcome).toBe('done')
    })
  })

  it('can be read while it grows, and incomplete lines are deferred', async () => {
    await inFolder(async folder => {
      const path = join(folder, LOG_NAME)
      await runThrough(jsonlSink(path, unexpected), 5)
      const log = await openRunLog(path)
      const line = JSON.stringify({
        kind: 'metrics',
        time: START,
        step: 6,
        durationMs: 1,
        values: { 'train/loss': 0.5 },
      })
      expect(await log.readMore()).toBe(false)
      appendFileSync(path, line.slice(0, 30))
      expect(await log.readMore()).toBe(false)
      appendFileSync(path, `${line.slice(30)}\n`)
      expect(await log.readMore()).toBe(true)
      expect(log.history.summary()!.latest['train/loss']).toBe(0.5)
      await log.close()
    })
  })

  it('tolerates the incomplete line of a killed run that was resumed', async () => {
    await inFolder(async folder => {
      const path = join(folder, LOG_NAME)
      await runThrough(jsonlSink(path, unexpected), 5)
      appendFileSync(path, '{"kind":"metr')
      await runThrough(jsonlSink(path, unexpected), 9)
      const { lastStep, notes } = (await read(folder)).summary()!
      expect(lastStep).toBe(9)
      expect(notes.map(note => note.text)).toEqual(['done', 'line 8 of the log is damaged', 'done'])
    })
  })

  it('skips lines with a missing value or one of another type, and says so', async () => {
    await inFolder(async folder => {
      const path = join(folder, LOG_NAME)
      await runThrough(jsonlSink(path, unexpected), 2)
      const lines = readFileSync(path, 'utf8').trim().split('\n')
      const stages = [{ name: 'read-file', stats: stageStats({}) }]
      lines.push(JSON.stringify({ kind: 'progress', time: START, snapshot: { pipeline: 'p', stages, elapsedMs: 1 } }))
      for (const line of lines) {
        const event = JSON.parse(line) as Record<string, unknown>
        for (const key of Object.keys(event).filter(key => key !== 'kind' && key !== 'message')) {
          for (const value of [null, undefined, 'x', [], { a: null }, 7]) {
            writeFileSync(path, `${lines.join('\n')}\n${JSON.stringify({ ...event, [key]: value })}\n`)
            const history = await read(path)
            const summary = history.summary()!
            expect(summary.info).toEqual(runInfo)
            const isLegal = typeof value === typeof event[key] && value !== null && !Array.isArray(value)
            if (!isLegal && key !== 'durationMs') {
              expect(summary.notes.at(-1)?.text).toBe(`line ${lines.length + 1} of the log is damaged`)
            }
          }
        }
      }
    })
  })

  it('is rejected if it is missing or another kind of file', async () => {
    await inFolder(async folder => {
      writeFileSync(join(folder, 'null.jsonl'), `{"kind":"run-start","time":${START},"run":null}\n`)
      expect(await read(join(folder, 'null.jsonl')).catch(error => error.code)).toBe('JSON_INVALID')
      writeFileSync(join(folder, 'other.jsonl'), '{"text":"a"}\n')
      expect(await read(join(folder, 'other.jsonl')).catch(error => error.code)).toBe('JSON_INVALID')
      expect(await read(folder).catch(error => error.code)).toBe('FILE_MISSING')
    })
  })

  it('is not read to its end if it has no lines', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'zeros.jsonl')
      writeFileSync(path, '')
      truncateSync(path, 2 ** 40)
      expect(await read(path).catch(error => error.code)).toBe('JSON_INVALID')
    })
  })

  it('skips a line of many megabytes, and says so', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'log.jsonl')
      await runThrough(jsonlSink(path, unexpected), 2)
      const before = (await read(path)).summary()!
      appendFileSync(path, `${'x'.repeat(40 << 20)}\n`)
      await runThrough(jsonlSink(path, unexpected), 6)
      const { lastStep, notes } = (await read(path)).summary()!
      expect(lastStep).toBeGreaterThan(before.lastStep)
      expect(notes.map(({ text }) => text)).toEqual(['done', 'line 5 of the log is damaged', 'done'])
    })
  })
})

describe('results in the format of Modalities', () => {
  it('have its names in its parts, one line per data loader', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'results.jsonl')
      const sink = resultsSink(path, unexpected)
      const values = { 'train/loss': 2, 'train/learning_rate': 0.1, 'train/step_ms': 9, 'held_out/loss': 3 }
      sink.log({ kind: 'metrics', time: START, step: 7, durationMs: 1, values })
      await sink.close()
      expect(linesOf(path)).toEqual([
        {
          dataloader_tag: 'train',
          num_train_steps_done: 7,
          losses: { 'train loss last': 2 },
          metrics: {},
          throughput_metrics: { 'lr mean': 0.1 },
        },
        {
          dataloader_tag: 'val',
          num_train_steps_done: 7,
          losses: { CLMCrossEntropyLoss: 3 },
          metrics: {},
          throughput_metrics: {},
        },
      ])
    })
  })

  it('are configured by the options of its subscribers', () => {
    const options = { project: 'p', experiment_id: 'e', mode: 'OFFLINE', directory: 'd', global_rank: 0 }
    const { wandb } = sinksOfSubscriber('wandb', options) as { wandb: unknown }
    expect(sinkSchemas.wandb.parse(wandb)).toMatchObject({
      project: 'p',
      name: 'e',
      mode: 'offline',
      names: 'modalities',
    })
    expect(sinksOfSubscriber('to_disc', { output_file_path: 'a.jsonl' })).toEqual({ results: { path: 'a.jsonl' } })
    expect(sinksOfSubscriber('wandb', { ...options, mode: 'DISABLED' })).toEqual({})
    expect(sinksOfSubscriber('rich', {})).toEqual({})
  })
})

describe('the trace', () => {
  it('shows the main activity of each stage, and the duration of steps', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'trace.json')
      const sink = traceSink(path, unexpected)
      sink.log({ kind: 'run-start', time: START, run: runInfo })
      sink.log(progress(START, {}))
      sink.log(progress(START + 200, { waitedForInputMs: 10 }))
      sink.log(progress(START + 400, { waitedForInputMs: 20 }))
      sink.log(progress(START + 600, { waitedForInputMs: 210 }))
      sink.log({ kind: 'metrics', time: START + 650, step: 1, durationMs: 50, values: { 'train/loss': 1 } })
      await sink.close()
      const events = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>[]
      expect(events.filter(event => event.ph === 'X').map(({ name, ts, dur }) => ({ name, ts, dur }))).toEqual([
        { name: 'working', ts: 0, dur: 400_000 },
        { name: 'step 1', ts: 600_000, dur: 50_000 },
        { name: 'waiting for input', ts: 400_000, dur: 200_000 },
      ])
      const tracks = events.filter(event => event.name === 'thread_name').map(event => event.args)
      expect(tracks).toEqual([{ name: 'train: 1 read-file' }, { name: 'training step' }])
    })
  })
})

describe('the Prometheus text', () => {
  it('has the last values and every stage, with valid names and labels', async () => {
    await inFolder(async folder => {
      const path = join(folder, 'metrics.prom')
      const sink = prometheusSink(path, unexpected)
      sink.log({ kind: 'run-start', time: START, run: { ...runInfo, name: 'a "quoted\\ name' } })
      sink.log(progress(START + 200, { recordsIn: 7, bytesIn: 900 }))
      sink.log({ kind: 'metrics', time: START, step: 3, durationMs: 1, values: { 'train/loss': Number.NaN } })
      await sink.close()
      const text = readFileSync(path, 'utf8')
      const run = 'run="a \\"quoted\\\\ name",run_id="abcd1234"'
      expect(text).toContain(`# TYPE penstock_train_loss gauge\npenstock_train_loss{${run}} NaN\n`)
      const stage = `${run},pipeline="train",stage="read-file",position="0"`
      expect(text).toContain(`penstock_stage_records_in_total{${stage}} 7\n`)
      expect(text.endsWith('\n')).toBe(true)
      // Each family appears once, without interruption.
      const heads = text.split('\n').filter(line => line.startsWith('# TYPE'))
      expect(new Set(heads).size).toBe(heads.length)
      expect(existsSync(`${path}.part`)).toBe(false)
    })
  })
})

describe('a log over a file that no run wrote', () => {
  it.each([
    ['jsonl', jsonlSink, '{"text":"a document"}\n'],
    ['results', resultsSink, '{"text":"a document"}\n'],
    ['trace', traceSink, '[1, 2]\n'],
    ['prometheus', prometheusSink, '# notes\n'],
  ] as const)('is rejected: %s', async (_, open, content) => {
    await inFolder(async folder => {
      const path = join(folder, 'mine')
      writeFileSync(path, content)
      expect(() => open(path, unexpected)).toThrow(expect.objectContaining({ code: 'FILE_EXISTS' }))
      expect(readFileSync(path, 'utf8')).toBe(content)
    })
  })

  it.each([
    ['jsonl', jsonlSink],
    ['results', resultsSink],
    ['trace', traceSink],
    ['prometheus', prometheusSink],
  ] as const)('is accepted if an earlier run wrote it, also if it is truncated: %s', async (_, open) => {
    await inFolder(async folder => {
      const path = join(folder, 'log')
      for (const bytes of [undefined, 0, 5]) {
        if (bytes !== undefined) truncateSync(path, bytes)
        await runThrough(open(path, unexpected), 2)
        expect(statSync(path).size).toBeGreaterThan(5)
      }
    })
  })
})

describe('a failing sink', () => {
  const event: RunEvent = { kind: 'note', time: START, message: 'hello' }

  it.each([
    ['on opening', async () => Promise.reject(new Error('refused'))],
    ['on logging', async () => ({ log: () => unexpected(new Error('refused')), close: async () => {} })],
    ['on closing', async () => ({ log: () => {}, close: async () => unexpected(new Error('refused')) })],
    ['by never closing', async () => ({ log: () => {}, close: () => new Promise<void>(() => {}) })],
  ])('is reported once: %s', async (_, opener) => {
    const failures: string[] = []
    const sink = await GuardedSink.open('some', opener, (name, error) => failures.push(`${name} ${error.code}`))
    sink.log(event)
    sink.log(event)
    await sink.close(20)
    expect(failures).toEqual(['some FILE_UNWRITABLE'])
  })

  it('does not affect the others', async () => {
    await inFolder(async folder => {
      const blocked = join(folder, 'file')
      writeFileSync(blocked, '')
      const failures: string[] = []
      const sinks = await openSinks(
        {
          folder,
          tensorboard: { folder: join(blocked, 'below'), names: 'penstock' },
          trace: { path: '/dev/full' },
          jsonl: {},
        },
        name => failures.push(name),
      )
      const monitor = new RunMonitor({ name: 'demo', config: {}, pipelines: [] }, sinks)
      for (let step = 1; step <= 100; step++) {
        monitor.log({ kind: 'metrics', time: START, step, durationMs: 1, values: { 'held_out/loss': 1 } })
      }
      await monitor.end('done')
      expect(failures.sort()).toEqual(['tensorboard', 'trace'])
      expect(linesOf(join(folder, 'log.jsonl'))).toHaveLength(102)
    })
  })

  it('is not hurt by a folder in its way', async () => {
    await inFolder(async folder => {
      mkdirSync(join(folder, 'log.jsonl'))
      const failures: string[] = []
      const sinks = await openSinks({ folder, jsonl: {} }, (_, error) => failures.push(error.code))
      await new RunMonitor({ name: 'demo', config: {}, pipelines: [] }, sinks).end('done')
      expect(failures).toEqual(['FILE_UNWRITABLE'])
    })
  })
})
