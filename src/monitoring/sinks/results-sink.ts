/** Results as JSON lines of the form that the reference system's `results_subscriber` `to_disc` writes. */
import { LogFile } from './log-file.js'
import { referenceNames } from './metric-names.js'
import type { MetricSink } from './sink.js'

interface Result {
  readonly dataloader_tag: string
  readonly num_train_steps_done: number
  readonly losses: Record<string, number>
  readonly metrics: Record<string, number>
  readonly throughput_metrics: Record<string, number>
}

export function resultsSink(path: string, fail: (error: unknown) => void): MetricSink {
  const file = new LogFile(path, 'append', fail)
  return {
    log(event) {
      if (event.kind !== 'metrics') return
      for (const result of resultsOf(event.step, event.values)) file.write(`${JSON.stringify(result)}\n`)
    },
    close: () => file.close(),
  }
}

/** One result for each data loader; what the reference has no name for is left out. */
function resultsOf(step: number, values: Readonly<Record<string, number>>): Iterable<Result> {
  const byTag = new Map<string, Result>()
  for (const [ours, value] of Object.entries(values)) {
    const reference = referenceNames[ours]
    if (reference === undefined) continue
    const { tag, part, name } = reference
    const empty: Result = {
      dataloader_tag: tag,
      num_train_steps_done: step,
      losses: {},
      metrics: {},
      throughput_metrics: {},
    }
    const result = byTag.get(tag) ?? empty
    result[part][name] = value
    byTag.set(tag, result)
  }
  return byTag.values()
}
