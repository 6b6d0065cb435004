/** Main module of the page: loads the runs, draws them, and follows live runs. */
import type { PlanProgress } from '../plan-progress.js'
import type { PipelineState, RunSummary } from '../run-history.js'
import { Chart, type ChartRun } from './charts.js'
import { COLOURS } from './colours.js'
import { chartControls, themeControl } from './controls.js'
import { byId, replaceContent } from './dom.js'
import { drawEntries, entryFilter } from './entries.js'
import { trains } from './figures.js'
import { isDrawn, kindsOf } from './metrics.js'
import { duration, whole } from './numbers.js'
import { optionsOf } from './options.js'
import { drawPipelines } from './pipelines.js'
import { planOverview } from './plans.js'
import { runOverview } from './run-overview.js'
import { runTable } from './run-table.js'
import { append, fetchSeries, type Series } from './series.js'
import { putInAddress, stateOfAddress, type ViewState } from './view-state.js'

/** Minimum interval between two redraws of the charts of a live run. */
const DRAW_EVERY_MS = 250
/** Pipelines of more runs would hide the charts. */
const MAX_PIPELINE_RUNS = 4

let state = stateOfAddress()
let runs: RunSummary[] = []
let plans: PlanProgress[] = []
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
  readonly totalSteps?: number
  readonly elapsedMs: number
}

const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0)
const shownRuns = (): RunSummary[] => runs.filter(run => !state.hidden.includes(run.info.id))
const colourOf = (run: RunSummary): number => runs.indexOf(run) % COLOURS
const chartRuns = (): ChartRun[] =>
  shownRuns().map(run => ({ id: run.info.id, name: run.info.name, colour: colourOf(run), trains: trains(run) }))

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
    ;({ live, runs, plans } = (await response.json()) as { live: boolean; runs: RunSummary[]; plans: PlanProgress[] })
    await fetchAllSeries()
    drawAll()
  })

async function fetchAllSeries(): Promise<void> {
  series = await Promise.all(
    shownRuns().flatMap(run => run.metrics.filter(isDrawn).map(metric => fetchSeries(run.info.id, metric, state))),
  )
}

function drawAll(): void {
  document.documentElement.dataset.theme = state.theme
  replaceContent(byId('theme-control'), themeControl(state, change))
  replaceContent(byId('controls'), ...chartControls(state, change, shownRuns().some(trains)))
  drawPlans()
  drawRuns()
  drawPipelineSection()
  drawTexts()
  drawOptions()
  drawCharts()
}

function drawPlans(): void {
  byId('plans-section').hidden = plans.length === 0
  byId('runs-section').hidden = isPlanOnly()
  replaceContent(byId('plans'), ...plans.map(planOverview))
}

/** Whether there is nothing but work that is divided into shards. */
const isPlanOnly = (): boolean => plans.length > 0 && runs.length === 0

function drawRuns(): void {
  const [first] = runs
  const title = runs.length === 1 ? first!.info.name : 'Runs'
  document.title = runs.length === 1 ? `${title} – Penstock` : 'Penstock'
  byId('runs-title').textContent = title
  replaceContent(byId('runs'), runs.length === 1 ? runOverview(first!) : runTable(runs, state, change))
  if (isPlanOnly()) {
    const [done, all] = [plans.map(({ counts }) => counts.done), plans.map(({ shards }) => shards)].map(sum)
    byId('status').textContent = `${whole(done!)} of ${whole(all!)} shards done`
    return
  }
  const running = runs.filter(run => run.outcome === 'running').length
  if (runs.length === 1) {
    byId('status').textContent = `${first!.outcome}, ${duration(first!.elapsedMs)}`
  } else {
    byId('status').textContent = `${runs.length} runs${running > 0 ? `, ${running} running` : ''}`
  }
}

function drawPipelineSection(): void {
  const shown = shownRuns().slice(0, MAX_PIPELINE_RUNS)
  byId('pipelines-section').hidden = !shown.some(run => run.info.pipelines.length > 0)
  // Those of several runs follow the charts, which compare them.
  byId('pipelines-section').classList.toggle('last', runs.length > 1)
  replaceContent(byId('pipelines'), ...shown.flatMap(run => drawPipelines(run, runs.length > 1)))
}

function drawTexts(): void {
  drawEntries(shownRuns(), state, colourOf)
}

/** Redraws only if the shown runs change, so that expanded entries stay expanded. */
function drawOptions(): void {
  const shown = shownRuns()
  byId('config-section').hidden = shown.length === 0
  const key = shown.map(run => run.info.id).join()
  if (key === optionsShown) return
  optionsShown = key
  byId('config').replaceChildren(...optionsOf(shown, colourOf))
  byId('entries-filter').replaceChildren(...entryFilter(runs, state, filterTexts))
}

/** Leaves the charts as they are, which the filter does not change. */
function filterTexts(changes: Partial<ViewState>): void {
  state = { ...state, ...changes }
  putInAddress(state, false)
  drawTexts()
}

function drawCharts(): void {
  const kinds = kindsOf(series.map(({ metric }) => metric))
  byId('charts-section').hidden = kinds.length === 0
  byId('no-metrics').hidden = kinds.length > 0 || isPlanOnly()
  if (kinds.map(kind => kind.metrics.join()).join() !== charts.map(chart => chart.kind.metrics.join()).join()) {
    for (const chart of charts) chart.remove()
    charts = kinds.map(kind => new Chart(kind, range => change({ range }, true)))
    byId('charts').replaceChildren(...charts.map(chart => chart.figure))
  }
  const shown = chartRuns()
  for (const chart of charts) chart.draw(series, shown, state)
}

/** Applies a change of the view made by the user. */
function change(changes: Partial<ViewState>, asStep = false): void {
  state = { ...state, ...changes }
  putInAddress(state, asStep)
  void refresh('range' in changes || 'hidden' in changes || 'axis' in changes)
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
    drawRuns()
    drawPipelineSection()
    drawCharts()
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
  const { run, step, values, totalSteps, elapsedMs } = metrics
  const summary = runs.find(({ info }) => info.id === run)
  if (summary === undefined) return
  const latest = { ...summary.latest, ...values }
  Object.assign(summary, { lastStep: step, updatedAt: Date.now(), elapsedMs, latest })
  if (totalSteps !== undefined) Object.assign(summary, { totalSteps })
  drawSoon()
  const x = { step, time: elapsedMs / 1000, tokens: latest['train/consumed_tokens'] ?? 0 }[state.axis]
  if (state.hidden.includes(run) || (state.range !== undefined && x > state.range[1])) return
  const outdated = Object.entries(values).filter(([metric, value]) => {
    if (!isDrawn(metric)) return false
    const line = series.find(known => known.run === run && known.metric === metric)
    return line === undefined || !append(line, step, x, value)
  })
  if (outdated.length > 0) void load()
}

function addFlow({ run, ...pipeline }: PipelineState & { run: string }): void {
  const summary = runs.find(({ info }) => info.id === run)
  if (summary === undefined) return
  const pipelines = { ...summary.pipelines, [pipeline.snapshot.pipeline]: pipeline }
  Object.assign(summary, { updatedAt: Date.now(), pipelines })
  drawPipelineSection()
  drawRuns()
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
