/** Settings of the view, stored in the URL fragment: links reproduce the view, and Back undoes a zoom. */
import type { Axis } from '../run-history.js'

export interface ViewState {
  /** Weight of the past in the smoothed line, 0 to 0.99. */
  readonly smoothing: number
  readonly axis: Axis
  readonly logAxis: boolean
  readonly theme: 'auto' | 'light' | 'dark'
  /** Visible range of the horizontal axis; undefined for all. */
  readonly range: readonly [number, number] | undefined
  /** Ids of hidden runs. */
  readonly hidden: readonly string[]
  /** Column that the table of runs is sorted by, with a minus for descending order; empty for the order of the runs. */
  readonly sort: string
  /** Texts and events are shown if they contain this. */
  readonly filter: string
  /** Id of the only run whose texts and events are shown; empty for all runs. */
  readonly only: string
}

export const AXES: Readonly<Record<Axis, string>> = { step: 'steps', tokens: 'tokens', time: 'time' }

export function stateOfAddress(): ViewState {
  const fields = new URLSearchParams(location.hash.slice(1))
  const smoothing = Number(fields.get('smooth') ?? 0)
  const theme = fields.get('theme')
  const axis = fields.get('x')
  const range = (fields.get('zoom') ?? '').split('-').map(Number)
  return {
    smoothing: smoothing > 0 && smoothing < 1 ? smoothing : 0,
    axis: axis === 'tokens' || axis === 'time' ? axis : 'step',
    logAxis: fields.get('log') === '1',
    theme: theme === 'light' || theme === 'dark' ? theme : 'auto',
    range:
      range.length === 2 && range.every(Number.isFinite) && range[0]! < range[1]! ? [range[0]!, range[1]!] : undefined,
    hidden: (fields.get('hide') ?? '').split(',').filter(id => id !== ''),
    sort: fields.get('sort') ?? '',
    filter: fields.get('filter') ?? '',
    only: fields.get('of') ?? '',
  }
}

/** @param asStep whether to add a history entry, so that Back returns to the previous view */
export function putInAddress(state: ViewState, asStep: boolean): void {
  const fields = new URLSearchParams()
  if (state.smoothing > 0) fields.set('smooth', String(state.smoothing))
  if (state.axis !== 'step') fields.set('x', state.axis)
  if (state.logAxis) fields.set('log', '1')
  if (state.theme !== 'auto') fields.set('theme', state.theme)
  if (state.range !== undefined)
    fields.set('zoom', state.range.map(position => rounded(position, state.axis)).join('-'))
  if (state.hidden.length > 0) fields.set('hide', state.hidden.join(','))
  if (state.sort !== '') fields.set('sort', state.sort)
  if (state.filter !== '') fields.set('filter', state.filter)
  if (state.only !== '') fields.set('of', state.only)
  const address = fields.size === 0 ? location.pathname : `#${fields}`
  if (asStep) history.pushState(null, '', address)
  else history.replaceState(null, '', address)
}

/** Short runs last fractions of a second. */
const rounded = (position: number, axis: Axis): number =>
  Math.max(0, axis === 'time' ? Number(position.toFixed(2)) : Math.round(position))
