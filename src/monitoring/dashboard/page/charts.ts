/** One chart per kind of metric, with one line per run. Dragging over a chart zooms all of them. */
import type { default as UPlot } from 'uplot'
import { element } from './dom.js'
import { compact } from './numbers.js'
import { type Series, smoothed } from './series.js'
import type { ViewState } from './view-state.js'

declare const uPlot: typeof UPlot

interface Kind {
  readonly title: string
  readonly metrics: readonly string[]
}

/** Charts and their metrics, in order. Every metric that matches none gets a separate chart after these. */
const KINDS: readonly { readonly title: string; readonly metrics: RegExp }[] = [
  { title: 'Loss', metrics: /^(train|held_out)\/(.+\/)?loss$/ },
  { title: 'Perplexity', metrics: /^held_out\/(.+\/)?perplexity$/ },
  { title: 'Bits per byte', metrics: /^held_out\/(.+\/)?bits_per_byte$/ },
  { title: 'Learning rate', metrics: /^train\/learning_rate$/ },
  { title: 'Gradient norm', metrics: /^train\/gradient_norm$/ },
  { title: 'Tokens per second', metrics: /^train\/tokens_per_second$/ },
  { title: 'Step time (ms)', metrics: /^train\/step_ms$/ },
  { title: 'Memory (MB)', metrics: /^train\/memory_mb$/ },
]

const HEIGHT = 240
const SHOWN_NAME = 24
/** Series with fewer points are not smoothed, and their points are marked. */
const FEW_POINTS = 40
/** Number of colours; further runs reuse them. */
export const COLOURS = 8

export interface ChartRun {
  readonly id: string
  readonly name: string
  readonly colour: number
}

export function kindsOf(metrics: Iterable<string>): Kind[] {
  const left = new Set(metrics)
  const kinds = KINDS.map(({ title, metrics: wanted }) => ({
    title,
    metrics: [...left].filter(name => wanted.test(name) && left.delete(name)),
  }))
  return [
    ...kinds.filter(kind => kind.metrics.length > 0),
    ...Array.from(left, name => ({ title: name, metrics: [name] })),
  ]
}

/** Owns a figure in the page until `remove` is called. */
export class Chart {
  readonly figure: HTMLElement
  readonly kind: Kind
  private readonly plotBox = element('div', { class: 'plot' })
  private readonly latest = element('span', { class: 'latest' })
  private readonly onZoom: (range: readonly [number, number] | undefined) => void
  private plot: UPlot | undefined
  private form = ''

  constructor(kind: Kind, onZoom: (range: readonly [number, number] | undefined) => void) {
    this.kind = kind
    this.onZoom = onZoom
    const caption = element('figcaption', {}, element('span', {}, kind.title), this.latest)
    this.figure = element('figure', { class: 'chart' }, caption, this.plotBox)
  }

  /** Draws the series of the shown runs; recreates the plot only if its lines or axes change. */
  draw(series: readonly Series[], runs: readonly ChartRun[], state: ViewState): void {
    const lines = series
      .map(line => ({ line, run: runs.find(run => run.id === line.run) }))
      .filter(
        (entry): entry is { line: Series; run: ChartRun } => entry.run !== undefined && entry.line.steps.length > 0,
      )
    const named = runs.length > 1
    const last = lines.map(({ line }) => line.values.at(-1))
    this.latest.textContent = lines.length === 1 || !named ? last.map(value => compact(value)).join(' / ') : ''
    const data = aligned(
      lines.map(({ line }) => line),
      state,
    )
    const dark = isDark(state)
    const form = JSON.stringify([
      state.logAxis,
      state.smoothing > 0,
      dark,
      lines.map(({ line }) => [line.run, line.metric]),
    ])
    if (form !== this.form || this.plot === undefined) {
      this.plot?.destroy()
      this.plot = new uPlot(this.options(lines, state, named), data, this.plotBox)
      this.form = form
    } else {
      this.plot.setData(data, false)
    }
    const steps = data[0]
    const [from, to] = state.range ?? [steps[0] ?? 0, steps.at(-1) ?? 1]
    this.plot.setScale('x', { min: from, max: to > from ? to : from + 1 })
    const summary = lines.map(({ line, run }) => {
      return `${run.name} ${line.metric}: ${line.steps.length} points, last ${compact(line.values.at(-1))}`
    })
    this.plotBox.setAttribute('role', 'img')
    this.plotBox.setAttribute('aria-label', `${this.kind.title} over steps. ${summary.join('; ')}`)
  }

  resize(): void {
    this.plot?.setSize({ width: this.plotBox.clientWidth, height: HEIGHT })
  }

  remove(): void {
    this.plot?.destroy()
    this.figure.remove()
  }

  private options(lines: readonly { line: Series; run: ChartRun }[], state: ViewState, named: boolean): UPlot.Options {
    const style = getComputedStyle(document.documentElement)
    const colour = (name: string): string => style.getPropertyValue(name).trim()
    const smooth = state.smoothing > 0
    const series: UPlot.Series[] = lines.flatMap(({ line, run }): UPlot.Series[] => {
      const label = labelOf(line.metric, named ? run.name : '', this.kind)
      const stroke = colour(`--run-${run.colour % COLOURS}`)
      const heldOut = line.metric.startsWith('held_out/')
      const shared = {
        spanGaps: true,
        ...(heldOut ? { dash: [6, 3] } : {}),
        value: (_: UPlot, value: number | null) => (value === null ? '–' : compact(value)),
      }
      // A smoothed line is drawn over the raw one.
      const points = { show: line.steps.length < FEW_POINTS }
      const plain = { ...shared, label, stroke, width: 1.5, points }
      return smooth
        ? [
            { ...plain, class: 'raw', width: 1, alpha: 0.3, points: { show: false } },
            { ...plain, width: 2, points: { show: false } },
          ]
        : [plain]
    })
    const axis = {
      stroke: colour('--quiet'),
      grid: { stroke: colour('--grid'), width: 1 },
      ticks: { stroke: colour('--grid') },
    }
    return {
      width: this.plotBox.clientWidth,
      height: HEIGHT,
      scales: { x: { time: false, auto: false }, y: { distr: state.logAxis ? 3 : 1 } },
      axes: [
        { ...axis, values: (_, splits) => splits.map(value => compact(value)) },
        { ...axis, size: 62, values: (_, splits) => splits.map(value => (value === null ? '' : compact(value))) },
      ],
      series: [{ label: 'step', value: (_, value) => (value === null ? '–' : compact(value)) }, ...series],
      cursor: {
        sync: { key: 'penstock' },
        drag: { x: true, y: false, setScale: false },
        bind: {
          dblclick: () => () => {
            this.onZoom(undefined)
            return null
          },
        },
      },
      hooks: { setSelect: [plot => this.zoomToSelection(plot)] },
    }
  }

  private zoomToSelection(plot: UPlot): void {
    const { left, width } = plot.select
    if (width < 4) return
    const range = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')] as const
    plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false)
    this.onZoom(range)
  }
}

/** Legend label: the run if there are several, and the metric if the title does not name it. */
function labelOf(metric: string, run: string, { metrics }: Kind): string {
  const short = run.length <= SHOWN_NAME ? run : `${run.slice(0, SHOWN_NAME - 1)}…`
  const own = metrics.length > 1 || run === '' ? metric.replace('train/', '').replace('held_out/', 'held-out ') : ''
  return `${short} ${own.replaceAll('_', ' ')}`.trim()
}

/** Aligns all series on the union of their steps. A log axis omits values that are not positive. */
function aligned(lines: readonly Series[], { logAxis, smoothing }: ViewState): UPlot.AlignedData {
  const drawable = (values: (number | null)[]): (number | null)[] =>
    logAxis ? values.map(value => (value !== null && value > 0 ? value : null)) : values
  const tables = lines.map(({ steps, values }): UPlot.AlignedData => {
    const plain = drawable(values)
    if (smoothing === 0) return [steps, plain]
    return [steps, plain, steps.length < FEW_POINTS ? plain : drawable(smoothed(values, smoothing))]
  })
  if (tables.length === 0) return [[]]
  return tables.length === 1 ? tables[0]! : uPlot.join(tables)
}

export function isDark({ theme }: ViewState): boolean {
  return theme === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : theme === 'dark'
}
