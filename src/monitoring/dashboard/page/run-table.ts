/** Table of runs: visibility, state and latest values. */
import type { RunSummary } from '../run-history.js'
import { COLOURS } from './charts.js'
import { element } from './dom.js'
import { compact, duration } from './numbers.js'
import type { ViewState } from './view-state.js'

const COLUMNS = ['Run', 'State', 'Started', 'Time', 'Step', 'Loss', 'Held-out loss', 'Tokens/s', 'Tokens seen'] as const
/** First right-aligned column. */
const FIRST_NUMBER = 3
/** A running run logs more often than this; after a longer silence it was probably killed, or hangs. */
const SILENCE_MS = 60_000

export function runTable(
  runs: readonly RunSummary[],
  state: ViewState,
  change: (changes: Partial<ViewState>) => void,
): HTMLElement {
  const head = COLUMNS.map((name, column) =>
    element('th', { scope: 'col', class: column < FIRST_NUMBER ? '' : 'number' }, name),
  )
  const rows = runs.map((run, index) => row(run, index, state, change))
  const table = element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))
  return element('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'runs' }, table)
}

function row(
  run: RunSummary,
  index: number,
  state: ViewState,
  change: (changes: Partial<ViewState>) => void,
): HTMLElement {
  const { info, latest, outcome, message } = run
  const end = outcome === 'running' ? Math.max(run.updatedAt, info.startedAt) : run.updatedAt
  const box = element('input', { type: 'checkbox', id: `show-${index}` })
  box.checked = !state.hidden.includes(info.id)
  box.addEventListener('change', () => {
    const others = state.hidden.filter(id => id !== info.id)
    change({ hidden: box.checked ? others : [...others, info.id] })
    document.getElementById(`show-${index}`)?.focus()
  })
  const swatch = element('span', { class: `swatch run-${index % COLOURS}`, 'aria-hidden': 'true' })
  const numbers = [
    duration(end - info.startedAt),
    compact(run.lastStep),
    compact(latest['train/loss']),
    compact(latest['held_out/loss']),
    compact(latest['train/tokens_per_second']),
    compact(latest['train/consumed_tokens']),
  ]
  const silence = Date.now() - run.updatedAt
  const silent = outcome === 'running' && silence > SILENCE_MS
  const stateText = silent ? `no update for ${duration(silence)}` : outcome
  const stateCell = element('td', { class: silent ? 'stopped' : outcome, title: message }, stateText)
  return element(
    'tr',
    {},
    element('th', { scope: 'row' }, element('label', {}, box, ' ', swatch, info.name)),
    stateCell,
    element('td', {}, new Date(info.startedAt).toLocaleString()),
    ...numbers.map(text => element('td', { class: 'number' }, text)),
  )
}
