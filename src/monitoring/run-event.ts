/**
 * What sinks are told about a run. Times are milliseconds since 1970; `metrics` are named `group/name`, so that charts
 * of one group stand together wherever they are drawn.
 */
import type { PipelineGraph } from './pipeline-graph.js'

export interface RunInfo {
  /** Eight letters and digits, new for each start. */
  readonly id: string
  readonly name: string
  readonly startedAt: number
  /** Options of every stage, by the stage's name. */
  readonly config: Readonly<Record<string, unknown>>
  readonly pipelines: readonly PipelineGraph[]
}

/** What a stage has done so far, as stages count it. */
export interface StageCounts {
  readonly itemsIn: number
  readonly itemsOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly recordsIn: number
  readonly recordsOut: number
  readonly rejected: number
  readonly waitedForInputMs: number
  readonly waitedForOutputMs: number
  readonly state: 'idle' | 'working' | 'waiting for input' | 'waiting for output' | 'ended'
  readonly counts: Readonly<Record<string, number>>
  readonly notes: readonly string[]
}

/** The stages of the running pipeline. Their stats are live: a sink that keeps them copies them. */
export interface PipelineSnapshot {
  readonly pipeline: string
  readonly stages: readonly { readonly name: string; readonly stats: StageCounts }[]
  readonly elapsedMs: number
}

export type RunOutcome = 'done' | 'failed' | 'stopped'

export type RunEvent =
  | { readonly kind: 'run-start'; readonly time: number; readonly run: RunInfo }
  | { readonly kind: 'progress'; readonly time: number; readonly snapshot: PipelineSnapshot }
  | {
      readonly kind: 'metrics'
      readonly time: number
      readonly step: number
      readonly values: Readonly<Record<string, number>>
      /** How long what was measured took, up to `time`. */
      readonly durationMs: number
    }
  | {
      readonly kind: 'checkpoint'
      readonly time: number
      readonly step: number
      readonly path: string
      readonly durationMs: number
    }
  /** A text that the model wrote. */
  | { readonly kind: 'sample'; readonly time: number; readonly step: number; readonly text: string }
  | { readonly kind: 'note'; readonly time: number; readonly message: string }
  | { readonly kind: 'run-end'; readonly time: number; readonly outcome: RunOutcome; readonly message?: string }
