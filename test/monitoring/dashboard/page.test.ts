/** The page in a real browser: PENSTOCK_CHROMIUM is its path, PENSTOCK_SCREENSHOTS a folder for screenshots. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { AxeBuilder } from '@axe-core/playwright'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Dashboard, serveDashboard } from '#src/monitoring/dashboard/dashboard-server'
import { dashboardSink } from '#src/monitoring/dashboard/dashboard-sink'
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
    yield { kind: 'metrics', time, step, durationMs: 20, values }
    if (step % Math.ceil(steps / 5) !== 0) continue
    yield { kind: 'metrics', time, step, durationMs: 20, values: { 'held_out/loss': values['train/loss'] + 0.1 } }
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

function pastRun(run: RunInfo, steps: number): RunHistory {
  const history = new RunHistory()
  for (const event of events(run, steps)) history.add(event)
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
    const runs = [pastRun(hostileRun, 300), pastRun({ ...runInfo, id: 'second00', name: 'second' }, 200)]
    dashboard = await serveDashboard({ port: 0, runs, live: false })
  })
  afterAll(async () => {
    await browser?.close()
    await dashboard?.close()
  })

  /** Opens the page and collects its errors. */
  async function open(address: string, options: BrowserContextOptions = {}): Promise<Page> {
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
    await page.waitForSelector('.chart canvas')
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
      expect(await page.locator('.chart').count()).toBe(6)
      for (let chart = 0; chart < 6; chart++) expect(await inked(page, chart)).toBeGreaterThan(50)
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
    await expect.poll(() => page.url()).toMatch(/#steps=\d+-\d+$/)
    const [from, to] = /steps=(\d+)-(\d+)/.exec(page.url())!.slice(1).map(Number)
    expect(from).toBeGreaterThan(70)
    expect(to).toBeLessThan(155)
    await page.getByRole('button', { name: 'Log axis' }).click()
    await page.getByLabel('Smoothing').fill('0.9')
    await page.getByLabel('Colours').selectOption('dark')
    await expect.poll(() => page.url()).toContain('smooth=0.9&log=1&theme=dark&steps=')
    await picture(page, 'zoomed')

    const again = await open(page.url())
    expect(await again.getByRole('button', { name: 'Log axis' }).getAttribute('aria-pressed')).toBe('true')
    expect(await again.getByLabel('Smoothing').inputValue()).toBe('0.9')
    expect(await again.evaluate(() => getComputedStyle(document.body).backgroundColor)).toBe('rgb(18, 22, 29)')
    await again.getByRole('button', { name: 'All steps' }).click()
    await expect.poll(() => again.url()).not.toContain('steps=')
    await again.goBack()
    await expect.poll(() => again.getByRole('button', { name: 'All steps' }).isEnabled()).toBe(true)
    expect(problems).toEqual([])
    await page.context().close()
    await again.context().close()
  })

  it('shows the values at the cursor in every chart', async () => {
    const page = await open(dashboard.address)
    const box = (await page.locator('.chart .u-over').first().boundingBox())!
    await page.mouse.move(box.x + box.width / 3, box.y + 80)
    const values = page.locator('.chart').nth(2).locator('.u-legend .u-value')
    await expect.poll(() => values.first().textContent()).toMatch(/^\d+$/)
    expect(await values.nth(1).textContent()).toMatch(/^1\.\d+$/)
    await page.context().close()
  })

  it('hides a run and stores that in the URL', async () => {
    const page = await open(dashboard.address)
    expect(await page.locator('.chart').first().locator('.u-series').count()).toBe(5)
    await page.getByRole('checkbox').nth(1).uncheck()
    await expect.poll(() => page.locator('.chart').first().locator('.u-series').count()).toBe(3)
    expect(page.url()).toContain('hide=second00')
    await page.context().close()
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
      const log = await openRunLog(folder)
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
      await expect.poll(() => page.locator('.slowest').textContent()).toContain('feed-trainer')
      await expect.poll(() => inked(page, 0), { timeout: 5000 }).toBeGreaterThan(before * 1.2)
      await picture(page, 'live')
      // No step is lost between the initial response and the live events.
      const label = () => page.locator('.chart .plot').first().getAttribute('aria-label')
      await expect.poll(label).toContain(`train/loss: ${steps} points`)
      sink.log({ kind: 'run-end', time: START + 10_000, outcome: 'done' })
      await sink.close()
      await expect.poll(() => page.locator('#status').textContent()).toContain('done')
      expect(await page.locator('.chart').count()).toBe(6)
      expect(problems).toEqual([])
      await page.context().close()
    })
  })
})
