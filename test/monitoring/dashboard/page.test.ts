/** The page in a real browser: PENSTOCK_CHROMIUM is its path, PENSTOCK_SCREENSHOTS a folder for screenshots. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Dashboard, serveDashboard } from '#src/monitoring/dashboard/dashboard-server'
import { dashboardSink } from '#src/monitoring/dashboard/dashboard-sink'
import type { PlanProgress } from '#src/monitoring/dashboard/plan-progress'
import { RunHistory } from '#src/monitoring/dashboard/run-history'
import { openRunLog } from '#src/monitoring/dashboard/run-log'
import type { RunEvent, RunInfo } from '#src/monitoring/run-event'
import { jsonlSink } from '#src/monitoring/sinks/jsonl-log'
import type { MetricSink } from '#src/monitoring/sinks/sink'
import { inFolder, runInfo, START, stageStats, unexpected } from '../fixtures.js'

const executablePath = [
  process.env.PENSTOCK_CHROMIUM ?? '',
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
].find(path => path !== '' && existsSync(path))

const HOSTILE = '<img src=x onerror="window.harmed = true">'

/** A run with everything that the page can show, and with names that contain markup. */
function* events(run: RunInfo, steps: number): Generator<RunEvent> {
  yield { kind: 'run-start', time: run.startedAt, run }
  for (let step = 1; step <= steps; step++) {
    const time = run.startedAt + 20 * step
    const values = {
      'train/loss': 6 / (1 + step / 50) + 0.3 * Math.sin(step * 7),
      'train/learning_rate': 1e-3 * (1 - step / (steps + 1)),
      'train/gradient_norm': 1 + Math.abs(Math.sin(step)),
      'train/tokens_per_second': 5000 + 100 * Math.cos(step),
      'train/step_ms': 20,
      'train/consumed_tokens': 1024 * step,
      'train/memory_mb': 300,
    }
    yield { kind: 'metrics', time, step, durationMs: 20, totalSteps: steps, values }
    if (step % Math.ceil(steps / 5) !== 0) continue
    const heldOut = values['train/loss'] + 0.1
    const evaluation = { 'held_out/loss': heldOut, 'held_out/perplexity': Math.exp(heldOut) }
    yield { kind: 'metrics', time, step, durationMs: 20, values: evaluation }
    yield { kind: 'checkpoint', time, step, path: `runs/${HOSTILE}`, durationMs: 5 }
    yield { kind: 'sample', time, step, text: `Once upon a time ${HOSTILE}` }
  }
}

const progress = (time: number, recordsIn: number): RunEvent => ({
  kind: 'progress',
  time,
  snapshot: {
    pipeline: 'train',
    elapsedMs: time - START,
    stages: [
      {
        name: 'shuffle-samples',
        stats: stageStats({
          recordsOut: recordsIn + 8,
          itemsOut: recordsIn,
          waitedForOutputMs: 0.95 * (time - START),
          state: 'waiting for output',
        }),
      },
      {
        name: 'feed-trainer',
        stats: stageStats({ recordsIn, itemsIn: recordsIn, waitedForInputMs: 0.02 * (time - START) }),
      },
    ],
  },
})

const hostileRun: RunInfo = {
  ...runInfo,
  name: `first ${HOSTILE}`,
  pipelines: runInfo.pipelines.map(graph => ({
    ...graph,
    nodes: graph.nodes.map(node => ({ ...node, detail: HOSTILE })),
  })),
}

/** A run of two pipelines without a training; the first has ended. */
function packingRun(): RunHistory {
  const stage = (name: string, id: number) => ({ id, name, detail: '', layer: id, row: 0 })
  const graph = (name: string, stages: string[]) => ({
    name,
    nodes: stages.map(stage),
    edges: [{ from: 0, to: 1, items: 'documents' }],
  })
  const pipelines = [
    graph('tokenizer', ['read-corpus', 'train-tokenizer']),
    graph('pack', ['read-corpus', 'write-pbin']),
  ]
  const history = new RunHistory()
  const run: RunInfo = { id: 'packing0', name: 'packing', startedAt: START, config: {}, pipelines }
  history.add({ kind: 'run-start', time: START, run })
  for (let second = 1; second <= 60; second++) {
    const [pipeline, seconds] = second <= 20 ? ['tokenizer', second] : ['pack', second - 20]
    const records = 10_000 * seconds
    const moved = { recordsOut: records, itemsOut: seconds, bytesOut: 1e6 * seconds }
    const stages = [
      { name: 'read-corpus', stats: stageStats({ ...moved, waitedForOutputMs: 950 * seconds }) },
      {
        name: pipeline === 'pack' ? 'write-pbin' : 'train-tokenizer',
        stats: stageStats({ recordsIn: records, itemsIn: seconds }),
      },
    ]
    const time = START + 1000 * second
    history.add({ kind: 'progress', time, snapshot: { pipeline: pipeline!, elapsedMs: 1000 * seconds, stages } })
    const values = { [`${pipeline}/records_per_second`]: 10_000 + second, [`${pipeline}/megabytes_per_second`]: 1.5 }
    history.add({ kind: 'metrics', time, step: second, durationMs: 1000, values })
  }
  return history
}

const withSteps = (run: RunInfo, steps: number): RunInfo => ({
  ...run,
  config: { ...run.config, 'feed-trainer': { ...(run.config['feed-trainer'] as object), steps } },
})
const second: RunInfo = { ...runInfo, id: 'second00', name: 'second' }

function pastRun(run: RunInfo, steps: number): RunHistory {
  const history = new RunHistory()
  for (const event of events(withSteps(run, steps), steps)) history.add(event)
  history.add(progress(START + 20 * steps, 8 * steps))
  history.add({ kind: 'run-end', time: START + 20 * steps, outcome: 'done' })
  return history
}

describe.skipIf(executablePath === undefined)('the page (needs Chromium, as from: apt-get install chromium)', () => {
  let browser: Browser
  let dashboard: Dashboard
  const problems: string[] = []

  beforeAll(async () => {
    browser = await chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox'] })
    const runs = [pastRun(hostileRun, 300), pastRun(second, 200)]
    dashboard = await serveDashboard({ port: 0, runs, live: false })
  })
  afterAll(async () => {
    await browser?.close()
    await dashboard?.close()
  })

  /** Opens the page and collects its errors. */
  async function open(address: string, options: BrowserContextOptions = {}, ready = '.chart canvas'): Promise<Page> {
    problems.length = 0
    const page = await (await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options })).newPage()
    page.on('console', message => {
      // This warning is caused by the way in which this test reads the charts.
      if (!message.text().includes('willReadFrequently')) problems.push(`${message.type()}: ${message.text()}`)
    })
    page.on('pageerror', error => problems.push(String(error)))
    page.on('request', sent => {
      if (!sent.url().startsWith(new URL('/', address).href)) problems.push(`outside: ${sent.url()}`)
    })
    await page.goto(address)
    await page.waitForSelector(ready)
    return page
  }

  async function picture(page: Page, name: string): Promise<void> {
    const folder = process.env.PENSTOCK_SCREENSHOTS
    if (folder !== undefined) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
  }

  async function seriousViolations(page: Page): Promise<string[]> {
    const { violations } = await new AxeBuilder({ page }).analyze()
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html).join(' ')}`)
  }

  /** Number of pixels drawn in a chart; 0 if it is empty. */
  const inked = (page: Page, chart: number): Promise<number> =>
    page
      .locator('.chart canvas')
      .nth(chart)
      .evaluate((canvas: HTMLCanvasElement) => {
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height)
        let count = 0
        for (let pixel = 0; pixel < data.length; pixel += 4) {
          const [red, green, blue] = [data[pixel]!, data[pixel + 1]!, data[pixel + 2]!]
          if (data[pixel + 3]! > 100 && Math.max(red, green, blue) - Math.min(red, green, blue) > 60) count++
        }
        return count
      })

  it.each([
    ['wide, light', { width: 1280, height: 900 }, 'light'],
    ['wide, dark', { width: 1280, height: 900 }, 'dark'],
    ['a phone, light', { width: 390, height: 844 }, 'light'],
    ['a phone, dark', { width: 390, height: 844 }, 'dark'],
  ] as const)(
    '%s: loads without errors or external requests, escapes markup, and is accessible',
    async (name, viewport, colorScheme) => {
      const page = await open(dashboard.address, { viewport, colorScheme })
      await picture(page, name.replaceAll(/[ ,]+/g, '-'))
      expect(await page.locator('.chart').count()).toBe(7)
      for (let chart = 0; chart < 7; chart++) expect(await inked(page, chart)).toBeGreaterThan(50)
      expect(await page.evaluate(() => 'harmed' in window)).toBe(false)
      expect(await page.getByText(`Once upon a time ${HOSTILE}`).count()).toBe(5 * 2)
      // The page itself must not scroll horizontally.
      expect(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth)).toBe(true)
      expect(await seriousViolations(page)).toEqual([])
      expect(problems).toEqual([])
      await page.context().close()
    },
  )

  it('zooms by dragging, supports Back, and restores the view from its URL', async () => {
    const page = await open(dashboard.address)
    const plot = page.locator('.chart .u-over').first()
    const box = (await plot.boundingBox())!
    await page.mouse.move(box.x + box.width * 0.25, box.y + 50)
    await page.mouse.down()
    await page.mouse.move(box.x + box.width * 0.5, box.y + 60, { steps: 4 })
    await page.mouse.up()
    await expect.poll(() => page.url()).toMatch(/#zoom=\d+-\d+$/)
    const [from, to] = /zoom=(\d+)-(\d+)/.exec(page.url())!.slice(1).map(Number)
    expect(from).toBeGreaterThan(70)
    expect(to).toBeLessThan(155)
    await page.getByRole('button', { name: 'Log axis' }).click()
    await page.getByLabel('Smoothing').fill('0.9')
    await page.getByLabel('Colours').selectOption('dark')
    await expect.poll(() => page.url()).toContain('smooth=0.9&log=1&theme=dark&zoom=')
    await picture(page, 'zoomed')

    const again = await open(page.url())
    expect(await again.getByRole('button', { name: 'Log axis' }).getAttribute('aria-pressed')).toBe('true')
    expect(await again.getByLabel('Smoothing').inputValue()).toBe('0.9')
    expect(await again.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(18, 22, 29)')
    await again.getByRole('button', { name: 'Zoom out' }).click()
    await expect.poll(() => again.url()).not.toContain('zoom=')
    await again.goBack()
    await expect.poll(() => again.getByRole('button', { name: 'Zoom out' }).isEnabled()).toBe(true)
    expect(problems).toEqual([])
    await page.context().close()
    await again.context().close()
  })

  it('shows the latest values without hovering, and those at the cursor in every chart', async () => {
    const page = await open(dashboard.address)
    const values = page.locator('.chart').nth(3).locator('.legend .value')
    expect(await values.allTextContents()).toEqual(['2.000', '1.873'])
    const box = (await page.locator('.chart .u-over').first().boundingBox())!
    await page.mouse.move(box.x + box.width / 3, box.y + 80)
    await expect.poll(() => page.locator('.chart .position').nth(3).textContent()).toMatch(/^step \d+$/)
    expect(await values.nth(0).textContent()).not.toBe('2.000')
    await page.mouse.move(box.x + box.width / 3, box.y - 60)
    await expect.poll(() => values.nth(0).textContent()).toBe('2.000')
    await page.context().close()
  })

  it('distinguishes held-out loss by dashes in line and legend', async () => {
    const page = await open(dashboard.address)
    const legend = page.locator('.chart').first().locator('.legend li')
    expect(await legend.locator('.label').allTextContents()).toEqual([
      `${hostileRun.name} · train`,
      `${hostileRun.name} · held-out`,
      'second · train',
      'second · held-out',
    ])
    const dashes = await legend
      .locator('path')
      .evaluateAll(paths => paths.map(path => path.hasAttribute('stroke-dasharray')))
    expect(dashes).toEqual([false, true, false, true])
    await page.context().close()
  })

  it('hides a run and stores that in the URL', async () => {
    const page = await open(dashboard.address)
    const legend = page.locator('.chart').first().locator('.legend li')
    expect(await legend.count()).toBe(4)
    await page.getByRole('checkbox').nth(1).uncheck()
    await expect.poll(() => legend.count()).toBe(2)
    expect(page.url()).toContain('hide=second00')
    await page.context().close()
  })

  it('draws the charts over tokens or time', async () => {
    const page = await open(dashboard.address)
    const label = () => page.locator('.chart .plot').first().getAttribute('aria-label')
    expect(await label()).toContain('Loss over steps')
    await page.getByLabel('Horizontal axis').selectOption('tokens')
    await expect.poll(label).toContain('Loss over tokens')
    const box = (await page.locator('.chart .u-over').first().boundingBox())!
    await page.mouse.move(box.x + box.width - 2, box.y + 80)
    // 300 steps of 1,024 tokens in the longer run.
    await expect.poll(() => page.locator('.chart .position').first().textContent()).toMatch(/^30\d(\.\d+)?k$/)
    await page.getByLabel('Horizontal axis').selectOption('time')
    await expect.poll(label).toContain('Loss over time')
    await page.mouse.move(box.x + box.width - 3, box.y + 80)
    await expect.poll(() => page.locator('.chart .position').first().textContent()).toBe('0:06')
    await page.context().close()
  })

  it('sorts the runs by each column', async () => {
    const page = await open(dashboard.address)
    const names = () => page.locator('#runs .name').allTextContents()
    for (const column of [
      'Run',
      'State',
      'Step',
      'Loss',
      'Held-out loss',
      'Perplexity',
      'Tokens',
      'Tokens/s',
      'Time',
    ]) {
      expect(await page.getByRole('button', { name: column, exact: true }).count(), column).toBe(1)
    }
    expect(await names()).toEqual([hostileRun.name, 'second'])
    await page.getByRole('button', { name: 'Step', exact: true }).click()
    await expect.poll(names).toEqual(['second', hostileRun.name])
    await page.getByRole('button', { name: 'Step ↑' }).click()
    await expect.poll(names).toEqual([hostileRun.name, 'second'])
    expect(page.url()).toContain('sort=-step')
    expect(await page.locator('#runs th[aria-sort="descending"]').textContent()).toBe('Step ↓')
    await page.context().close()
  })

  it('shows the options that differ, and filters texts and events', async () => {
    const page = await open(dashboard.address)
    expect(await page.locator('#config tbody th').allTextContents()).toEqual(['feed-trainer.steps'])
    expect(await page.locator('#config tbody td').allTextContents()).toEqual(['300', '200'])
    await page.getByLabel('Filter texts and events').fill('Once UPON')
    await expect.poll(() => page.locator('#notes li').allTextContents()).toEqual(['none matches the filter'])
    await page.getByLabel('Run of the texts and events').selectOption('second')
    await expect.poll(() => page.locator('#samples li').count()).toBe(5)
    expect(await page.locator('#samples .when').first().textContent()).toContain('step 200')
    await page.context().close()
  })

  it('shows the loss of a single run on the first screen of a phone, and its ended pipelines as one line each', async () => {
    const single = await serveDashboard({ port: 0, runs: [pastRun(runInfo, 80)], live: false })
    const page = await open(single.address, { viewport: { width: 390, height: 844 } })
    const box = (await page.locator('.chart').first().boundingBox())!
    expect(box.y + box.height).toBeLessThan(844)
    expect(await page.locator('.tile').filter({ hasText: 'Step' }).locator('dd').textContent()).toBe('80 of 80')
    expect(await page.locator('.pipeline[open]').count()).toBe(0)
    expect(await page.locator('.pipeline .state').textContent()).toBe('done')
    expect(await seriousViolations(page)).toEqual([])
    await page.locator('.pipeline summary').click()
    await page.locator('.pipeline svg').waitFor()
    await page.context().close()
    await single.close()
  })

  it('names the metrics of packing, and shows the pipelines of the run', async () => {
    const packing = await serveDashboard({ port: 0, runs: [packingRun()], live: false })
    const page = await open(packing.address)
    await picture(page, 'packing')
    expect(await page.locator('.chart figcaption span:first-child').allTextContents()).toEqual([
      'Records per second',
      'Throughput (MB/s)',
    ])
    expect(await page.locator('.chart .legend').first().textContent()).toBe('tokenizer10,020pack10,060')
    expect(await page.locator('.pipeline .state').first().textContent()).toBe('done')
    expect(await page.locator('.pipeline[open] .slowest').textContent()).toContain('write-pbin')
    expect(await seriousViolations(page)).toEqual([])
    await page.context().close()
    await packing.close()
  })

  it('shows the shards of a plan on a phone, and names the faulty ones', async () => {
    const counts = { done: 7, running: 1, waiting: 2, failed: 1, lost: 1, retry: 0 }
    const error = {
      host: 'node-7',
      message: `${HOSTILE} corpus/part-00003.jsonl, line 12: unexpected end [JSON_INVALID]`,
    }
    const plan: PlanProgress = {
      name: '/shared/corpus.pbin.shards',
      shards: 12,
      counts,
      bytes: 12e9,
      doneBytes: 7.5e9,
      documents: 1_234_567,
      tokens: 2.5e9,
      records: 0,
      rejected: 0,
      leftMs: 754_000,
      active: [
        { shard: 3, state: 'failed', error },
        { shard: 4, state: 'lost', process: 'process 12 on node-8' },
        { shard: 5, state: 'running' },
      ],
    }
    const served = await serveDashboard({ port: 0, runs: [], plans: [plan], live: false })
    const page = await open(served.address, { viewport: { width: 390, height: 844 } }, '.plan')
    await picture(page, 'shards')
    const text = await page.locator('main').textContent()
    for (const shown of [
      '7 of 12',
      '7.5 GB of 12.0 GB',
      '1,234,567',
      '12:34',
      'Shard 3 failed',
      'part-00003',
      'Shard 4 lost',
    ]) {
      expect(text).toContain(shown)
    }
    expect(await page.locator('#no-metrics').isVisible()).toBe(false)
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(390)
    expect(await seriousViolations(page)).toEqual([])
    expect(problems).toEqual([])
    await served.close()
  })

  it('says that a run has no metrics yet', async () => {
    const history = new RunHistory()
    history.add({ kind: 'run-start', time: START, run: runInfo })
    const empty = await serveDashboard({ port: 0, runs: [history], live: false })
    const page = await open(empty.address, {}, '#no-metrics')
    expect(await page.locator('#no-metrics').isVisible()).toBe(true)
    expect(await page.locator('.pipeline .state').textContent()).toBe('waiting')
    expect(await seriousViolations(page)).toEqual([])
    expect(problems).toEqual([])
    await page.context().close()
    await empty.close()
  })

  it('opens 100,000 steps within two seconds', async () => {
    await inFolder(async folder => {
      const sink = jsonlSink(join(folder, 'log.jsonl'), unexpected)
      let written = 0
      for (const event of events(runInfo, 100_000)) {
        sink.log(event)
        if (++written % 5000 === 0) await new Promise(resolve => setImmediate(resolve))
      }
      await sink.close()
      const started = performance.now()
      const used = process.cpuUsage()
      const log = await openRunLog(join(folder, 'log.jsonl'))
      const { user, system } = process.cpuUsage(used)
      // Reference for the load of the machine: scales the limit on a busy machine.
      const crowding = Math.max(1, (performance.now() - started) / ((user + system) / 1000))
      const long = await serveDashboard({ port: 0, runs: [log.history], live: false })
      const page = await open(long.address)
      const ms = performance.now() - started
      expect(await inked(page, 0)).toBeGreaterThan(50)
      await page.context().close()
      await long.close()
      await log.close()
      expect(ms / crowding).toBeLessThan(2000)
    })
  })

  describe('of a live run', () => {
    let sink: MetricSink
    let address = ''
    beforeAll(async () => {
      sink = await dashboardSink(0, found => {
        address = found
      })
    })
    afterAll(() => sink.close())

    it('updates its charts, marks the bottleneck, and stays open after the end of the run', async () => {
      const run = events(hostileRun, 200)
      let steps = 0
      const next = (count: number): void => {
        for (let given = 0; given < count; given++) {
          const event = run.next().value
          if (!event) return
          sink.log(event)
          if (event.kind === 'metrics' && 'train/loss' in event.values) steps++
        }
      }
      next(20)
      // However long the page takes to open, most of the run has yet to happen.
      let waiting = 60
      const early = setInterval(() => waiting-- > 0 && next(1), 5)
      const page = await open(address)
      clearInterval(early)
      const before = await inked(page, 0)
      for (let tick = 1; tick <= 10; tick++) {
        next(10)
        sink.log(progress(START + 600 * tick, 60 * tick))
        await page.waitForTimeout(60)
      }
      await expect.poll(() => page.locator('.pipeline .facts').textContent()).toContain('bottleneck: feed-trainer')
      expect(await page.locator('.tile').filter({ hasText: 'Step' }).locator('dd').textContent()).toMatch(
        /^\d+ of 200$/,
      )
      await page.locator('.pipeline summary').click()
      await expect.poll(() => page.locator('.slowest').textContent()).toContain('feed-trainer')
      await expect.poll(() => inked(page, 0), { timeout: 5000 }).toBeGreaterThan(before * 1.2)
      await picture(page, 'live')
      // No step is lost between the initial response and the live events.
      const label = () => page.locator('.chart .plot').first().getAttribute('aria-label')
      await expect.poll(label).toContain(`train/loss: ${steps} points`)
      sink.log({ kind: 'run-end', time: START + 10_000, outcome: 'done' })
      await sink.close()
      await expect.poll(() => page.locator('#status').textContent()).toContain('done')
      expect(await page.locator('.chart').count()).toBe(7)
      expect(problems).toEqual([])
      await page.context().close()
    })
  })
})
