/** Main module of the page: loads the runs, draws them, and follows the live run. */
import type { PipelineState, RunSummary, TextEntry } from '../run-history.js'
import { Chart, type ChartRun, COLOURS, kindsOf } from './charts.js'
import { controls } from './controls.js'
import { byId, element } from './dom.js'
import { duration } from './numbers.js'
import { drawPipelines } from './pipelines.js'
import { runTable } from './run-table.js'
import { append, fetchSeries, type Series } from './series.js'
import { putInAddress, stateOfAddress, type ViewState } from './view-state.js'

/** Minimum interval between two redraws of the charts of a live run. */
const DRAW_EVERY_MS = 250

let state = stateOfAddress()
let runs: RunSummary[] = []
let live = false
let series: Series[] = []
let charts: Chart[] = []
let drawPending = false
let optionsShown = ''
/** Serializes requests. Metrics that arrive during a request are added after its response. */
let requests = Promise.resolve()
let requestCount = 0
let queued: Metrics[] = []

interface Metrics {
  readonly run: string
  readonly step: number
  readonly values: Readonly<Record<string, number | null>>
}

const shownRuns = (): RunSummary[] => runs.filter(run => !state.hidden.includes(run.info.id))
const chartRuns = (): ChartRun[] =>
  shownRuns().map(run => ({ id: run.info.id, name: run.info.name, colour: runs.indexOf(run) % COLOURS }))

function enqueue(request: () => Promise<void>): Promise<void> {
  requestCount++
  requests = requests
    .then(request)
    .catch(showError)
    .finally(() => {
      if (--requestCount > 0) return
      const pending = queued
      queued = []
      for (const metrics of pending) addMetrics(metrics)
    })
  return requests
}

const load = (): Promise<void> =>
  enqueue(async () => {
    const response = await fetch('/api/runs')
    if (!response.ok) throw new Error(await response.text())
    ;({ live, runs } = (await response.json()) as { live: boolean; runs: RunSummary[] })
    await fetchAllSeries()
    drawAll()
  })

async function fetchAllSeries(): Promise<void> {
  series = await Promise.all(
    shownRuns().flatMap(run => run.metrics.filter(isDrawn).map(metric => fetchSeries(run.info.id, metric, state))),
  )
}

/** Metrics without a chart: they are derived from others, or only grow. */
const NOT_DRAWN = ['train/loss_average', 'train/samples_per_second', 'train/consumed_tokens']
const isDrawn = (metric: string): boolean =>
  !NOT_DRAWN.includes(metric) && !/^held_out\/(.+\/)?samples_per_second$/.test(metric)

function drawAll(): void {
  document.documentElement.dataset.theme = state.theme
  document.title = runs.length === 1 ? `${runs[0]!.info.name} – Penstock` : 'Penstock'
  drawStatus()
  byId('controls').replaceChildren(...controls(state, change))
  byId('runs').replaceChildren(runTable(runs, state, change))
  drawGraphs()
  drawEntries('samples', run => run.samples)
  drawEntries('notes', run => run.notes)
  drawOptions()
  drawCharts()
}

/** Redraws only if the shown runs change, so that expanded entries stay expanded. */
function drawOptions(): void {
  const shown = shownRuns()
  const key = shown.map(run => run.info.id).join()
  if (key === optionsShown) return
  optionsShown = key
  const options = shown.map(run => {
    const text = JSON.stringify(run.info.config, null, 2)
    return element('details', {}, element('summary', {}, run.info.name), element('pre', { tabindex: 0 }, text))
  })
  byId('config').replaceChildren(...options)
}

function drawStatus(): void {
  const running = runs.filter(run => run.outcome === 'running').length
  const text = runs.length === 1 ? `${runs[0]!.info.name}: ${runs[0]!.outcome}` : `${runs.length} runs`
  byId('status').textContent = live && running > 0 ? `${text}, ${duration(Date.now() - runs[0]!.info.startedAt)}` : text
}

function drawGraphs(): void {
  const shown = shownRuns()
  byId('pipelines-section').hidden = !shown.some(run => run.info.pipelines.length > 0)
  byId('pipelines').replaceChildren(...shown.slice(0, 4).flatMap(run => drawPipelines(run, runs.length > 1)))
}

function drawEntries(id: string, of: (run: RunSummary) => readonly TextEntry[]): void {
  const entries = shownRuns()
    .flatMap(of)
    .sort((a, b) => b.time - a.time)
  byId(`${id}-section`).hidden = entries.length === 0
  const items = entries.map(({ time, step, text }) => {
    const when = step === undefined ? new Date(time).toLocaleTimeString() : `step ${step}`
    return element('li', {}, element('span', { class: 'when' }, when), element('span', { class: 'what' }, text))
  })
  byId(id).replaceChildren(element('ul', { class: 'entries', tabindex: 0 }, ...items))
}

function drawCharts(): void {
  const kinds = kindsOf(series.map(({ metric }) => metric))
  byId('charts-section').hidden = kinds.length === 0
  if (kinds.map(kind => kind.metrics.join()).join() !== charts.map(chart => chart.kind.metrics.join()).join()) {
    for (const chart of charts) chart.remove()
    charts = kinds.map(kind => new Chart(kind, range => change({ range }, true)))
    byId('charts').replaceChildren(...charts.map(chart => chart.figure))
  }
  const shown = chartRuns()
  for (const chart of charts) {
    chart.draw(
      series.filter(({ metric }) => chart.kind.metrics.includes(metric)),
      shown,
      state,
    )
  }
}

/** Applies a change of the view made by the user. */
function change(changes: Partial<ViewState>, asStep = false): void {
  state = { ...state, ...changes }
  putInAddress(state, asStep)
  void refresh('range' in changes || 'hidden' in changes)
}

async function refresh(pointsChange: boolean): Promise<void> {
  if (!pointsChange) drawAll()
  else await enqueue(() => fetchAllSeries().then(drawAll))
}

function drawSoon(): void {
  if (drawPending) return
  drawPending = true
  setTimeout(() => {
    drawPending = false
    drawCharts()
    drawStatus()
  }, DRAW_EVERY_MS)
}

function follow(): void {
  const feed = new EventSource('/api/live')
  const on = (name: string, act: (data: never) => void): void =>
    feed.addEventListener(name, event => act(JSON.parse((event as MessageEvent<string>).data) as never))
  on('metrics', addMetrics)
  on('flow', addFlow)
  on('run', (run: RunSummary) => {
    runs = runs.some(known => known.info.id === run.info.id)
      ? runs.map(known => (known.info.id === run.info.id ? run : known))
      : [run]
    drawAll()
    // The server stops at the end of the run; the page keeps its content.
    if (run.outcome !== 'running') feed.close()
  })
  on('resync', () => void load())
  on('evicted', () => {
    feed.close()
    byId('status').textContent = 'too many open pages: this one is no longer updated; reload it to continue'
  })
  feed.addEventListener('open', () => void load())
  feed.addEventListener('error', () => {
    byId('status').textContent = 'connection to the run lost; showing the last known state'
  })
}

function addMetrics(metrics: Metrics): void {
  // The pending response may or may not include this point, so it is appended after the response.
  if (requestCount > 0) {
    queued.push(metrics)
    return
  }
  const { run, step, values } = metrics
  const summary = runs.find(({ info }) => info.id === run)
  if (summary === undefined) return
  Object.assign(summary, { lastStep: step, updatedAt: Date.now(), latest: { ...summary.latest, ...values } })
  byId('runs').replaceChildren(runTable(runs, state, change))
  if (state.hidden.includes(run) || (state.range !== undefined && step > state.range[1])) return
  const outdated = Object.entries(values).filter(([metric, value]) => {
    if (!isDrawn(metric)) return false
    const line = series.find(known => known.run === run && known.metric === metric)
    return line === undefined || !append(line, step, value)
  })
  if (outdated.length > 0) void load()
  else drawSoon()
}

function addFlow({ run, ...pipeline }: PipelineState & { run: string }): void {
  const summary = runs.find(({ info }) => info.id === run)
  if (summary === undefined) return
  const pipelines = { ...summary.pipelines, [pipeline.snapshot.pipeline]: pipeline }
  Object.assign(summary, { updatedAt: Date.now(), pipelines })
  drawGraphs()
  drawStatus()
}

function showError(error: unknown): void {
  byId('status').textContent = `failed to load: ${error instanceof Error ? error.message : String(error)}`
}

window.addEventListener('popstate', () => {
  state = stateOfAddress()
  void refresh(true)
})
new ResizeObserver(() => {
  for (const chart of charts) chart.resize()
}).observe(byId('charts'))
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll)

await load()
if (live) follow()
