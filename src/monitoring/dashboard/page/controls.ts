/** Controls for smoothing, axis, zoom and theme. */
import { element } from './dom.js'
import type { ViewState } from './view-state.js'

type Change = (changes: Partial<ViewState>, asStep?: boolean) => void

const THEMES = { auto: 'system theme', light: 'light', dark: 'dark' } as const

export function controls(state: ViewState, change: Change): HTMLElement[] {
  return [smoothing(state, change), logAxis(state, change), wholeRange(state, change), theme(state, change)]
}

function smoothing({ smoothing: weight }: ViewState, change: Change): HTMLElement {
  const slider = element('input', { type: 'range', id: 'smoothing', min: 0, max: 0.98, step: 0.02, value: weight })
  slider.addEventListener('change', () => {
    change({ smoothing: Number(slider.value) })
    document.getElementById('smoothing')?.focus()
  })
  return element('label', {}, 'Smoothing', slider)
}

function logAxis({ logAxis: pressed }: ViewState, change: Change): HTMLElement {
  const button = element('button', { type: 'button', id: 'log-axis', 'aria-pressed': String(pressed) }, 'Log axis')
  button.addEventListener('click', () => {
    change({ logAxis: !pressed })
    document.getElementById('log-axis')?.focus()
  })
  return button
}

function wholeRange({ range }: ViewState, change: Change): HTMLElement {
  const button = element('button', { type: 'button', id: 'all-steps', disabled: range === undefined }, 'All steps')
  button.title = 'Drag over a chart to zoom in; double-click to reset'
  button.addEventListener('click', () => change({ range: undefined }, true))
  return button
}

function theme(state: ViewState, change: Change): HTMLElement {
  const select = element('select', { id: 'theme', 'aria-label': 'Colours' })
  for (const [name, label] of Object.entries(THEMES)) {
    select.append(element('option', { value: name, selected: name === state.theme }, label))
  }
  select.addEventListener('change', () => {
    change({ theme: select.value as ViewState['theme'] })
    document.getElementById('theme')?.focus()
  })
  return select
}
