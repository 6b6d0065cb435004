/** Options of the runs: a table of those in which they differ, and all options of each run. */
import type { RunSummary } from '../run-history.js'
import { COLOURS } from './colours.js'
import { element } from './dom.js'

const SHOWN_VALUE = 60

export function optionsOf(runs: readonly RunSummary[], colourOf: (run: RunSummary) => number): HTMLElement[] {
  const all = runs.map(({ info }) => {
    const text = JSON.stringify(info.config, null, 2)
    const title = runs.length > 1 ? info.name : 'all options'
    return element('details', {}, element('summary', {}, title), element('pre', { tabindex: 0 }, text))
  })
  return runs.length > 1 ? [differences(runs, colourOf), ...all] : all
}

/** Of stages that not all runs have, only the names. */
function differences(runs: readonly RunSummary[], colourOf: (run: RunSummary) => number): HTMLElement {
  const isCommon = (stage: string): boolean => runs.every(({ info }) => Object.hasOwn(info.config, stage))
  const options = runs.map(({ info: { config } }) => {
    const stages = Object.keys(config)
    const common = Object.fromEntries(stages.filter(isCommon).map(stage => [stage, config[stage]]))
    return flattened({ ...common, 'further stages': stages.filter(stage => !isCommon(stage)).join(', ') })
  })
  const paths = [...new Set(options.flatMap(values => [...values.keys()]))]
  const differing = paths.filter(path => new Set(options.map(values => values.get(path))).size > 1)
  if (differing.length === 0) return element('p', { class: 'empty' }, 'The shown runs have the same options.')
  const heads = runs.map(run => {
    const swatch = element('span', { class: `swatch run-${colourOf(run) % COLOURS}`, 'aria-hidden': 'true' })
    return element('th', { scope: 'col' }, swatch, run.info.name)
  })
  const head = element('tr', {}, element('th', { scope: 'col' }, 'Options that differ'), ...heads)
  const rows = differing.map(path => {
    const cells = options.map(values => element('td', { title: values.get(path) ?? '' }, shortened(values.get(path))))
    return element('tr', {}, element('th', { scope: 'row' }, path), ...cells)
  })
  const table = element('table', {}, element('thead', {}, head), element('tbody', {}, ...rows))
  return element('div', { class: 'scroll', tabindex: 0, role: 'group', 'aria-label': 'options that differ' }, table)
}

/** Values by path, such as `feed-trainer.optimizer.learning_rate`; lists are values. */
function flattened(value: unknown, path = ''): Map<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return new Map([[path, typeof value === 'string' ? value : (JSON.stringify(value) ?? '')]])
  }
  const entries = Object.entries(value).flatMap(([key, inner]) => [
    ...flattened(inner, path === '' ? key : `${path}.${key}`),
  ])
  return new Map(entries)
}

function shortened(value: string | undefined): string {
  if (value === undefined) return '–'
  return value.length <= SHOWN_VALUE ? value : `${value.slice(0, SHOWN_VALUE - 1)}…`
}
