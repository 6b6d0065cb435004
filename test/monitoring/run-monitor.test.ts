import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RunEvent, StageCounts } from '#src/monitoring/run-event'
import { RunMonitor } from '#src/monitoring/run-monitor'
import type { MetricSink } from '#src/monitoring/sinks/sink'

const counts = (records: number): StageCounts => ({
  itemsIn: 0,
  itemsOut: records,
  bytesIn: 0,
  bytesOut: records * 1000,
  recordsIn: 0,
  recordsOut: records,
  rejected: 0,
  waitedForInputMs: 0,
  waitedForOutputMs: 0,
  state: 'working',
  counts: {},
  notes: [],
})

/** Events of five seconds in which a source delivers 100 records per second. */
function metricsOf(stageName: string): Extract<RunEvent, { kind: 'metrics' }>[] {
  const events: RunEvent[] = []
  const sink: MetricSink = { log: event => void events.push(event), close: async () => {} }
  const node = { id: 0, name: stageName, column: 0, row: 0 }
  const graph = { name: 'pack', nodes: [node], edges: [] } as never
  const monitor = new RunMonitor({ name: 'demo', config: {}, pipelines: [graph] }, [sink])
  for (let elapsedMs = 0; elapsedMs <= 5000; elapsedMs += 250) {
    const stages = [{ name: stageName, stats: counts(elapsedMs / 10) }]
    monitor.progress({ pipeline: 'pack', stages, elapsedMs })
    vi.advanceTimersByTime(250)
  }
  return events.filter(event => event.kind === 'metrics')
}

describe('a monitored run', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  it('logs its rates once per second', () => {
    const metrics = metricsOf('read-file')
    expect(metrics.map(({ step }) => step)).toEqual([1, 2, 3, 4, 5])
    for (const { values } of metrics) {
      expect(values['pack/records_per_second']).toBeCloseTo(100)
      expect(values['pack/megabytes_per_second']).toBeCloseTo(0.1)
      expect(values['pack/memory_mb']).toBeGreaterThan(1)
    }
  })

  it('logs only the metrics of steps if it trains', () => {
    expect(metricsOf('feed-trainer')).toEqual([])
  })
})
