import { request } from 'node:http'
import { connect } from 'node:net'
import parsePrometheus from 'parse-prometheus-text-format'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Dashboard, serveDashboard } from '#src/monitoring/dashboard/dashboard-server'
import { dashboardSink } from '#src/monitoring/dashboard/dashboard-sink'
import { downsample } from '#src/monitoring/dashboard/downsample'
import { RunHistory } from '#src/monitoring/dashboard/run-history'
import { PrometheusState } from '#src/monitoring/sinks/prometheus'
import { runInfo, START, stageStats, stepEvents } from '../fixtures.js'

interface Answer {
  readonly status: number
  readonly headers: Record<string, string | string[] | undefined>
  readonly body: string
}

function get(address: string, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const { hostname, port } = new URL(address)
    const sent = request({ hostname, port, path, headers, method }, async response => {
      let body = ''
      for await (const chunk of response.setEncoding('utf8')) body += chunk
      resolve({ status: response.statusCode!, headers: response.headers, body })
    })
    sent.on('error', reject).end()
  })
}

function history(steps: number): RunHistory {
  const run = new RunHistory()
  run.add({ kind: 'run-start', time: START, run: runInfo })
  for (const event of stepEvents(steps)) run.add(event)
  return run
}

describe('the dashboard server', () => {
  let dashboard: Dashboard
  beforeEach(async () => {
    dashboard = await serveDashboard({ port: 0, runs: [history(1000)], live: false })
  })
  afterEach(() => dashboard.close())

  it.each([
    ['a foreign host name', { host: 'evil.example' }, 403],
    ['a foreign host name that starts with localhost', { host: 'localhost.evil.example:80' }, 403],
    ['a foreign origin', { origin: 'https://evil.example' }, 403],
    ['an opaque origin', { origin: 'null' }, 403],
    ['another port of this machine', { origin: 'http://127.0.0.1:1' }, 403],
    ['a cross-site request', { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }, 403],
    ['another name for this machine', { host: 'localhost:9000' }, 200],
    ['the page itself', { 'sec-fetch-site': 'same-origin' }, 200],
  ])('allows only local requests: %s', async (_, headers, status) => {
    for (const path of ['/', '/api/runs', '/metrics', '/page/app.js']) {
      expect((await get(dashboard.address, path, headers as Record<string, string>)).status).toBe(status)
    }
  })

  it('allows links to the page but not to its data', async () => {
    const link = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' }
    expect((await get(dashboard.address, '/', link)).status).toBe(200)
    expect((await get(dashboard.address, '/api/runs', link)).status).toBe(403)
  })

  it('is read-only and serves no other files', async () => {
    expect((await get(dashboard.address, '/', {}, 'POST')).status).toBe(405)
    for (const path of ['/../package.json', '/page/../../package.json', '/page/%2e%2e/options.js', '//evil.example']) {
      expect((await get(dashboard.address, path)).status).toBe(404)
    }
  })

  it('allows only its own scripts', async () => {
    const { headers, body } = await get(dashboard.address, '/')
    const policy = String(headers['content-security-policy'])
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    expect(body).not.toMatch(/<script(?![^>]*src=)|\son\w+=|style=/)
  })

  it('listens on the loopback interface only', async () => {
    const { port } = new URL(dashboard.address)
    const outside = Object.values((await import('node:os')).networkInterfaces())
      .flat()
      .find(entry => entry?.family === 'IPv4' && !entry.internal)
    if (outside === undefined) return
    const refused = await new Promise(resolve => {
      connect(Number(port), outside.address, () => resolve(false)).on('error', () => resolve(true))
    })
    expect(refused).toBe(true)
  })

  it('drops an incomplete request', async () => {
    const { hostname, port } = new URL(dashboard.address)
    const socket = connect(Number(port), hostname)
    socket.write('GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ')
    const started = performance.now()
    await new Promise<void>(resolve => void socket.on('close', () => resolve()).resume())
    expect(performance.now() - started).toBeLessThan(8000)
  })

  it('reports a port in use', async () => {
    const port = Number(new URL(dashboard.address).port)
    const failure = await serveDashboard({ port, runs: [], live: false }).catch(error => error)
    expect(failure.code).toBe('ARGUMENT_INVALID')
  })

  it('downsamples series and keeps minima and maxima', async () => {
    const { body } = await get(
      dashboard.address,
      '/api/series?run=abcd1234&metric=train/loss&points=100&from=1&to=1000',
    )
    const { steps, values } = JSON.parse(body) as { steps: number[]; values: number[] }
    expect(steps.length).toBeLessThanOrEqual(100)
    expect(Math.max(...values)).toBe(5)
    expect(Math.min(...values)).toBe(5 / 1000)
  })
})

describe('downsampled points', () => {
  it('are in order and keep every spike', () => {
    const count = 100_000
    const steps = Float64Array.from({ length: count }, (_, index) => index)
    const values = new Float64Array(count).fill(1)
    values[31_415] = 9
    values[27_182] = -9
    values[500] = Number.NaN
    const points = downsample({ steps, values }, 0, count, 1000)
    expect(points.steps.length).toBeLessThanOrEqual(1000)
    expect(points.steps).toEqual(points.steps.toSorted((a, b) => a - b))
    expect(points.values).toContain(9)
    expect(points.values).toContain(-9)
  })

  it('bound the memory of a long run', () => {
    const run = new RunHistory()
    for (let step = 1; step <= 1_000_000; step++) {
      run.add({ kind: 'metrics', time: step, step, durationMs: 1, values: { loss: step === 777_777 ? 1e9 : 1 } })
    }
    const { steps, values } = run.series('loss', { from: 0, to: 1e9, limit: 1e9 })
    expect(steps.length).toBeLessThanOrEqual(1 << 18)
    expect(steps.at(-1)).toBe(1_000_000)
    expect(values.filter(value => value === 1e9)).toHaveLength(1)
  })

  it('are replaced after a run resumed from an earlier step', () => {
    const run = history(100)
    run.add({ kind: 'metrics', time: START, step: 51, durationMs: 1, values: { 'train/loss': 77 } })
    const { steps, values } = run.series('train/loss', { from: 0, to: 1000, limit: 1000 })
    expect([steps.length, values.at(-1)]).toEqual([51, 77])
  })

  it('are dropped for every metric when a run resumes', () => {
    const run = history(100)
    run.add({ kind: 'metrics', time: START, step: 90, durationMs: 1, values: { 'held_out/loss': 3 } })
    run.add({ kind: 'resume', time: START, step: 50, path: 'checkpoints/step-50' })
    expect(run.series('train/loss', { from: 0, to: 1000, limit: 1000 }).steps).toHaveLength(50)
    expect(run.series('held_out/loss', { from: 0, to: 1000, limit: 1000 }).steps).toEqual([])
    expect(run.summary()!.latest).not.toHaveProperty('held_out/loss')
    expect(run.summary()!.notes.at(-1)!.text).toBe('resumed after step 50 from checkpoints/step-50')
  })
})

describe('the history of a run', () => {
  const snapshot = (pipeline: string, elapsedMs: number, state: 'working' | 'waiting for input' | 'ended') => ({
    pipeline,
    elapsedMs,
    stages: [{ name: 'read-file', stats: stageStats({ state }) }],
  })
  const outcomes = (run: RunHistory) =>
    Object.entries(run.summary()!.pipelines).map(([name, { outcome, snapshot }]) => [name, outcome, snapshot.elapsedMs])

  it('has the final state of each pipeline, even if its last counts were not logged', () => {
    const run = history(1)
    run.add({ kind: 'progress', time: START + 1000, snapshot: snapshot('tokenizer', 1000, 'waiting for input') })
    expect(outcomes(run)).toEqual([['tokenizer', 'running', 1000]])
    run.add({ kind: 'progress', time: START + 2000, snapshot: snapshot('pack', 1000, 'working') })
    run.add({ kind: 'run-end', time: START + 3000, outcome: 'failed', message: 'out of disk space' })
    expect(outcomes(run)).toEqual([
      ['tokenizer', 'done', 1000],
      ['pack', 'failed', 1000],
    ])
    expect(run.summary()!.notes.at(-1)!.text).toBe('failed: out of disk space')
  })

  it('shows the last attempt of each pipeline', () => {
    const run = history(1)
    run.add({ kind: 'progress', time: START + 1000, snapshot: snapshot('tokenizer', 1000, 'ended') })
    run.add({ kind: 'progress', time: START + 2000, snapshot: snapshot('pack', 900, 'working') })
    // Killed, and started again an hour later.
    run.add({ kind: 'run-start', time: START + 3_600_000, run: { ...runInfo, id: 'other' } })
    expect(outcomes(run)[1]).toEqual(['pack', 'stopped', 900])
    run.add({ kind: 'progress', time: START + 3_600_500, snapshot: snapshot('pack', 500, 'ended') })
    expect(outcomes(run)).toEqual([
      ['tokenizer', 'done', 1000],
      ['pack', 'done', 500],
    ])
    expect(run.summary()).toMatchObject({ info: { id: runInfo.id }, elapsedMs: 2500 })
  })

  it('positions the points of every metric on the axes of steps, tokens and time', () => {
    const run = history(0)
    for (let step = 10; step <= 40; step += 10) {
      const time = START + 500 * step
      const values = { 'train/loss': 5, 'train/consumed_tokens': 64 * step }
      run.add({ kind: 'metrics', time, step, durationMs: 1, values })
    }
    run.add({ kind: 'metrics', time: START + 12_500, step: 25, durationMs: 1, values: { 'held_out/loss': 5 } })
    run.add({ kind: 'metrics', time: START + 15_000, step: 30, durationMs: 1, values: { 'train/loss': 4 } })
    const all = { from: Number.NEGATIVE_INFINITY, to: Number.POSITIVE_INFINITY, limit: 100 }
    expect(run.series('held_out/loss', { ...all, axis: 'tokens' }).xs).toEqual([1600])
    expect(run.series('held_out/loss', { ...all, axis: 'time' }).xs).toEqual([12.5])
    expect(run.series('train/loss', { ...all, axis: 'time' }).xs).toEqual([5, 10, 15])
    // One more point on each side of the range.
    expect(run.series('train/loss', { axis: 'tokens', from: 0, to: 600, limit: 100 }).steps).toEqual([10, 20])
    expect(run.series('train/loss', { ...all }).xs).toEqual([10, 20, 30])
  })
})

describe('a slow page', () => {
  it('has a bounded buffer and is told to resync', async () => {
    const dashboard = await serveDashboard({ port: 0, runs: [history(1)], live: true, metrics: new PrometheusState() })
    const { hostname, port, host } = new URL(dashboard.address)
    const socket = connect(Number(port), hostname)
    socket.write(`GET /api/live HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
    await new Promise<void>(resolve => void socket.once('data', () => resolve()))
    socket.pause()
    const before = process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed
    const text = 'x'.repeat(10_000)
    for (let event = 0; event < 5000; event++) {
      dashboard.feed.send('metrics', { text })
      if (event % 100 === 0) await new Promise(resolve => setImmediate(resolve))
    }
    expect(process.memoryUsage().arrayBuffers + process.memoryUsage().heapUsed - before).toBeLessThan(30e6)
    let received = ''
    socket.on('data', chunk => {
      received = (received + chunk).slice(-5000)
    })
    socket.resume()
    await expect.poll(() => received, { timeout: 5000 }).toContain('event: resync')
    socket.destroy()
    await dashboard.close()
  })
})

describe('400 open pages', () => {
  it('do not lock out the page, its data, /metrics or the newest pages', async () => {
    const dashboard = await serveDashboard({ port: 0, runs: [history(1)], live: true, metrics: new PrometheusState() })
    const { hostname, port, host } = new URL(dashboard.address)
    const open = async () => {
      const socket = connect(Number(port), hostname)
      const page = { socket, received: '' }
      socket.on('error', () => {})
      socket.on('data', chunk => {
        page.received += chunk
      })
      socket.write(`GET /api/live HTTP/1.1\r\nHost: ${host}\r\n\r\n`)
      await new Promise<void>(resolve => {
        socket.once('data', () => resolve())
        socket.once('close', () => resolve())
      })
      return page
    }
    const pages: Awaited<ReturnType<typeof open>>[] = []
    for (let batch = 0; batch < 400; batch += 20) pages.push(...(await Promise.all(Array.from({ length: 20 }, open))))
    for (const path of ['/', '/api/runs', '/metrics']) {
      expect((await get(dashboard.address, path, { connection: 'close' })).status).toBe(200)
    }
    dashboard.feed.send('metrics', { step: 7 })
    await expect.poll(() => pages.at(-1)!.received).toContain('"step":7')
    expect(pages[0]!.received).toContain('event: evicted')
    for (const { socket } of pages) socket.destroy()
    await dashboard.close()
  })
})

describe('/metrics', () => {
  it('is valid Prometheus text with the values of the run', async () => {
    let address = ''
    const sink = await dashboardSink(0, found => {
      address = found
    })
    sink.log({ kind: 'run-start', time: START, run: { ...runInfo, name: 'a "quoted" \\ name' } })
    for (const event of stepEvents(3)) sink.log(event)
    const stages = [{ name: 'read-file', stats: stageStats({ recordsIn: 12, waitedForInputMs: 1500 }) }]
    sink.log({ kind: 'progress', time: START, snapshot: { pipeline: 'train', elapsedMs: 1, stages } })
    const { body, headers } = await get(address, '/metrics')
    await sink.close()
    expect(headers['content-type']).toContain('version=0.0.4')
    const families = new Map(parsePrometheus(body).map(family => [family.name, family]))
    expect(families.get('penstock_train_loss')).toMatchObject({ type: 'GAUGE', metrics: [{ value: String(5 / 3) }] })
    expect(families.get('penstock_stage_records_in_total')!.metrics[0]).toMatchObject({
      value: '12',
      labels: { run: 'a "quoted" \\ name', stage: 'read-file', pipeline: 'train' },
    })
    expect(families.get('penstock_stage_waited_seconds_total')!.metrics).toHaveLength(2)
  })
})
