import { pipeline } from 'node:stream/promises'
import { describe, expect, it } from 'vitest'
import { FlowMeter } from '#src/monitoring/flow'
import { type StageStats, sink, source } from '#src/stages/stream/stage'
import { stageStats } from './fixtures.js'

const snapshot = (elapsedMs: number, ...stages: Partial<StageStats>[]) => ({
  pipeline: 'pack',
  elapsedMs,
  stages: stages.map((changes, index) => ({ name: `stage ${index}`, stats: stageStats(changes) })),
})

describe('the flow of a pipeline', () => {
  it('covers the last two seconds, not the whole run', () => {
    const meter = new FlowMeter()
    meter.update(snapshot(1000, { recordsOut: 1000, itemsOut: 1 }))
    for (let ms = 2000; ms <= 10_000; ms += 200) meter.update(snapshot(ms, { recordsOut: 1000, itemsOut: 1 }))
    const [flow] = meter.update(snapshot(12_000, { recordsOut: 1200, itemsOut: 2 }))
    expect(flow!.recordsPerSecond).toBe(100)
  })

  it('identifies the bottleneck', () => {
    const meter = new FlowMeter()
    meter.update(snapshot(0, {}, {}, {}))
    const flows = meter.update(
      snapshot(
        1000,
        { itemsOut: 1, waitedForOutputMs: 900 },
        { itemsIn: 1, waitedForInputMs: 50 },
        { itemsIn: 1, waitedForInputMs: 800 },
      ),
    )
    expect(flows.map(flow => flow.slowest)).toEqual([false, true, false])
    expect(flows[1]!.busy).toBeCloseTo(0.95)
  })

  it('includes a wait in progress', () => {
    const meter = new FlowMeter()
    const waiting = { state: 'waiting for input', itemsIn: 3, waitedForInputMs: 10 } as const
    meter.update(snapshot(0, {}, waiting))
    const flows = meter.update(snapshot(1000, {}, waiting))
    expect(flows[1]).toMatchObject({ busy: 0, waitingForInput: 1 })
    expect(flows[0]!.slowest).toBe(true)
  })

  it('has no bottleneck if all stages wait or have ended', () => {
    const meter = new FlowMeter()
    meter.update(snapshot(0, {}, {}))
    const flows = meter.update(snapshot(1000, { state: 'ended', itemsOut: 9 }, { itemsIn: 9, waitedForInputMs: 700 }))
    expect(flows.some(flow => flow.slowest)).toBe(false)
  })

  it('does not count the time in which a later stage blocks the thread as work of a source', async () => {
    const samples = source<number>('samples', async function* () {
      for (let number = 0; number < 12; number++) yield number
    })
    const trainer = sink<number>('trainer', async input => {
      for await (const _ of input) {
        // An engine, too, awaits some promises before it computes.
        for (let hop = 0; hop < 5; hop++) await undefined
        const until = performance.now() + 25
        while (performance.now() < until);
      }
    })
    const started = performance.now()
    await pipeline(samples, trainer)
    const elapsedMs = performance.now() - started
    const stages = [samples, trainer].map(({ stageName: name, stats }) => ({
      name,
      stats: { ...stats, state: 'working' as const },
    }))
    const flows = new FlowMeter().update({ pipeline: 'train', elapsedMs, stages })
    expect(flows.map(flow => flow.slowest)).toEqual([false, true])
    expect(flows[0]!.busy).toBeLessThan(flows[1]!.busy / 2)
  })
})
