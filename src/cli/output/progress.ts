/**
 * Progress of a run: on a terminal, one line per stage, redrawn in place; elsewhere, a plain line every five seconds;
 * with `json`, JSON lines. Always on standard error, because standard output is for results.
 */
import { FlowMeter, type StageFlow } from '../../monitoring/flow.js'
import { shortStageName } from '../../monitoring/pipeline-graph.js'
import type { PipelineResult, RunProgress, StageReport } from '../../pipelines/run.js'
import { summary } from './event-lines.js'
import { keepLiveLines, printStatus, setLiveLines } from './print.js'
import { bytes, count, duration } from './terminal.js'
import { rejectUnused } from './unused-flags.js'

const PLAIN_INTERVAL_MS = 5000

export type ProgressMode = 'terminal' | 'plain' | 'json' | 'quiet'

export function progressMode(options: { quiet?: boolean | undefined; json?: boolean | undefined }): ProgressMode {
  if (options.quiet) {
    rejectUnused({ json: options.json || undefined }, ['json'], 'with --quiet')
    return 'quiet'
  }
  if (options.json) return 'json'
  return process.stderr.isTTY ? 'terminal' : 'plain'
}

export class ProgressPrinter {
  private readonly mode: ProgressMode
  private readonly meter = new FlowMeter()
  private lastPlain = performance.now()

  constructor(mode: ProgressMode) {
    this.mode = mode
  }

  show(progress: RunProgress): void {
    if (this.mode === 'quiet') return
    const flows = this.meter.update(progress)
    if (this.mode === 'terminal') {
      // A line that wraps would take two.
      const width = (process.stderr.columns || 80) - 1
      setLiveLines(terminalLines(progress, flows).map(line => line.slice(0, width)))
      return
    }
    if (performance.now() - this.lastPlain < PLAIN_INTERVAL_MS) return
    this.lastPlain = performance.now()
    const line = this.mode === 'json' ? jsonLine('progress', progress, flows) : overview(progress, flows)
    printStatus(`${line}\n`)
  }

  /** Prints a permanent line above the live ones. */
  print(line: string): void {
    if (this.mode === 'quiet') return
    printStatus(`${line}\n`)
    // A line such as a training step also shows progress, so postpone the next plain line.
    this.lastPlain = performance.now()
  }

  /** @param isIdle whether there was nothing to do: records that were read to find this out are not counted */
  finish(result: PipelineResult, isIdle = false): void {
    setLiveLines([])
    this.lastPlain = performance.now()
    if (this.mode === 'quiet') return
    if (this.mode === 'json') {
      printStatus(`${jsonLine('done', result, [], isIdle)}\n`)
      return
    }
    if (!isIdle) this.print(summary(result))
    for (const { name, stats } of result.stages) for (const note of stats.notes) this.print(`  note (${name}): ${note}`)
  }

  /** Ends the progress of a failed or stopped run: its last counts stay above the error. */
  fail(): void {
    keepLiveLines()
  }
}

/** A heading with the elapsed time, then for each stage its records, rates and state. */
export function terminalLines(progress: RunProgress, flows: readonly StageFlow[]): string[] {
  const { pipeline, stages, elapsedMs } = progress
  const heading = [pipeline, duration(elapsedMs), timeLeft(progress)].filter(part => part !== '').join('  ')
  return [heading, ...stages.map((stage, index) => stageLine(stage, flows[index]!))]
}

function stageLine({ name, stats }: StageReport, flow: StageFlow): string {
  const records = recordsOf(stats)
  const columns = [
    shortStageName(name).padEnd(18),
    (records > 0 ? count(records) : bytes(stats.bytesOut)).padStart(10),
    (records > 0 ? `${count(flow.recordsPerSecond)}/s` : '').padStart(10),
    `${bytes(flow.bytesPerSecond)}/s`.padStart(10),
  ]
  const rejected = stats.rejected > 0 ? `, ${count(stats.rejected)} rejected` : ''
  return `  ${columns.join('')}  ${activity(stats.state, flow)}${rejected}`
}

/** The state that a stage spends most of its time in. */
function activity(state: string, flow: StageFlow): string {
  if (state === 'ended') return 'done'
  if (flow.slowest) return 'bottleneck'
  if (flow.waitingForOutput > 0.5) return 'waits for output'
  if (flow.waitingForInput > 0.5) return 'waits for input'
  return `busy ${percent(flow.busy)}`
}

const recordsOf = (stats: StageReport['stats']): number => Math.max(stats.recordsIn, stats.recordsOut)

/** The whole progress in one line, for logs. */
export function overview(progress: RunProgress, flows: readonly StageFlow[]): string {
  const { pipeline, stages } = progress
  const records = stages.map(({ stats }) => recordsOf(stats))
  const largest = records.indexOf(Math.max(...records))
  const slowest = flows.find(flow => flow.slowest)
  const parts = [
    `${count(records[largest] ?? 0)} records`,
    `${count(flows[largest]?.recordsPerSecond ?? 0)}/s`,
    timeLeft(progress),
    slowest === undefined ? '' : `slowest: ${shortStageName(slowest.name)}`,
  ]
  return `${pipeline}: ${parts.filter(part => part !== '').join(', ')}`
}

/** Extrapolated from the share of the input read so far; empty if its size is unknown. */
function timeLeft({ inputShare: share, elapsedMs }: RunProgress): string {
  if (share === undefined || share === 0) return ''
  return `${percent(share)} read, ${duration((elapsedMs * (1 - share)) / share)} left`
}

const percent = (share: number): string => `${Math.round(100 * share)} %`

function jsonLine(
  event: string,
  progress: RunProgress | PipelineResult,
  flows: readonly StageFlow[],
  isIdle?: boolean,
): string {
  const stages = progress.stages.map((stage, index) => ({ ...stage, ...(flows[index] && { flow: flows[index] }) }))
  return JSON.stringify({ event, ...progress, stages, ...(isIdle && { nothingToDo: true }) })
}
