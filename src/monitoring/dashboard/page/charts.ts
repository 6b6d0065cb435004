/** One chart per kind of metric, with one line per run and metric. Dragging over a chart zooms all of them. */
import type { default as UPlot } from 'uplot'
import type { Axis } from '../run-history.js'
import { COLOURS } from './colours.js'
import { element } from './dom.js'
import { Legend, type LegendEntry } from './legend.js'
import { isHeldOut, type Kind, lineName } from './metrics.js'
import { compact, duration } from './numbers.js'
import { type Series, smoothed } from './series.js'
import { AXES, type ViewState } from './view-state.js'

declare const uPlot: typeof UPlot

const HEIGHT = 250
/** Series with fewer points are not smoothed, and their points are marked. */
const FEW_POINTS = 40
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14_400, 28_800, 43_200, 86_400]

export interface ChartRun {
  readonly id: string
  readonly name: string
  readonly colour: number
  /** Whether its metrics are logged by step; those of other runs are logged by second. */
  readonly trains: boolean
}

interface Line {
  readonly series: Series
  readonly run: ChartRun
  readonly colour: number
}

/** Owns a figure in the page until `remove` is called. */
export class Chart {
  readonly figure: HTMLElement
  readonly kind: Kind
  private readonly plotBox = element('div', { class: 'plot' })
  private readonly position = element('span', { class: 'position' })
  private readonly legend = new Legend()
  private readonly onZoom: (range: readonly [number, number] | undefined) => void
  private plot: UPlot | undefined
  private form = ''
  private axis: Axis = 'step'
  private lines: readonly Line[] = []

  constructor(kind: Kind, onZoom: (range: readonly [number, number] | undefined) => void) {
    this.kind = kind
    this.onZoom = onZoom
    const caption = element('figcaption', {}, element('span', {}, kind.title), this.position)
    this.figure = element('figure', { class: 'chart' }, caption, this.plotBox, this.legend.list)
  }

  /** Draws the series of the shown runs; recreates the plot only if its lines or axes change. */
  draw(series: readonly Series[], runs: readonly ChartRun[], view: ViewState): void {
    const state = this.kind.isExact ? { ...view, smoothing: 0 } : view
    const lines = runs.flatMap(run =>
      this.kind.metrics.flatMap(metric =>
        series
          .filter(line => line.run === run.id && line.metric === metric && line.steps.length > 0)
          .map(line => ({ series: line, run, colour: run.colour })),
      ),
    )
    this.lines = runs.length === 1 ? lines.map(withOwnColour) : lines
    this.axis = this.lines.some(({ run }) => run.trains) ? state.axis : 'time'
    const named = new Set(this.lines.map(({ run }) => run.id)).size > 1
    this.legend.show(this.lines.map(line => this.legendEntry(line, named)))
    const data = aligned(
      this.lines.map(line => line.series),
      state,
    )
    const names = this.lines.map(({ series: { run, metric, steps } }) => [run, metric, steps.length < FEW_POINTS])
    const form = JSON.stringify([this.axis, state.logAxis, state.smoothing > 0, isDark(state), names])
    if (form !== this.form || this.plot === undefined) {
      this.plot?.destroy()
      this.plot = new uPlot(this.options(state), data, this.plotBox)
      this.form = form
    } else {
      this.plot.setData(data, false)
    }
    this.setRange(data[0], state)
    this.showValues(undefined)
    const summary = this.lines.map(
      ({ series: { metric, steps, values }, run }) =>
        `${run.name} ${metric}: ${steps.length} points, last ${this.text(values.at(-1))}`,
    )
    this.plotBox.setAttribute('role', 'img')
    this.plotBox.setAttribute('aria-label', `${this.kind.title} over ${AXES[this.axis]}. ${summary.join('; ')}`)
  }

  resize(): void {
    this.plot?.setSize({ width: this.plotBox.clientWidth, height: HEIGHT })
  }

  remove(): void {
    this.plot?.destroy()
    this.figure.remove()
  }

  private setRange(xs: ArrayLike<number>, { range }: ViewState): void {
    const [from, to] = range ?? [xs[0] ?? 0, xs[xs.length - 1] ?? 1]
    this.plot?.setScale('x', { min: from, max: to > from ? to : from + 1 })
  }

  private legendEntry({ series: { metric }, run, colour }: Line, named: boolean): LegendEntry {
    const ownName = this.kind.metrics.length > 1 || !named ? lineName(metric) : ''
    return {
      label: [named ? run.name : '', ownName].filter(part => part !== '').join(' · '),
      colour,
      dashed: isHeldOut(metric),
    }
  }

  /** Shows the values at a position of the cursor, or the latest ones. */
  private showValues(x: number | undefined): void {
    this.position.textContent =
      x === undefined ? '' : `${this.axis === 'step' ? 'step ' : ''}${positionText(x, this.axis)}`
    this.legend.setValues(
      this.lines.map(({ series: { xs, values } }) =>
        this.text(values[x === undefined ? values.length - 1 : nearest(xs, x)]),
      ),
    )
  }

  private text(value: number | null | undefined): string {
    if (value === undefined) return '–'
    return value === null ? 'NaN' : this.kind.format(value)
  }

  private options(state: ViewState): UPlot.Options {
    const style = getComputedStyle(document.documentElement)
    const valueOfStyle = (name: string): string => style.getPropertyValue(name).trim()
    const smooth = state.smoothing > 0
    const series: UPlot.Series[] = this.lines.flatMap(({ series: { metric, steps }, colour }): UPlot.Series[] => {
      const stroke = valueOfStyle(`--run-${colour % COLOURS}`)
      const few = steps.length < FEW_POINTS
      const shared = { label: metric, stroke, spanGaps: true, ...(isHeldOut(metric) ? { dash: [5, 4] } : {}) }
      const marks = { show: few, size: isHeldOut(metric) ? 6 : 4, fill: stroke }
      // A smoothed line is drawn over the raw one.
      const raw = { ...shared, width: 1, alpha: few ? 0 : 0.3, points: { show: false } }
      return smooth ? [raw, { ...shared, width: 2, points: marks }] : [{ ...shared, width: 1.5, points: marks }]
    })
    const axis = {
      stroke: valueOfStyle('--quiet'),
      font: '12px system-ui, sans-serif',
      grid: { stroke: valueOfStyle('--grid'), width: 1 },
      ticks: { stroke: valueOfStyle('--grid'), width: 1, size: 4 },
    }
    const isTime = this.axis === 'time'
    return {
      width: this.plotBox.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      scales: { x: { time: false, auto: false }, y: { distr: state.logAxis ? 3 : 1 } },
      axes: [
        {
          ...axis,
          size: 28,
          label: AXES[this.axis],
          labelSize: 18,
          labelFont: axis.font,
          labelGap: 0,
          ...(isTime ? { incrs: SECONDS } : {}),
          values: (_, splits) => splits.map(value => positionText(value, this.axis)),
        },
        { ...axis, size: 58, values: (_, splits) => splits.map(value => (value === null ? '' : compact(value))) },
      ],
      series: [{}, ...series],
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
      hooks: {
        setSelect: [plot => this.zoomToSelection(plot)],
        setCursor: [
          plot => this.showValues(plot.cursor.idx == null ? undefined : (plot.data[0][plot.cursor.idx] ?? undefined)),
        ],
      },
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

/** Lines of a single run differ in colour, except that the training and the first held-out set differ by dashes. */
function withOwnColour(line: Line, index: number, lines: readonly Line[]): Line {
  const heldOut = isHeldOut(line.series.metric)
  const alike = lines.slice(0, index).filter(({ series }) => isHeldOut(series.metric) === heldOut)
  return { ...line, colour: line.run.colour + alike.length }
}

const positionText = (x: number, axis: Axis): string => (axis === 'time' ? duration(1000 * x) : compact(x))

/** Index of the last position that is not after `x`, or the first one. */
function nearest(xs: readonly number[], x: number): number {
  let [low, high] = [0, xs.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (xs[middle]! <= x) low = middle + 1
    else high = middle
  }
  return Math.max(0, low - 1)
}

/** Aligns all series on the union of their positions. A log axis omits values that are not positive. */
function aligned(lines: readonly Series[], { logAxis, smoothing }: ViewState): UPlot.AlignedData {
  const drawable = (values: readonly (number | null)[]): (number | null)[] =>
    logAxis ? values.map(value => (value !== null && value > 0 ? value : null)) : [...values]
  const tables = lines.map(({ xs, values }): UPlot.AlignedData => {
    const plain = drawable(values)
    if (smoothing === 0) return [xs, plain]
    return [xs, plain, xs.length < FEW_POINTS ? plain : drawable(smoothed(values, smoothing))]
  })
  if (tables.length === 0) return [[]]
  return tables.length === 1 ? tables[0]! : uPlot.join(tables)
}

export function isDark({ theme }: ViewState): boolean {
  return theme === 'auto' ? matchMedia('(prefers-color-scheme: dark)').matches : theme === 'dark'
}
