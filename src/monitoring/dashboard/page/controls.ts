/** Controls for smoothing, axes, zoom and theme. */
import { element } from './dom.js'
import { AXES, type ViewState } from './view-state.js'

type Change = (changes: Partial<ViewState>, asStep?: boolean) => void

const THEMES = { auto: 'system theme', light: 'light', dark: 'dark' } as const

/** @param hasSteps whether a shown run trains: others are drawn over time */
export function chartControls(state: ViewState, change: Change, hasSteps: boolean): HTMLElement[] {
  const axes = hasSteps ? [axis(state, change)] : []
  return [smoothing(state, change), ...axes, logAxis(state, change), wholeRange(state, change)]
}

function smoothing({ smoothing: weight }: ViewState, change: Change): HTMLElement {
  const slider = element('input', { type: 'range', id: 'smoothing', min: 0, max: 0.98, step: 0.02, value: weight })
  const value = element('output', { for: 'smoothing' }, weight.toFixed(2))
  slider.addEventListener('input', () => {
    value.textContent = Number(slider.value).toFixed(2)
  })
  slider.addEventListener('change', () => change({ smoothing: Number(slider.value) }))
  return element('label', {}, 'Smoothing', slider, value)
}

/** A zoom is dropped with its axis. */
function axis(state: ViewState, change: Change): HTMLElement {
  const select = choice('axis', AXES, state.axis)
  select.setAttribute('aria-label', 'Horizontal axis')
  select.addEventListener('change', () => change({ axis: select.value as ViewState['axis'], range: undefined }))
  return element('label', {}, 'over', select)
}

function logAxis({ logAxis: pressed }: ViewState, change: Change): HTMLElement {
  const button = element('button', { type: 'button', id: 'log-axis', 'aria-pressed': String(pressed) }, 'Log axis')
  button.addEventListener('click', () => change({ logAxis: !pressed }))
  return button
}

function wholeRange({ range }: ViewState, change: Change): HTMLElement {
  const button = element('button', { type: 'button', id: 'whole-range', disabled: range === undefined }, 'Zoom out')
  button.title = 'Drag over a chart to zoom in; double-click to zoom out'
  button.addEventListener('click', () => change({ range: undefined }, true))
  return button
}

export function themeControl(state: ViewState, change: Change): HTMLElement {
  const select = choice('theme', THEMES, state.theme)
  select.setAttribute('aria-label', 'Colours')
  select.addEventListener('change', () => change({ theme: select.value as ViewState['theme'] }))
  return select
}

function choice(id: string, choices: Readonly<Record<string, string>>, chosen: string): HTMLSelectElement {
  const options = Object.entries(choices).map(([value, label]) =>
    element('option', { value, selected: value === chosen }, label),
  )
  return element('select', { id }, ...options)
}
