/** Settings of the view, stored in the URL fragment: links reproduce the view, and Back undoes a zoom. */

export interface ViewState {
  /** Weight of the past in the smoothed line, 0 to 0.99. */
  readonly smoothing: number
  readonly logAxis: boolean
  readonly theme: 'auto' | 'light' | 'dark'
  /** Range of visible steps; undefined for all. */
  readonly range: readonly [number, number] | undefined
  /** Ids of hidden runs. */
  readonly hidden: readonly string[]
}

const DEFAULTS: ViewState = { smoothing: 0, logAxis: false, theme: 'auto', range: undefined, hidden: [] }

export function stateOfAddress(): ViewState {
  const fields = new URLSearchParams(location.hash.slice(1))
  const smoothing = Number(fields.get('smooth') ?? 0)
  const theme = fields.get('theme')
  const range = (fields.get('steps') ?? '').split('-').map(Number)
  return {
    smoothing: smoothing > 0 && smoothing < 1 ? smoothing : DEFAULTS.smoothing,
    logAxis: fields.get('log') === '1',
    theme: theme === 'light' || theme === 'dark' ? theme : DEFAULTS.theme,
    range:
      range.length === 2 && range.every(Number.isFinite) && range[0]! < range[1]! ? [range[0]!, range[1]!] : undefined,
    hidden: (fields.get('hide') ?? '').split(',').filter(id => id !== ''),
  }
}

/** @param asStep whether to add a history entry, so that Back returns to the previous view */
export function putInAddress(state: ViewState, asStep: boolean): void {
  const fields = new URLSearchParams()
  if (state.smoothing > 0) fields.set('smooth', String(state.smoothing))
  if (state.logAxis) fields.set('log', '1')
  if (state.theme !== 'auto') fields.set('theme', state.theme)
  if (state.range !== undefined) fields.set('steps', state.range.map(step => Math.round(step)).join('-'))
  if (state.hidden.length > 0) fields.set('hide', state.hidden.join(','))
  const address = fields.size === 0 ? location.pathname : `#${fields}`
  if (asStep) history.pushState(null, '', address)
  else history.replaceState(null, '', address)
}
