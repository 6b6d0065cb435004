/** Results as JSON lines, in the format of Modalities' `results_subscriber` `to_disc`. */
import { LogFile } from './log-file.js'
import { modalitiesNames } from './metric-names.js'
import type { MetricSink } from './sink.js'

interface Result {
  readonly dataloader_tag: string
  readonly num_train_steps_done: number
  readonly losses: Record<string, number>
  readonly metrics: Record<string, number>
  readonly throughput_metrics: Record<string, number>
}

export function resultsSink(path: string, fail: (error: unknown) => void): MetricSink {
  const file = new LogFile(path, { kind: 'append', beginning: '{"dataloader_tag":' }, fail)
  return {
    log(event) {
      if (event.kind !== 'metrics') return
      for (const result of resultsOf(event.step, event.values)) file.write(`${JSON.stringify(result)}\n`)
    },
    close: () => file.close(),
  }
}

/** One result per data loader; metrics unknown to Modalities are omitted. */
function resultsOf(step: number, values: Readonly<Record<string, number>>): Iterable<Result> {
  const byTag = new Map<string, Result>()
  for (const [ours, value] of Object.entries(values)) {
    const known = modalitiesNames[ours]
    if (known === undefined) continue
    const { tag, part, name } = known
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
