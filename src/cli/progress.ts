/**
 * Progress of a run. On a terminal one live line a stage, redrawn in place; elsewhere a plain line every few seconds,
 * nothing redrawn; with `json`, one JSON object a line. Always on standard error: standard output is for results.
 */
import type { PipelineResult, RunProgress, StageReport } from '../pipelines/run.js'
import { bytes, count, duration } from './terminal.js'

const PLAIN_EVERY_MS = 5000

export type ProgressMode = 'terminal' | 'plain' | 'json' | 'quiet'

export function progressMode(options: { quiet?: boolean | undefined; json?: boolean | undefined }): ProgressMode {
  if (options.quiet) return 'quiet'
  if (options.json) return 'json'
  return process.stderr.isTTY ? 'terminal' : 'plain'
}

export class ProgressPrinter {
  private readonly mode: ProgressMode
  private linesDrawn = 0
  private lastPlain = performance.now()

  constructor(mode: ProgressMode) {
    this.mode = mode
  }

  show(progress: RunProgress): void {
    if (this.mode === 'terminal') {
      this.redraw(progress.stages.map(stage => stageLine(stage, progress)))
      return
    }
    if (performance.now() - this.lastPlain < PLAIN_EVERY_MS) return
    this.lastPlain = performance.now()
    if (this.mode === 'plain') process.stderr.write(`${progress.pipeline}: ${overview(progress)}\n`)
    if (this.mode === 'json') process.stderr.write(`${jsonLine('progress', progress)}\n`)
  }

  /** A line that stays, above the live ones. */
  print(line: string): void {
    if (this.mode === 'quiet') return
    this.redraw([])
    process.stderr.write(`${line}\n`)
  }

  finish(result: PipelineResult): void {
    this.redraw([])
    if (this.mode === 'json') process.stderr.write(`${jsonLine('done', result)}\n`)
    if (this.mode === 'terminal' || this.mode === 'plain') process.stderr.write(`${summary(result)}\n`)
    for (const { name, stats } of result.stages) for (const note of stats.notes) this.print(`  note (${name}): ${note}`)
  }

  private redraw(lines: readonly string[]): void {
    if (this.mode !== 'terminal') return
    const width = (process.stderr.columns ?? 80) - 1
    const up = this.linesDrawn > 0 ? `\x1b[${this.linesDrawn}A\x1b[J` : ''
    process.stderr.write(up + lines.map(line => `${line.slice(0, width)}\n`).join(''))
    this.linesDrawn = lines.length
  }
}

/** Name, what was done, rate, and what it waits for. */
function stageLine({ name, stats }: StageReport, { elapsedMs, stages }: RunProgress): string {
  const seconds = Math.max(elapsedMs, 1) / 1000
  const moved = stats.bytesIn || stats.bytesOut
  const records = Math.max(stats.recordsIn, stats.recordsOut)
  const parts = [
    records > 0 ? `${count(records)} records` : '',
    moved > 0 ? `${bytes(moved)} ${bytes(moved / seconds)}/s` : '',
    stats.counts.tokens === undefined ? '' : `${count(stats.counts.tokens)} tokens`,
    stats.rejected > 0 ? `${count(stats.rejected)} rejected` : '',
  ].filter(part => part !== '')
  const left = stats.counts.totalBytes === undefined ? '' : ` ${timeLeft(stages, elapsedMs)}`
  return `  ${name.padEnd(17)} ${parts.join(', ').padEnd(48)} ${stats.state}${left}`
}

function overview(progress: RunProgress): string {
  const records = Math.max(...progress.stages.map(({ stats }) => Math.max(stats.recordsIn, stats.recordsOut)))
  const rate = (1000 * records) / Math.max(progress.elapsedMs, 1)
  return `${count(records)} records, ${count(rate)}/s${prefixed(', ', timeLeft(progress.stages, progress.elapsedMs))}`
}

/** From the share of the file that was read; nothing where the size is not known. */
function timeLeft(stages: readonly StageReport[], elapsedMs: number): string {
  const source = stages.find(({ stats }) => stats.counts.totalBytes !== undefined)
  if (source === undefined || source.stats.bytesOut === 0) return ''
  const share = Math.min(1, source.stats.bytesOut / source.stats.counts.totalBytes!)
  return `${Math.round(100 * share)} %, ${duration((elapsedMs * (1 - share)) / share)} left`
}

function summary({ pipeline, stages, elapsedMs }: PipelineResult): string {
  const seconds = Math.max(elapsedMs, 1) / 1000
  const records = Math.max(...stages.map(({ stats }) => Math.max(stats.recordsIn, stats.recordsOut)))
  const read = stages[0]?.stats.bytesOut ?? 0
  const tokens = Math.max(...stages.map(({ stats }) => stats.counts.tokens ?? 0))
  const rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
  const parts = [
    `${count(records)} records`,
    tokens > 0 ? `${count(tokens)} tokens` : '',
    rejected > 0 ? `${count(rejected)} rejected` : '',
    `${bytes(read)} in ${seconds.toFixed(1)} s (${count(records / seconds)} records/s, ${bytes(read / seconds)}/s)`,
  ].filter(part => part !== '')
  return `${pipeline}: ${parts.join(', ')}`
}

function jsonLine(event: string, progress: RunProgress): string {
  return JSON.stringify({ event, ...progress })
}

const prefixed = (prefix: string, text: string): string => (text === '' ? '' : prefix + text)
