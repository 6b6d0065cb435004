/** History of a run for the dashboard: each metric as a column, and the latest of everything else. */

import { FlowMeter, type StageFlow } from '../flow.js'
import type { PipelineSnapshot, RunEvent, RunInfo, RunOutcome } from '../run-event.js'
import { plainSnapshot } from '../sinks/jsonl-log.js'
import { Column, interpolate } from './column.js'
import { downsample, firstAtLeast } from './downsample.js'

const KEPT_ENTRIES = 50

/** Horizontal axis of the charts: steps, tokens, or seconds of running time. */
export type Axis = 'step' | 'tokens' | 'time'

/** State of a pipeline as shown on the page. */
export interface PipelineState {
  readonly snapshot: PipelineSnapshot
  readonly flows: readonly StageFlow[]
  readonly outcome: RunOutcome | 'running'
}

export interface TextEntry {
  readonly time: number
  readonly step?: number
  readonly text: string
}

/** A run without the points of its metrics, as sent to the page. */
export interface RunSummary {
  readonly info: RunInfo
  readonly metrics: readonly string[]
  readonly latest: Readonly<Record<string, number | null>>
  readonly lastStep: number
  readonly totalSteps: number | undefined
  readonly updatedAt: number
  /** Time spent running: without pauses between a stop and a resume. */
  readonly elapsedMs: number
  readonly outcome: RunOutcome | 'running'
  readonly message: string
  readonly pipelines: Readonly<Record<string, PipelineState>>
  readonly notes: readonly TextEntry[]
  readonly samples: readonly TextEntry[]
}

export class RunHistory {
  info: RunInfo | undefined
  private readonly columns = new Map<string, Column>()
  /** Seconds of running time at each step. */
  private readonly seconds = new Column()
  private readonly pipelines = new Map<string, PipelineState>()
  private readonly notes: TextEntry[] = []
  private readonly samples: TextEntry[] = []
  private meter = new FlowMeter()
  private lastStep = 0
  private totalSteps: number | undefined
  private updatedAt = 0
  /** Time between a stop or kill and the next start. */
  private pausedMs = 0
  private outcome: RunSummary['outcome'] = 'running'
  private message = ''

  add(event: RunEvent): void {
    if (event.kind === 'run-start') this.start(event)
    this.updatedAt = event.time
    switch (event.kind) {
      case 'metrics':
        this.lastStep = event.step
        this.totalSteps = event.totalSteps ?? this.totalSteps
        this.seconds.add(event.step, this.elapsedMs / 1000)
        for (const [name, value] of Object.entries(event.values)) this.column(name).add(event.step, value)
        break
      case 'progress':
        this.addProgress(event.snapshot)
        break
      case 'checkpoint':
        keepNewest(this.notes, { time: event.time, step: event.step, text: `saved ${event.path}` })
        break
      case 'resume':
        this.lastStep = event.step
        for (const column of [...this.columns.values(), this.seconds]) column.dropAfter(event.step)
        this.note(`resumed after step ${event.step} from ${event.path}`)
        break
      case 'note':
        this.note(event.message)
        break
      case 'sample':
        keepNewest(this.samples, { time: event.time, step: event.step, text: event.text })
        break
      case 'run-end':
        this.outcome = event.outcome
        this.message = event.message ?? ''
        this.settlePipelines(event.outcome)
        this.note(this.message === '' ? event.outcome : `${event.outcome}: ${this.message}`)
        break
    }
  }

  /** Adds a note that is not an event of the run. */
  note(text: string): void {
    keepNewest(this.notes, { time: this.updatedAt, text })
  }

  get elapsedMs(): number {
    return this.info === undefined ? 0 : Math.max(0, this.updatedAt - this.info.startedAt - this.pausedMs)
  }

  pipelineState(pipeline: string): PipelineState | undefined {
    return this.pipelines.get(pipeline)
  }

  summary(): RunSummary | undefined {
    if (this.info === undefined) return undefined
    const latest = [...this.columns]
      .filter(([, column]) => column.count > 0)
      .map(([name, column]) => [name, finite(column.latest!)] as const)
    return {
      info: this.info,
      metrics: [...this.columns.keys()],
      latest: Object.fromEntries(latest),
      lastStep: this.lastStep,
      totalSteps: this.totalSteps,
      updatedAt: this.updatedAt,
      elapsedMs: this.elapsedMs,
      outcome: this.outcome,
      message: this.message,
      pipelines: Object.fromEntries(this.pipelines),
      notes: this.notes,
      samples: this.samples,
    }
  }

  /**
   * At most `limit` points of a metric with positions in [from, to] on an axis; non-finite values are null. `xs` are the
   * positions of the steps.
   */
  series(
    metric: string,
    { axis = 'step', from, to, limit }: { axis?: Axis | undefined; from: number; to: number; limit: number },
  ) {
    const column = this.columns.get(metric)
    if (column === undefined) return { steps: [], xs: [], values: [] }
    const scale =
      axis === 'step'
        ? undefined
        : axis === 'time'
          ? this.seconds
          : (this.columns.get('train/consumed_tokens') ?? this.seconds)
    const stepAt = (x: number): number =>
      scale === undefined || !Number.isFinite(x) ? x : interpolate(scale.values, scale.steps, scale.count, x)
    // One additional point on each side, so that lines extend to the edges.
    const first = Math.max(0, firstAtLeast(column.steps, column.count, stepAt(from)) - 1)
    const end = Math.min(column.count, firstAtLeast(column.steps, column.count, stepAt(to)) + 2)
    const { steps, values } = downsample(column, first, end, limit)
    const xs =
      scale === undefined ? steps : steps.map(step => interpolate(scale.steps, scale.values, scale.count, step))
    return { steps, xs, values: values.map(finite) }
  }

  /** A resumed run that appends to the same log keeps its original start. */
  private start({ time, run }: Extract<RunEvent, { kind: 'run-start' }>): void {
    if (this.info === undefined) {
      this.info = run
    } else {
      this.pausedMs += Math.max(0, time - this.updatedAt)
      // The last attempt may have been killed.
      if (this.outcome === 'running') this.settlePipelines('stopped')
      this.info = { ...run, id: this.info.id, name: this.info.name, startedAt: this.info.startedAt }
    }
    this.outcome = 'running'
    this.message = ''
    this.meter = new FlowMeter()
  }

  /** The pipelines of a run follow each other, so progress of one means that the others have ended. */
  private addProgress(snapshot: PipelineSnapshot): void {
    for (const [name, state] of this.pipelines) {
      if (name !== snapshot.pipeline && state.outcome === 'running') {
        this.pipelines.set(name, { ...state, outcome: 'done' })
      }
    }
    const isDone = snapshot.stages.every(({ stats }) => stats.state === 'ended')
    this.pipelines.set(snapshot.pipeline, {
      snapshot: plainSnapshot(snapshot),
      flows: this.meter.update(snapshot),
      outcome: isDone ? 'done' : 'running',
    })
  }

  private settlePipelines(outcome: RunOutcome): void {
    for (const [name, state] of this.pipelines) {
      if (state.outcome === 'running') this.pipelines.set(name, { ...state, outcome })
    }
  }

  private column(name: string): Column {
    const column = this.columns.get(name) ?? new Column()
    this.columns.set(name, column)
    return column
  }
}

function keepNewest(entries: TextEntry[], entry: TextEntry): void {
  entries.push(entry)
  if (entries.length > KEPT_ENTRIES) entries.shift()
}

const finite = (value: number): number | null => (Number.isFinite(value) ? value : null)
