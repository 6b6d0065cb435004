/** Options of sinks -> open sinks. Each sink's code is loaded only when it is asked for. */
import { join } from 'node:path'
import type { MonitoringOptions, SinkName } from './options.js'
import { GuardedSink, type MetricSink, type SinkFailure, type SinkOpener } from './sink.js'

/** Told the address of the page once it is served. */
export type OnAddress = (address: string) => void

/** Never rejects: a sink that cannot be opened is reported, and the others go on without it. */
export async function openSinks(
  options: MonitoringOptions,
  onFailure: SinkFailure,
  onAddress: OnAddress = () => {},
): Promise<MetricSink[]> {
  const chosen = (Object.keys(openers) as SinkName[]).filter(name => options[name] !== undefined)
  return Promise.all(
    chosen.map(name => GuardedSink.open(name, fail => openers[name](options, fail, onAddress), onFailure)),
  )
}

type Opener = (options: MonitoringOptions, fail: Parameters<SinkOpener>[0], onAddress: OnAddress) => Promise<MetricSink>

const openers: Readonly<Record<SinkName, Opener>> = {
  jsonl: async ({ folder, jsonl }, fail) => {
    const { jsonlSink, LOG_NAME } = await import('./jsonl-log.js')
    return jsonlSink(jsonl?.path ?? join(folder, LOG_NAME), fail)
  },
  tensorboard: async ({ folder, tensorboard }, fail) => {
    const { tensorboardSink } = await import('./tensorboard-sink.js')
    return tensorboardSink({ ...tensorboard!, folder: tensorboard!.folder ?? join(folder, 'tensorboard') }, fail)
  },
  wandb: async ({ folder, wandb }, fail) => {
    const { wandbSink } = await import('./wandb-sink.js')
    return wandbSink({ ...wandb!, folder: wandb!.folder ?? join(folder, 'wandb') }, fail)
  },
  prometheus: async ({ folder, prometheus }, fail) => {
    const { prometheusSink } = await import('./prometheus.js')
    return prometheusSink(prometheus?.path ?? join(folder, 'metrics.prom'), fail)
  },
  trace: async ({ folder, trace }, fail) => {
    const { traceSink } = await import('./trace-sink.js')
    return traceSink(trace?.path ?? join(folder, 'trace.json'), fail)
  },
  results: async ({ folder, results }, fail) => {
    const { resultsSink } = await import('./results-sink.js')
    return resultsSink(results?.path ?? join(folder, 'results.jsonl'), fail)
  },
  dashboard: async ({ dashboard }, _fail, onAddress) => {
    const { dashboardSink } = await import('./dashboard-sink.js')
    return dashboardSink(dashboard!.port, onAddress)
  },
}
