/**
 * Derives current rates, the utilization of each stage, and the bottleneck from the counts of stages. Compares each
 * snapshot with that of two seconds ago, so that values are current but do not flicker.
 */
import type { PipelineSnapshot, StageCounts } from './run-event.js'

export interface StageFlow {
  readonly name: string
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
  /** Fractions of the time, 0 to 1, spent working and waiting for the previous and the next stage. */
  readonly busy: number
  readonly waitingForInput: number
  readonly waitingForOutput: number
  readonly ended: boolean
  /** Whether this stage is the bottleneck. */
  readonly slowest: boolean
}

/** Length of the window over which rates are computed. */
const WINDOW_MS = 2000
/** A stage that is busy for a smaller fraction of the time is not a bottleneck. */
const MIN_BUSY = 0.5

interface Reading {
  readonly items: number
  readonly records: number
  readonly bytes: number
  readonly waitedForInputMs: number
  readonly waitedForOutputMs: number
}

export class FlowMeter {
  private pipeline = ''
  /** The last reading of each stage, and since when it has not changed. */
  private unchanged: { readonly sinceMs: number; readonly reading: Reading }[] = []
  private readonly past: { readonly elapsedMs: number; readonly readings: readonly Reading[] }[] = []

  /** One entry per stage, in the order of the snapshot. */
  update({ pipeline, stages, elapsedMs }: PipelineSnapshot): StageFlow[] {
    if (pipeline !== this.pipeline) {
      this.past.length = 0
      this.unchanged = []
    }
    this.pipeline = pipeline
    const readings = stages.map(({ stats }, index) => this.withOpenWait(index, stats, elapsedMs))
    while (this.past.length > 1 && this.past[1]!.elapsedMs <= elapsedMs - WINDOW_MS) this.past.shift()
    const since = this.past[0] ?? { elapsedMs: 0, readings: readings.map(() => NOTHING) }
    const spanMs = Math.max(1, elapsedMs - since.elapsedMs)
    const flows = stages.map(({ name, stats }, index) =>
      flowOf(name, stats, since.readings[index] ?? NOTHING, readings[index]!, spanMs),
    )
    this.past.push({ elapsedMs, readings })
    const highest = Math.max(MIN_BUSY, ...flows.map(flow => (flow.ended ? 0 : flow.busy)))
    const slowest = flows.length < 2 ? -1 : flows.findIndex(flow => !flow.ended && flow.busy >= highest)
    return flows.map((flow, index) => (index === slowest ? { ...flow, slowest: true } : flow))
  }

  /** Adds the current wait of a stage, which the stage itself counts only once the wait is over. */
  private withOpenWait(index: number, stats: StageCounts, elapsedMs: number): Reading {
    const reading = read(stats)
    const before = this.unchanged[index]
    const isUnchanged =
      before !== undefined &&
      (Object.keys(reading) as (keyof Reading)[]).every(key => reading[key] === before.reading[key])
    const sinceMs = isUnchanged ? before.sinceMs : elapsedMs
    this.unchanged[index] = { sinceMs, reading }
    const open = elapsedMs - sinceMs
    if (stats.state === 'waiting for input') return { ...reading, waitedForInputMs: reading.waitedForInputMs + open }
    if (stats.state === 'waiting for output') return { ...reading, waitedForOutputMs: reading.waitedForOutputMs + open }
    return reading
  }
}

const NOTHING: Reading = { items: 0, records: 0, bytes: 0, waitedForInputMs: 0, waitedForOutputMs: 0 }

function read(stats: StageCounts): Reading {
  return {
    items: stats.itemsIn + stats.itemsOut,
    records: Math.max(stats.recordsIn, stats.recordsOut),
    bytes: Math.max(stats.bytesIn, stats.bytesOut),
    waitedForInputMs: stats.waitedForInputMs,
    waitedForOutputMs: stats.waitedForOutputMs,
  }
}

function flowOf(name: string, stats: StageCounts, before: Reading, now: Reading, spanMs: number): StageFlow {
  const input = now.waitedForInputMs - before.waitedForInputMs
  const output = now.waitedForOutputMs - before.waitedForOutputMs
  const share = (ms: number): number => Math.min(1, Math.max(0, ms / spanMs))
  const ended = stats.state === 'ended'
  return {
    name,
    recordsPerSecond: (1000 * (now.records - before.records)) / spanMs,
    bytesPerSecond: (1000 * (now.bytes - before.bytes)) / spanMs,
    busy: ended || stats.state === 'idle' ? 0 : share(spanMs - input - output),
    waitingForInput: share(input),
    waitingForOutput: share(output),
    ended,
    slowest: false,
  }
}
