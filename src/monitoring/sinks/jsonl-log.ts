/**
 * Log of a run as JSON lines: written by the `jsonl` sink, read by `penstock view`. A resumed run appends to the log in
 * its folder. JSON has no NaN or infinity: they are written as null, and `nonFinite` has the original values.
 */

import type { PipelineSnapshot, RunEvent, StageCounts } from '../run-event.js'
import { LogFile } from './log-file.js'
import type { MetricSink } from './sink.js'

/** Name of the log inside a run folder. */
export const LOG_NAME = 'log.jsonl'

/** Interval at which the counts of stages are logged. */
const PROGRESS_EVERY_MS = 5000

type Progress = Extract<RunEvent, { kind: 'progress' }>

export function jsonlSink(path: string, fail: (error: unknown) => void): MetricSink {
  const file = new LogFile(path, { kind: 'append', beginning: '{"kind":"' }, fail)
  let lastProgress = Number.NEGATIVE_INFINITY
  /** The latest counts, until they are written. */
  let unwritten: Progress | undefined
  const write = (event: RunEvent) => file.write(`${JSON.stringify(toLine(event))}\n`)
  /** The final counts of a pipeline are its result. */
  const writeFinalCounts = () => {
    if (unwritten !== undefined) write(unwritten)
    unwritten = undefined
  }
  return {
    log(event) {
      if (event.kind === 'run-end') writeFinalCounts()
      if (event.kind !== 'progress') {
        write(event)
        return
      }
      if (unwritten !== undefined && unwritten.snapshot.pipeline !== event.snapshot.pipeline) writeFinalCounts()
      // Copied, because the stats change.
      unwritten = { ...event, snapshot: plainSnapshot(event.snapshot) }
      if (event.time - lastProgress < PROGRESS_EVERY_MS) return
      lastProgress = event.time
      writeFinalCounts()
    },
    close: () => file.close(),
  }
}

/** An event as written to the log. */
function toLine(event: RunEvent): Record<string, unknown> {
  return event.kind === 'metrics' ? { ...event, ...finiteValues(event.values) } : { ...event }
}

function finiteValues(values: Readonly<Record<string, number>>): Record<string, unknown> {
  const others = Object.entries(values).filter(([, value]) => !Number.isFinite(value))
  return others.length === 0
    ? { values }
    : { values, nonFinite: Object.fromEntries(others.map(([name, value]) => [name, String(value)])) }
}

/** A copy that does not change with the live stats. */
export function plainSnapshot({ pipeline, stages, elapsedMs }: PipelineSnapshot): PipelineSnapshot {
  return {
    pipeline,
    elapsedMs: Math.round(elapsedMs),
    stages: stages.map(({ name, stats }) => ({ name, stats: plainStats(stats) })),
  }
}

function plainStats(stats: StageCounts): StageCounts {
  return {
    ...stats,
    waitedForInputMs: Math.round(stats.waitedForInputMs),
    waitedForOutputMs: Math.round(stats.waitedForOutputMs),
    counts: { ...stats.counts },
    notes: [...stats.notes],
  }
}
