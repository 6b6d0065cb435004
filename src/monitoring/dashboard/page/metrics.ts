/** Charts by metric: titles, number formats, and the lines that share a chart. */
import { compact, fixed, scientific, whole } from './numbers.js'

export interface Kind {
  readonly title: string
  readonly metrics: readonly string[]
  /** Whether the values follow from the options, so that there is no noise to smooth. */
  readonly isExact?: boolean
  format(value: number): string
}

interface KnownKind {
  readonly title: string
  readonly metrics: RegExp
  readonly isExact?: boolean
  readonly format: (value: number) => string
}

/** In the order of the charts. Every metric that matches none gets a separate chart after these. */
const KINDS: readonly KnownKind[] = [
  { title: 'Loss', metrics: /^(train|held_out)\/(.+\/)?loss$/, format: fixed(4) },
  { title: 'Perplexity', metrics: /^held_out\/(.+\/)?perplexity$/, format: fixed(2) },
  { title: 'Bits per byte', metrics: /^held_out\/(.+\/)?bits_per_byte$/, format: fixed(3) },
  { title: 'Learning rate', metrics: /^train\/learning_rate$/, format: scientific, isExact: true },
  { title: 'Gradient norm', metrics: /^train\/gradient_norm$/, format: fixed(3) },
  { title: 'Tokens per second', metrics: /^train\/tokens_per_second$/, format: whole },
  { title: 'Step time (ms)', metrics: /^train\/step_ms$/, format: fixed(1) },
  { title: 'Records per second', metrics: /\/records_per_second$/, format: whole },
  { title: 'Throughput (MB/s)', metrics: /\/megabytes_per_second$/, format: fixed(1) },
  { title: 'Memory (MB)', metrics: /\/memory_mb$/, format: whole },
]

/** Metrics without a chart: they are derived from others, or only grow. */
const NOT_DRAWN = /^train\/(loss_average|samples_per_second|consumed_tokens)$|^held_out\/(.+\/)?samples_per_second$/

export const isDrawn = (metric: string): boolean => !NOT_DRAWN.test(metric)

export const isHeldOut = (metric: string): boolean => metric.startsWith('held_out/')

export function kindsOf(metrics: Iterable<string>): Kind[] {
  const left = new Set(metrics)
  const kinds = KINDS.map(({ metrics: wanted, ...kind }) => ({
    ...kind,
    metrics: [...left]
      .filter(name => wanted.test(name) && left.delete(name))
      .toSorted((a, b) => Number(isHeldOut(a)) - Number(isHeldOut(b))),
  }))
  return [
    ...kinds.filter(kind => kind.metrics.length > 0),
    ...Array.from(left, name => ({ title: readable(name), metrics: [name], format: compact })),
  ]
}

/** What distinguishes a metric from the others of its chart: train, held-out, the name of a set, source or pipeline. */
export function lineName(metric: string): string {
  const [group = '', ...rest] = metric.split('/')
  const own = rest.slice(0, -1).join('/')
  const groupName = group === 'held_out' ? 'held-out' : group
  return own === '' ? groupName : `${groupName} ${own}`
}

const readable = (metric: string): string => {
  const name = metric.replaceAll('_', ' ').replace('/', ': ')
  return name.charAt(0).toUpperCase() + name.slice(1)
}
