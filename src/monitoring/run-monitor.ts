/** Connects a run to its sinks: logs the start, forwards every event to all sinks, and closes them at the end. */
import { randomInt } from 'node:crypto'
import { FlowMeter } from './flow.js'
import type { PipelineGraph } from './pipeline-graph.js'
import type { PipelineSnapshot, RunEvent, RunOutcome } from './run-event.js'
import type { MetricSink } from './sinks/sink.js'

export interface MonitoredRun {
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly pipelines: readonly PipelineGraph[]
}

export class RunMonitor {
  private readonly sinks: readonly MetricSink[]
  /** Undefined for a training run, which logs metrics per step instead. */
  private readonly throughput: Throughput | undefined

  constructor(run: MonitoredRun, sinks: readonly MetricSink[]) {
    this.sinks = sinks
    const { name, config, pipelines } = run
    const startedAt = Date.now()
    const trains = pipelines.some(({ nodes }) => nodes.some(node => node.name === 'feed-trainer'))
    this.throughput = trains ? undefined : new Throughput(startedAt)
    this.log({ kind: 'run-start', time: startedAt, run: { id: newRunId(), name, startedAt, config, pipelines } })
  }

  progress(snapshot: PipelineSnapshot): void {
    const time = Date.now()
    this.log({ kind: 'progress', time, snapshot })
    const metrics = this.throughput?.update(time, snapshot)
    if (metrics !== undefined) this.log(metrics)
  }

  async end(outcome: RunOutcome, message?: string): Promise<void> {
    this.log({ kind: 'run-end', time: Date.now(), outcome, ...(message === undefined ? {} : { message }) })
    await Promise.all(this.sinks.map(sink => sink.close()))
  }

  log(event: RunEvent): void {
    for (const sink of this.sinks) sink.log(event)
  }
}

/** Metrics of a run without training: rates, once per second. */
class Throughput {
  private readonly startedAt: number
  private readonly meter = new FlowMeter()
  private second = 0

  constructor(startedAt: number) {
    this.startedAt = startedAt
  }

  /** Undefined if the metrics of the current second have been logged. */
  update(time: number, snapshot: PipelineSnapshot): RunEvent | undefined {
    const flows = this.meter.update(snapshot)
    const second = Math.floor((time - this.startedAt) / 1000)
    if (second <= this.second) return undefined
    const durationMs = (second - this.second) * 1000
    this.second = second
    const { pipeline } = snapshot
    return {
      kind: 'metrics',
      time,
      step: second,
      durationMs,
      values: {
        [`${pipeline}/records_per_second`]: Math.max(...flows.map(flow => flow.recordsPerSecond)),
        [`${pipeline}/megabytes_per_second`]: Math.max(...flows.map(flow => flow.bytesPerSecond)) / 1e6,
        [`${pipeline}/memory_mb`]: process.memoryUsage.rss() / 1e6,
      },
    }
  }
}

/** Eight lower-case letters and digits, like a W&B run id. */
function newRunId(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'
  return Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]!).join('')
}
