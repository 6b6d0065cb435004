/** Table of runs: visibility, state and latest values, sortable by each column. */
import type { RunSummary } from '../run-history.js'
import { COLOURS } from './colours.js'
import { element } from './dom.js'
import { type Figure, figuresOf, figureText, isSilent } from './figures.js'
import type { ViewState } from './view-state.js'

type Change = (changes: Partial<ViewState>) => void

/** Key of the column of names. */
const NAME = 'run'

export function runTable(runs: readonly RunSummary[], state: ViewState, change: Change): HTMLElement {
  const figures = figuresOf(runs)
  const head = [header(NAME, 'Run', '', state, change), ...figures.map(figure => figureHeader(figure, state, change))]
  const rows = sorted(runs, figures, state.sort).map(run => row(run, runs.indexOf(run), figures, state, change))
  const table = element('table', {}, element('thead', {}, element('tr', {}, ...head)), element('tbody', {}, ...rows))
  return element('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'runs' }, table)
}

const figureHeader = ({ key, label }: Figure, state: ViewState, change: Change): HTMLElement =>
  header(key, label, key === 'state' ? 'state' : 'number', state, change)

/** The first click sorts in ascending order, the second in descending order, the third as before. */
function header(key: string, label: string, kind: string, { sort }: ViewState, change: Change): HTMLElement {
  const direction = sort === key ? 'ascending' : sort === `-${key}` ? 'descending' : 'none'
  const arrow = { ascending: ' ↑', descending: ' ↓', none: '' }[direction]
  const button = element('button', { type: 'button', id: `sort-${key}`, class: 'sort' }, `${label}${arrow}`)
  const next = { none: key, ascending: `-${key}`, descending: '' }[direction]
  button.addEventListener('click', () => change({ sort: next }))
  return element('th', { scope: 'col', class: kind, 'aria-sort': direction }, button)
}

/** Runs without a value come last in either order. */
function sorted(runs: readonly RunSummary[], figures: readonly Figure[], sort: string): readonly RunSummary[] {
  const key = sort.replace(/^-/, '')
  const figure = figures.find(known => known.key === key)
  const figureOf = (run: RunSummary): number | string | null | undefined =>
    key === NAME ? run.info.name : figure?.value(run)
  if (key !== NAME && figure === undefined) return runs
  const sign = sort.startsWith('-') ? -1 : 1
  return runs.toSorted((a, b) => {
    const [x, y] = [figureOf(a), figureOf(b)]
    if (x == null || y == null) return Number(x == null) - Number(y == null)
    if (typeof x === 'number' && typeof y === 'number') return sign * (x - y)
    return sign * String(x).localeCompare(String(y), 'en', { numeric: true })
  })
}

function row(
  run: RunSummary,
  index: number,
  figures: readonly Figure[],
  state: ViewState,
  change: Change,
): HTMLElement {
  const { info, message } = run
  const box = element('input', { type: 'checkbox', id: `show-${index}` })
  box.checked = !state.hidden.includes(info.id)
  box.addEventListener('change', () => {
    const others = state.hidden.filter(id => id !== info.id)
    change({ hidden: box.checked ? others : [...others, info.id] })
  })
  const swatch = element('span', { class: `swatch run-${index % COLOURS}`, 'aria-hidden': 'true' })
  const name = element('span', { class: 'name', title: info.name }, info.name)
  const cells = figures.map(figure => {
    const text = figureText(figure, run)
    return figure.key === 'state'
      ? element('td', { class: `state ${stateClass(run)}`, title: message }, text)
      : element('td', { class: 'number' }, text)
  })
  return element('tr', {}, element('th', { scope: 'row' }, element('label', {}, box, swatch, name)), ...cells)
}

export const stateClass = (run: RunSummary): string => (isSilent(run) ? 'stopped' : run.outcome)
