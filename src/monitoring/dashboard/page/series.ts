/** The points of a metric of a run, as the server cut them down; new ones are put behind. */
import type { ViewState } from './view-state.js'

export interface Series {
  readonly run: string
  readonly metric: string
  steps: number[]
  values: (number | null)[]
}

/** Points asked for; past twice as many, a series is asked for anew. */
const POINTS = 1500

export async function fetchSeries(run: string, metric: string, { range }: ViewState): Promise<Series> {
  const query = new URLSearchParams({ run, metric, points: String(POINTS) })
  if (range !== undefined) {
    query.set('from', String(range[0]))
    query.set('to', String(range[1]))
  }
  const response = await fetch(`/api/series?${query}`)
  if (!response.ok) throw new Error(await response.text())
  const { steps, values } = (await response.json()) as { steps: number[]; values: (number | null)[] }
  return { run, metric, steps, values }
}

/** Adds a point unless it is there already. False when the series has become long and should be asked for anew. */
export function append(series: Series, step: number, value: number | null): boolean {
  const last = series.steps.at(-1)
  if (last !== undefined && step <= last) return true
  series.steps.push(step)
  series.values.push(value)
  return series.steps.length < 2 * POINTS
}

/** An exponential mean, corrected for its start: `weight` of what came before. */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let [mean, seen] = [0, 0]
  return values.map(value => {
    if (value === null) return null
    mean = weight * mean + (1 - weight) * value
    seen = weight * seen + (1 - weight)
    return mean / seen
  })
}
