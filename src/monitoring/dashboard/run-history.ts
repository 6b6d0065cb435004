/**
 * History of a run for the dashboard: each metric as two columns, and the latest of everything else. Memory is bounded: a
 * metric that reaches its limit is downsampled to half, keeping minima and maxima.
 */

import { FlowMeter, type StageFlow } from '../flow.js'
import type { PipelineSnapshot, RunEvent, RunInfo, RunOutcome } from '../run-event.js'
import { plainSnapshot } from '../sinks/jsonl-log.js'
import { downsample, indexOfStep } from './downsample.js'

const MAX_POINTS = 1 << 18
const KEPT_ENTRIES = 50

/** One metric; steps ascend. */
class Column {
  steps = new Float64Array(256)
  values = new Float64Array(256)
  count = 0

  /** A step that is not after the last one drops all later points: the run resumed from a checkpoint. */
  add(step: number, value: number): void {
    if (this.count > 0 && step <= this.steps[this.count - 1]!) this.count = indexOfStep(this.steps, this.count, step)
    if (this.count === this.steps.length) this.makeRoom()
    this.steps[this.count] = step
    this.values[this.count++] = value
  }

  dropAfter(step: number): void {
    this.count = indexOfStep(this.steps, this.count, step + 1)
  }

  private makeRoom(): void {
    if (this.count >= MAX_POINTS) {
      const kept = downsample(this, 0, this.count, MAX_POINTS / 2)
      this.steps.set(kept.steps)
      this.values.set(kept.values)
      this.count = kept.steps.length
      return
    }
    const grown = (column: Float64Array): Float64Array<ArrayBuffer> => {
      const longer = new Float64Array(column.length * 2)
      longer.set(column)
      return longer
    }
    this.steps = grown(this.steps)
    this.values = grown(this.values)
  }
}

/** State of a pipeline as shown on the page. */
export interface PipelineState {
  readonly snapshot: PipelineSnapshot
  readonly flows: readonly StageFlow[]
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
  readonly updatedAt: number
  readonly outcome: RunOutcome | 'running'
  readonly message: string
  readonly pipelines: Readonly<Record<string, PipelineState>>
  readonly notes: readonly TextEntry[]
  readonly samples: readonly TextEntry[]
}

export class RunHistory {
  info: RunInfo | undefined
  private readonly columns = new Map<string, Column>()
  private readonly pipelines = new Map<string, PipelineState>()
  private readonly notes: TextEntry[] = []
  private readonly samples: TextEntry[] = []
  private readonly meter = new FlowMeter()
  private lastStep = 0
  private updatedAt = 0
  private outcome: RunSummary['outcome'] = 'running'
  private message = ''

  add(event: RunEvent): void {
    this.updatedAt = event.time
    switch (event.kind) {
      case 'run-start':
        // A resumed run that appends to the same log keeps its original start.
        this.info ??= event.run
        this.outcome = 'running'
        break
      case 'metrics':
        this.lastStep = event.step
        for (const [name, value] of Object.entries(event.values)) this.column(name).add(event.step, value)
        break
      case 'progress': {
        const flows = this.meter.update(event.snapshot)
        this.pipelines.set(event.snapshot.pipeline, { snapshot: plainSnapshot(event.snapshot), flows })
        break
      }
      case 'checkpoint':
        keepNewest(this.notes, { time: event.time, step: event.step, text: `saved ${event.path}` })
        break
      case 'resume':
        for (const column of this.columns.values()) column.dropAfter(event.step)
        keepNewest(this.notes, { time: event.time, text: `resumed after step ${event.step} from ${event.path}` })
        break
      case 'note':
        keepNewest(this.notes, { time: event.time, text: event.message })
        break
      case 'sample':
        keepNewest(this.samples, { time: event.time, step: event.step, text: event.text })
        break
      case 'run-end':
        this.outcome = event.outcome
        this.message = event.message ?? ''
        break
    }
  }

  /** Adds a note that is not an event of the run. */
  note(text: string): void {
    keepNewest(this.notes, { time: this.updatedAt, text })
  }

  pipelineState(pipeline: string): PipelineState | undefined {
    return this.pipelines.get(pipeline)
  }

  summary(): RunSummary | undefined {
    if (this.info === undefined) return undefined
    const latest = [...this.columns]
      .filter(([, column]) => column.count > 0)
      .map(([name, column]) => [name, finite(column.values[column.count - 1]!)] as const)
    return {
      info: this.info,
      metrics: [...this.columns.keys()],
      latest: Object.fromEntries(latest),
      lastStep: this.lastStep,
      updatedAt: this.updatedAt,
      outcome: this.outcome,
      message: this.message,
      pipelines: Object.fromEntries(this.pipelines),
      notes: this.notes,
      samples: this.samples,
    }
  }

  /** At most `limit` points of a metric with steps in [from, to]; non-finite values are null. */
  series(metric: string, { from, to, limit }: { from: number; to: number; limit: number }) {
    const column = this.columns.get(metric)
    if (column === undefined) return { steps: [], values: [] }
    // One additional point on each side, so that lines extend to the edges.
    const first = Math.max(0, indexOfStep(column.steps, column.count, from) - 1)
    const end = Math.min(column.count, indexOfStep(column.steps, column.count, to) + 2)
    const { steps, values } = downsample(column, first, end, limit)
    return { steps, values: values.map(finite) }
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
