/** The last line of a run: what was read equals what was delivered and what was rejected. */
import type { PipelineResult, StageReport } from '../pipelines/run.js'
import { bytes, count } from './terminal.js'

export function summary({ pipeline, stages, elapsedMs }: PipelineResult): string {
  const seconds = Math.max(elapsedMs, 1) / 1000
  const sources = stages.filter(({ stats }) => stats.itemsIn === 0)
  const sinks = stages.filter(({ stats }) => stats.itemsOut === 0)
  const read = recordsRead(stages)
  const tokens = Math.max(...stages.map(({ stats }) => stats.counts.tokens ?? 0))
  const rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
  const filtered = stages.reduce((sum, { stats }) => sum + (stats.counts.filtered ?? 0), 0)
  const readBytes = sources.reduce((sum, { stats }) => sum + stats.bytesOut, 0)
  const parts = [
    `${count(read)} records read`,
    ...sinks.map(
      sink => `${count(sink.stats.recordsIn)} to ${sink.name}${endedEarly(sink, read, rejected + filtered)}`,
    ),
    rejected > 0 ? `${count(rejected)} rejected` : '',
    filtered > 0 ? `${count(filtered)} filtered` : '',
    tokens > 0 ? `${count(tokens)} tokens` : '',
    `${bytes(readBytes)} in ${seconds.toFixed(1)} s (${count(read / seconds)} records/s, ${bytes(readBytes / seconds)}/s)`,
  ]
  return `${pipeline}: ${parts.filter(part => part !== '').join(', ')}`
}

/** Those that the first stages to see records gave or rejected: a source of bytes sees none. */
function recordsRead(stages: readonly StageReport[]): number {
  return stages
    .filter(({ stats }) => stats.recordsIn === 0)
    .reduce((sum, { stats }) => sum + stats.recordsOut + stats.rejected, 0)
}

/** A trainer takes what its steps need; the rest was read ahead. */
function endedEarly({ stats }: StageReport, read: number, left: number): string {
  return stats.recordsIn + left < read ? ' (it needed no more)' : ''
}
