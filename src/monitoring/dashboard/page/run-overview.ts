/** The figures of a single run as tiles, with its progress. */
import type { RunSummary } from '../run-history.js'
import { element } from './dom.js'
import { figuresOf, figureText, totalStepsOf } from './figures.js'
import { stateClass } from './run-table.js'

export function runOverview(run: RunSummary): HTMLElement {
  const tiles = figuresOf([run]).map(figure => {
    const value = element('dd', figure.key === 'state' ? { class: stateClass(run) } : {}, figureText(figure, run))
    return element('div', { class: 'tile' }, element('dt', {}, figure.label), value)
  })
  const message = run.message === '' ? [] : [element('p', { class: `message ${stateClass(run)}` }, run.message)]
  return element('div', { class: 'overview' }, ...progressOf(run), element('dl', {}, ...tiles), ...message)
}

function progressOf(run: RunSummary): HTMLElement[] {
  const total = totalStepsOf(run)
  if (total === undefined || total === 0) return []
  return [element('progress', { max: total, value: Math.min(run.lastStep, total), 'aria-label': 'steps' })]
}
