/** Work that is divided into shards: its figures as tiles, its progress, and the shards that have failed. */
import type { PlanProgress, ShardState } from '../plan-progress.js'
import { element } from './dom.js'
import { bytes, duration, whole } from './numbers.js'

/** Faulty shards that are listed. */
const MAX_LISTED = 50
const FAULTY: readonly ShardState[] = ['failed', 'lost', 'retry']
const CLASSES: Readonly<Partial<Record<ShardState, string>>> = { failed: 'failed', lost: 'stopped', retry: 'stopped' }

export function planOverview(plan: PlanProgress): HTMLElement {
  const { name, doneBytes, bytes: total } = plan
  const progress = element('progress', { max: Math.max(1, total), value: doneBytes, 'aria-label': `${name}: bytes` })
  const tiles = figuresOf(plan).map(([label, value, style]) =>
    element('div', { class: 'tile' }, element('dt', {}, label), element('dd', { class: style }, value)),
  )
  return element(
    'div',
    { class: 'overview plan' },
    element('h3', {}, name),
    progress,
    element('dl', {}, ...tiles),
    ...faulty(plan),
  )
}

type Shown = readonly [label: string, value: string, style: string]

function figuresOf(plan: PlanProgress): Shown[] {
  const { counts, documents, tokens, records, rejected, leftMs } = plan
  const some = (label: string, amount: number): Shown[] => (amount > 0 ? [[label, whole(amount), '']] : [])
  return [
    ['Done', `${whole(counts.done)} of ${whole(plan.shards)}`, ''],
    ['Running', whole(counts.running), ''],
    ['Waiting', whole(counts.waiting), ''],
    ...FAULTY.filter(state => counts[state] > 0).map(
      (state): Shown => [state === 'retry' ? 'To retry' : capital(state), whole(counts[state]), CLASSES[state]!],
    ),
    ['Read', `${bytes(plan.doneBytes)} of ${bytes(plan.bytes)}`, ''],
    ...some('Documents', documents),
    ...some('Tokens', tokens),
    ...some('Records', records),
    ...some('Rejected', rejected),
    ['Time left', leftMs === undefined ? '–' : duration(leftMs), ''],
  ]
}

const capital = (word: string): string => word[0]!.toUpperCase() + word.slice(1)

function faulty({ active }: PlanProgress): HTMLElement[] {
  const found = FAULTY.flatMap(state => active.filter(shard => shard.state === state))
  const more = found.length - MAX_LISTED
  return [
    ...found.slice(0, MAX_LISTED).map(({ shard, state, process, error }) => {
      const place = error === undefined ? (process ?? '') : `${error.host}: ${error.message}`
      return element('p', { class: `message ${CLASSES[state]}` }, `Shard ${shard} ${state}, ${place}`)
    }),
    ...(more > 0 ? [element('p', { class: 'message' }, `and ${whole(more)} more`)] : []),
  ]
}
