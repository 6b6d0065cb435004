/** Opens the sinks that the options enable. The code of each sink is loaded on demand. */
import type { MonitoringOptions, SinkName } from './options.js'
import { sinkFiles, sinkFolders } from './sink-paths.js'
import { GuardedSink, type MetricSink, type SinkFailure, type SinkOpener } from './sinks/sink.js'

/** Called with the address of the dashboard once it is served. */
export type OnAddress = (address: string) => void

/** Never rejects: a sink that cannot be opened is reported to `onFailure`, and the others are unaffected. */
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
  jsonl: async (options, fail) => {
    const { jsonlSink } = await import('./sinks/jsonl-log.js')
    return jsonlSink(sinkFiles(options).jsonl!, fail)
  },
  tensorboard: async (options, fail) => {
    const { tensorboardSink } = await import('./sinks/tensorboard-sink.js')
    return tensorboardSink({ ...options.tensorboard!, folder: sinkFolders(options).tensorboard! }, fail)
  },
  wandb: async (options, fail) => {
    const { wandbSink } = await import('./sinks/wandb-sink.js')
    return wandbSink({ ...options.wandb!, folder: sinkFolders(options).wandb! }, fail)
  },
  prometheus: async (options, fail) => {
    const { prometheusSink } = await import('./sinks/prometheus.js')
    return prometheusSink(sinkFiles(options).prometheus!, fail)
  },
  trace: async (options, fail) => {
    const { traceSink } = await import('./sinks/trace-sink.js')
    return traceSink(sinkFiles(options).trace!, fail)
  },
  results: async (options, fail) => {
    const { resultsSink } = await import('./sinks/results-sink.js')
    return resultsSink(sinkFiles(options).results!, fail)
  },
  dashboard: async ({ dashboard }, _fail, onAddress) => {
    const { dashboardSink } = await import('./dashboard/dashboard-sink.js')
    return dashboardSink(dashboard!.port, onAddress)
  },
}
