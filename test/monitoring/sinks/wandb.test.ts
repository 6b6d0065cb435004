/** The W&B program itself uploads our files, to a local server that records the requests. */
import { execFile } from 'node:child_process'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it } from 'vitest'
import type { RunEvent, RunOutcome } from '#src/monitoring/run-event'
import { GuardedSink } from '#src/monitoring/sinks/sink'
import { type WandbOptions, wandbSink } from '#src/monitoring/sinks/wandb-sink'
import { inFolder, peersPython, runInfo, runThrough, START, stepEvents, unexpected, wandbProgram } from '../fixtures.js'

const python = peersPython()
const offline: Omit<WandbOptions, 'folder'> = {
  project: 'demo',
  mode: 'offline',
  names: 'penstock',
  upload_seconds: 10,
}

interface Upload {
  config: Record<string, { value: unknown }>
  displayName: string
  history: Record<string, unknown>[]
  summary: Record<string, unknown>
  exitCode: number | undefined
}

/** Answers the requests of `wandb sync` and records what it uploads. */
async function withServer<T>(body: (address: string, upload: Upload) => Promise<T>): Promise<T> {
  const upload: Upload = { config: {}, displayName: '', history: [], summary: {}, exitCode: undefined }
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const chunk of request.setEncoding('utf8')) text += chunk
    if (request.url === '/graphql') noteRun(upload, JSON.parse(text))
    if (request.url?.endsWith('/file_stream')) noteStream(upload, JSON.parse(text))
    const project = { name: 'demo', entity: { name: 'someone' } }
    const bucket = { id: 'r1', name: runInfo.id, displayName: runInfo.name, project, historyLineCount: 0 }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ data: { upsertBucket: { bucket, inserted: true } } }))
  })
  await new Promise<void>(resolve => void server.listen(0, '127.0.0.1', resolve))
  try {
    return await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, upload)
  } finally {
    server.closeAllConnections()
    server.close()
  }
}

function noteRun(
  upload: Upload,
  { query, variables }: { query: string; variables: Record<string, string | null> },
): void {
  if (!query.includes('UpsertBucket')) return
  if (typeof variables.config === 'string') upload.config = JSON.parse(variables.config)
  if (typeof variables.displayName === 'string') upload.displayName = variables.displayName
}

interface Stream {
  files?: Record<string, { offset: number; content: string[] }>
  exitcode?: number
  complete?: boolean
}

function noteStream(upload: Upload, { files = {}, exitcode, complete }: Stream): void {
  const history = files['wandb-history.jsonl']
  for (const [index, line] of (history?.content ?? []).entries()) {
    upload.history[history!.offset + index] = JSON.parse(line.replaceAll(':NaN', ':"NaN"'))
  }
  for (const line of files['wandb-summary.json']?.content ?? []) upload.summary = JSON.parse(line)
  if (complete) upload.exitCode = exitcode
}

function environment(address: string): NodeJS.ProcessEnv {
  return { ...process.env, WANDB_BASE_URL: address, WANDB_API_KEY: 'a'.repeat(40), WANDB_ERROR_REPORTING: 'false' }
}

describe.skipIf(python === undefined)('wandb sync reads (needs: node scripts/setup-python.mjs peers)', () => {
  it('every metric, the config, the summary and the end of a run', async () => {
    await inFolder(async folder => {
      await runThrough(wandbSink({ ...offline, folder }, unexpected), 2000)
      const [run] = readdirSync(folder)
      expect(run).toMatch(/^offline-run-\d{8}_\d{6}-abcd1234$/)
      await withServer(async (address, upload) => {
        await promisify(execFile)(wandbProgram(python!), ['sync', join(folder, run!)], {
          env: environment(address),
          cwd: folder,
        })
        expect(upload.displayName).toBe('demo')
        for (const [key, value] of Object.entries(runInfo.config)) expect(upload.config[key]?.value).toEqual(value)
        const expected = stepEvents(2000).map(({ step, time, values }) => ({
          ...values,
          ...(step === 5 ? { 'train/loss': 'NaN' } : {}),
          _step: step,
          _runtime: (time - START) / 1000,
          _timestamp: time / 1000,
        }))
        expect(upload.history).toEqual(expected)
        expect(upload.summary).toMatchObject(expected.at(-1)!)
        expect(upload.exitCode).toBe(0)
      })
    })
  })

  it('a resumed run as one run that continues after its checkpoint', async () => {
    await inFolder(async folder => {
      const log = async (events: RunEvent[]) => {
        const sink = wandbSink({ ...offline, folder }, unexpected)
        for (const event of events) sink.log(event)
        await sink.close()
      }
      const steps = stepEvents(900)
      const resume = (id: string, step: number): RunEvent[] => {
        const time = START + 3_600_000
        const run = { ...runInfo, id, startedAt: time }
        return [
          { kind: 'run-start', time, run },
          { kind: 'resume', time, step, path: `checkpoints/step-${step}` },
        ]
      }
      await log([{ kind: 'run-start', time: START, run: runInfo }, ...steps.slice(0, 430)])
      // Stopped after a second attempt, with the records of its end.
      await log([
        ...resume('second00', 300),
        ...steps.slice(300, 700),
        { kind: 'run-end', time: START, outcome: 'stopped' },
      ])
      await log([...resume('third000', 700), ...steps.slice(700), { kind: 'run-end', time: START, outcome: 'done' }])
      const [run, ...others] = readdirSync(folder)
      expect([run!.split('-').at(-1), others]).toEqual([runInfo.id, []])
      await withServer(async (address, upload) => {
        const path = join(folder, run!)
        await promisify(execFile)(wandbProgram(python!), ['sync', path], { env: environment(address), cwd: folder })
        expect(upload.history.map(row => row._step)).toEqual(steps.map(({ step }) => step))
        expect(upload.exitCode).toBe(0)
      })
    })
  })

  it('another run of the same folder as a run of its own', async () => {
    await inFolder(async folder => {
      await runThrough(wandbSink({ ...offline, folder }, unexpected), 3)
      const sink = wandbSink({ ...offline, folder }, unexpected)
      sink.log({ kind: 'run-start', time: START, run: { ...runInfo, id: 'second00', name: 'other' } })
      sink.log({ kind: 'resume', time: START, step: 2, path: 'checkpoints/step-2' })
      sink.log({ kind: 'run-end', time: START, outcome: 'done' })
      await sink.close()
      expect(readdirSync(folder)).toHaveLength(2)
    })
  })

  it('one row for a step with a training loss and a held-out loss', async () => {
    await inFolder(async folder => {
      const sink = wandbSink({ ...offline, folder, names: 'modalities' }, unexpected)
      sink.log({ kind: 'run-start', time: START, run: runInfo })
      sink.log({ kind: 'metrics', time: START, step: 10, durationMs: 1, values: { 'train/loss': 2 } })
      sink.log({ kind: 'metrics', time: START, step: 10, durationMs: 1, values: { 'held_out/loss': 3 } })
      sink.log({ kind: 'run-end', time: START, outcome: 'failed' })
      await sink.close()
      await withServer(async (address, upload) => {
        const path = join(folder, readdirSync(folder)[0]!)
        await promisify(execFile)(wandbProgram(python!), ['sync', path], { env: environment(address), cwd: folder })
        expect(upload.history).toHaveLength(1)
        expect(upload.history[0]).toMatchObject({ _step: 10, 'train train loss last': 2, 'val CLMCrossEntropyLoss': 3 })
        expect(upload.exitCode).toBe(1)
      })
    })
  })
})

describe('mode online', () => {
  const saved = { ...process.env }
  afterEach(() => {
    process.env = { ...saved }
  })

  /** Logs a run with a checkpoint in the middle; returns the failures that the sink reported. */
  async function onlineRun(
    folder: string,
    settings: NodeJS.ProcessEnv,
    seconds = 30,
    outcome: RunOutcome = 'done',
  ): Promise<string[]> {
    Object.assign(process.env, settings)
    const failures: string[] = []
    const options: WandbOptions = { ...offline, mode: 'online', folder, upload_seconds: seconds }
    const sink = await GuardedSink.open(
      'wandb',
      fail => wandbSink(options, fail),
      (_, error) => failures.push(error.message),
    )
    sink.log({ kind: 'run-start', time: START, run: runInfo })
    for (const event of stepEvents(50)) {
      sink.log(event)
      if (event.step === 25) {
        sink.log({ kind: 'checkpoint', time: event.time, step: 25, path: 'step-25', durationMs: 1 })
        await new Promise(resolve => setTimeout(resolve, 500))
      }
    }
    sink.log({ kind: 'run-end', time: START + 1000, outcome })
    await sink.close()
    return failures
  }

  it('without the program, writes a complete run folder and says how to upload it', async () => {
    await inFolder(async parent => {
      const folder = join(parent, 'wandb')
      const failures = await onlineRun(folder, { PENSTOCK_PYTHON: join(folder, 'nothing') })
      expect(failures).toHaveLength(1)
      expect(failures[0]).toContain(`wandb sync ${join(folder, readdirSync(folder)[0]!)}`)
    })
  })

  it.skipIf(python === undefined)(
    'does the same without a network',
    async () => {
      await inFolder(async folder => {
        const nowhere = { ...environment('http://127.0.0.1:9'), PENSTOCK_PYTHON: python }
        const failures = await onlineRun(folder, nowhere, 5)
        expect(failures).toHaveLength(1)
        expect(failures[0]).toContain('wandb sync')
      })
    },
    150_000,
  )

  it.skipIf(python === undefined)('uploads the run after a checkpoint and completely at the end', async () => {
    await inFolder(async parent => {
      const folder = join(parent, 'wandb')
      await withServer(async (address, upload) => {
        expect(await onlineRun(folder, { ...environment(address), PENSTOCK_PYTHON: python })).toEqual([])
        expect(upload.history.map(row => row._step)).toEqual(stepEvents(50).map(event => event.step))
        expect(upload.exitCode).toBe(0)
      })
    })
  })

  it.skipIf(python === undefined)('does not wait for the network when stopped', async () => {
    await inFolder(async parent => {
      const nowhere = { ...environment('http://127.0.0.1:9'), PENSTOCK_PYTHON: python }
      const started = performance.now()
      const [failure] = await onlineRun(join(parent, 'wandb'), nowhere, 30, 'stopped')
      expect(failure).toContain('run: wandb sync')
      expect(performance.now() - started).toBeLessThan(5000)
    })
  })

  it('masks the key if the program prints it', async () => {
    await inFolder(async parent => {
      const [program, folder] = [join(parent, 'python'), join(parent, 'wandb')]
      writeFileSync(program, '#!/bin/sh\necho "bad key $WANDB_API_KEY" >&2\nexit 1\n', { mode: 0o755 })
      const failures = await onlineRun(folder, { PENSTOCK_PYTHON: program, WANDB_API_KEY: 'canary-0123456789' })
      expect(failures[0]).toContain('bad key ***')
      expect(failures[0]).not.toContain('canary')
      const [run] = readdirSync(folder)
      expect(readFileSync(join(folder, run!, 'run-abcd1234.wandb'), 'latin1')).not.toContain('canary')
    })
  })
})
