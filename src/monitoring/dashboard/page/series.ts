/** Downsampled points of one metric of a run, as sent by the server; live points are appended. */
import type { ViewState } from './view-state.js'

export interface Series {
  readonly run: string
  readonly metric: string
  readonly steps: number[]
  /** Positions of the steps on the chosen axis. */
  readonly xs: number[]
  readonly values: (number | null)[]
}

/** Number of points to request; a series is fetched again once it has twice as many. */
const POINTS = 1500

export async function fetchSeries(run: string, metric: string, { range, axis }: ViewState): Promise<Series> {
  const query = new URLSearchParams({ run, metric, axis, points: String(POINTS) })
  if (range !== undefined) {
    query.set('from', String(range[0]))
    query.set('to', String(range[1]))
  }
  const response = await fetch(`/api/series?${query}`)
  if (!response.ok) throw new Error(await response.text())
  return { run, metric, ...((await response.json()) as Pick<Series, 'steps' | 'xs' | 'values'>) }
}

/** Appends a point unless it is already included. False if the series is too long and should be fetched again. */
export function append(series: Series, step: number, x: number, value: number | null): boolean {
  const last = series.steps.at(-1)
  if (last !== undefined && step <= last) return true
  series.steps.push(step)
  series.xs.push(x)
  series.values.push(value)
  return series.steps.length < 2 * POINTS
}

/** Exponential moving average with bias correction; `weight` is the weight of the past. */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let [mean, seen] = [0, 0]
  return values.map(value => {
    if (value === null) return null
    mean = weight * mean + (1 - weight) * value
    seen = weight * seen + (1 - weight)
    return mean / seen
  })
}
