/** Generated texts and events of the shown runs, newest first, with a filter by text and by run. */
import type { RunSummary, TextEntry } from '../run-history.js'
import { COLOURS } from './colours.js'
import { byId, element } from './dom.js'
import { whole } from './numbers.js'
import type { ViewState } from './view-state.js'

type Change = (changes: Partial<ViewState>) => void

/** Shows the entries of the runs; `colourOf` is the index of a run in the list of all runs. */
export function drawEntries(
  runs: readonly RunSummary[],
  state: ViewState,
  colourOf: (run: RunSummary) => number,
): void {
  const chosen = runs.filter(run => state.only === '' || run.info.id === state.only)
  for (const kind of ['samples', 'notes'] as const) {
    const all = runs.flatMap(run => run[kind])
    const found = chosen
      .flatMap(run => run[kind].map(entry => ({ run, entry })))
      .filter(({ entry }) => entry.text.toLowerCase().includes(state.filter.toLowerCase()))
      .sort((a, b) => b.entry.time - a.entry.time)
    byId(`${kind}-section`).hidden = all.length === 0
    const items = found.map(({ run, entry }) => item(run, entry, runs.length > 1 ? colourOf(run) : undefined))
    const none = element('li', {}, element('span', { class: 'when' }, 'none matches the filter'))
    const list = element('ul', { class: 'entries', tabindex: 0, 'aria-labelledby': `${kind}-title` })
    list.append(...(items.length === 0 ? [none] : items))
    byId(kind).replaceChildren(list)
  }
  byId('entries-filter').hidden = runs.every(run => run.samples.length + run.notes.length === 0)
}

function item(run: RunSummary, { time, step, text }: TextEntry, colour: number | undefined): HTMLElement {
  const at = element('time', { datetime: new Date(time).toISOString() }, new Date(time).toLocaleTimeString())
  const parts = [
    ...(colour === undefined
      ? []
      : [element('span', { class: `swatch run-${colour % COLOURS}`, 'aria-hidden': 'true' }), `${run.info.name} · `]),
    ...(step === undefined ? [] : [`step ${whole(step)} · `]),
    at,
  ]
  return element('li', {}, element('span', { class: 'when' }, ...parts), element('span', { class: 'what' }, text))
}

/** The controls of the filter; the text keeps its focus while the lists change. */
export function entryFilter(runs: readonly RunSummary[], state: ViewState, change: Change): HTMLElement[] {
  const search = element('input', {
    type: 'search',
    id: 'filter',
    placeholder: 'Filter texts and events',
    'aria-label': 'Filter texts and events',
    value: state.filter,
  })
  search.addEventListener('input', () => change({ filter: search.value }))
  if (runs.length < 2) return [search]
  const select = element('select', { id: 'only', 'aria-label': 'Run of the texts and events' })
  for (const [id, name] of [['', 'all runs'], ...runs.map(({ info }) => [info.id, info.name])]) {
    select.append(element('option', { value: id!, selected: id === state.only }, name!))
  }
  select.addEventListener('change', () => change({ only: select.value }))
  return [search, select]
}
