/** Stands between a run and its sinks: begins the run, hands every event to all of them, and closes them at the end. */
import { randomInt } from 'node:crypto'
import type { PipelineGraph } from './pipeline-graph.js'
import type { PipelineSnapshot, RunEvent, RunOutcome } from './run-event.js'
import type { MetricSink } from './sink.js'

export interface MonitoredRun {
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly pipelines: readonly PipelineGraph[]
}

export class RunMonitor {
  private readonly sinks: readonly MetricSink[]

  constructor(run: MonitoredRun, sinks: readonly MetricSink[]) {
    this.sinks = sinks
    const { name, config, pipelines } = run
    const startedAt = Date.now()
    this.log({ kind: 'run-start', time: startedAt, run: { id: newRunId(), name, startedAt, config, pipelines } })
  }

  progress(snapshot: PipelineSnapshot): void {
    this.log({ kind: 'progress', time: Date.now(), snapshot })
  }

  async end(outcome: RunOutcome, message?: string): Promise<void> {
    this.log({ kind: 'run-end', time: Date.now(), outcome, ...(message === undefined ? {} : { message }) })
    await Promise.all(this.sinks.map(sink => sink.close()))
  }

  log(event: RunEvent): void {
    for (const sink of this.sinks) sink.log(event)
  }
}

/** Eight small letters and digits, as W&B names runs. */
function newRunId(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'
  return Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]!).join('')
}
