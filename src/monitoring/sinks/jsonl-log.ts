/**
 * The log of a run as JSON lines: written by the `jsonl` sink, read by `penstock view`. Appended to when a run goes on in
 * the same folder. JSON knows no NaN and no infinity: they stand as null, and `nonFinite` says which they were.
 */

import type { PipelineSnapshot, RunEvent, StageCounts } from '../run-event.js'
import { LogFile } from './log-file.js'
import type { MetricSink } from './sink.js'

/** The log's name inside a run folder. */
export const LOG_NAME = 'log.jsonl'

/** How often the stages' counts are logged. */
const PROGRESS_EVERY_MS = 5000

export function jsonlSink(path: string, fail: (error: unknown) => void): MetricSink {
  const file = new LogFile(path, 'append', fail)
  let lastProgress = Number.NEGATIVE_INFINITY
  let latest: RunEvent | undefined
  const write = (event: RunEvent) => file.write(`${JSON.stringify(toLine(event))}\n`)
  return {
    log(event) {
      if (event.kind === 'progress') {
        latest = event
        if (event.time - lastProgress < PROGRESS_EVERY_MS) return
        lastProgress = event.time
      }
      // The last counts of a run are its result.
      if (event.kind === 'run-end' && latest !== undefined) write(latest)
      write(event)
    },
    close: () => file.close(),
  }
}

/** The form that an event has in the log. */
function toLine(event: RunEvent): Record<string, unknown> {
  switch (event.kind) {
    case 'metrics':
      return { ...event, ...finiteValues(event.values) }
    case 'progress':
      return { ...event, snapshot: plainSnapshot(event.snapshot) }
    default:
      return { ...event }
  }
}

function finiteValues(values: Readonly<Record<string, number>>): Record<string, unknown> {
  const others = Object.entries(values).filter(([, value]) => !Number.isFinite(value))
  return others.length === 0
    ? { values }
    : { values, nonFinite: Object.fromEntries(others.map(([name, value]) => [name, String(value)])) }
}

/** A copy that later changes of the live stats do not touch. */
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
