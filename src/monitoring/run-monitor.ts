/**
 * Stands between a run and its sinks: turns what the runner and its stages tell into events, and hands them to every
 * sink. Nothing that it is told can make it throw.
 */
import { randomInt } from 'node:crypto'
import type { TrainingEvent } from '../training/trainer.js'
import { fromTraining } from './metric-names.js'
import type { PipelineGraph } from './pipeline-graph.js'
import type { PipelineSnapshot, RunEvent, RunOutcome } from './run-event.js'
import type { MetricSink } from './sink.js'

export interface MonitoredRun {
  readonly name: string
  readonly config: Readonly<Record<string, unknown>>
  readonly pipelines: readonly PipelineGraph[]
  /** Of the model that is trained: turns tokens a second into samples a second. */
  readonly sequenceLength?: number | undefined
}

export class RunMonitor {
  private readonly sinks: readonly MetricSink[]
  private readonly run: MonitoredRun

  constructor(run: MonitoredRun, sinks: readonly MetricSink[]) {
    this.run = run
    this.sinks = sinks
    const { name, config, pipelines } = run
    const startedAt = Date.now()
    this.log({ kind: 'run-start', time: startedAt, run: { id: newRunId(), name, startedAt, config, pipelines } })
  }

  progress(snapshot: PipelineSnapshot): void {
    this.log({ kind: 'progress', time: Date.now(), snapshot })
  }

  /** What a stage reported. */
  report(event: unknown): void {
    const known = fromTraining(event as TrainingEvent, Date.now(), this.run.sequenceLength)
    if (known !== undefined) this.log(known)
  }

  async end(outcome: RunOutcome, message?: string): Promise<void> {
    this.log({ kind: 'run-end', time: Date.now(), outcome, ...(message === undefined ? {} : { message }) })
    await Promise.all(this.sinks.map(sink => sink.close()))
  }

  private log(event: RunEvent): void {
    for (const sink of this.sinks) sink.log(event)
  }
}

/** Eight small letters and digits, as W&B names runs. */
function newRunId(): string {
  const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'
  return Array.from({ length: 8 }, () => alphabet[randomInt(alphabet.length)]!).join('')
}
