import { describe, expect, it } from 'vitest'
import { summary } from '#src/cli/output/event-lines'
import { overview, terminalLines } from '#src/cli/output/progress'
import { FlowMeter } from '#src/monitoring/flow'
import { stageStats } from '../../monitoring/fixtures.js'

const progress = {
  pipeline: 'pack',
  elapsedMs: 10_000,
  inputShare: 0.25,
  stages: [
    {
      name: 'read-file',
      stats: stageStats({
        itemsOut: 5,
        bytesOut: 500,
        state: 'waiting for output',
        waitedForOutputMs: 9000,
      }),
    },
    {
      name: 'read-lines',
      stats: stageStats({ itemsIn: 5, itemsOut: 5, bytesIn: 500, bytesOut: 480, recordsOut: 90, rejected: 10 }),
    },
    {
      name: 'write-index',
      stats: stageStats({
        itemsIn: 5,
        bytesIn: 480,
        recordsIn: 90,
        waitedForInputMs: 9900,
        state: 'waiting for input',
      }),
    },
  ],
}

describe('progress', () => {
  it('shows one line per stage with its state, within 80 columns', () => {
    const lines = terminalLines(progress, new FlowMeter().update(progress))
    expect(lines).toHaveLength(4)
    expect(lines[0]).toContain('25 % read, 0:30 left')
    expect(lines[1]).toContain('waits for output')
    expect(lines[2]).toMatch(/90 +9\/s.*bottleneck, 10 rejected$/)
    expect(lines[3]).toContain('waits for input')
    for (const line of lines) expect(line.length).toBeLessThanOrEqual(80)
  })

  it('has a one-line form for logs', () => {
    expect(overview(progress, new FlowMeter().update(progress))).toBe(
      'pack: 90 records, 9/s, 25 % read, 0:30 left, slowest: read-lines',
    )
  })

  it('ends with a summary whose counts add up', () => {
    expect(summary(progress)).toContain('100 records read, 90 to write-index, 10 rejected')
  })
})
