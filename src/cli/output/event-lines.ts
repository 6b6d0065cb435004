/** Lines for people: training events, resume events, and the summary at the end of a run. */
import type { ResumeEvent } from '../../pipelines/resume.js'
import type { PipelineResult, StageReport } from '../../pipelines/run.js'
import type { SampleTextEvent } from '../../training/sample-texts.js'
import type { TrainingEvent } from '../../training/training-events.js'
import { bytes, count, duration } from './terminal.js'

/** Undefined for events that need no line. */
export function trainingLine(event: unknown): string | undefined {
  const training = event as TrainingEvent | SampleTextEvent
  switch (training.kind) {
    case 'step': {
      const { step, totalSteps, averageLoss, learningRate, gradientNorm, tokensPerSecond, stepMs } = training
      return [
        `  step ${String(step).padStart(String(totalSteps).length)}/${totalSteps}`,
        `loss ${averageLoss.toFixed(4)}`,
        `lr ${learningRate.toExponential(2)}`,
        `grad ${gradientNorm.toFixed(2)}`,
        `${count(tokensPerSecond)} tokens/s`,
        `${duration((totalSteps - step) * stepMs)} left`,
      ].join('  ')
    }
    case 'evaluation':
      return `  step ${training.step}: held-out loss ${training.loss.toFixed(4)} (${count(training.tokens)} tokens)`
    case 'sample-text':
      return `  step ${training.step}: ${JSON.stringify(training.text)}`
    case 'checkpoint':
      return `  step ${training.step}: saved ${training.path}`
    case 'backend':
      return `  backend ${training.backend}: ${training.reason}`
    case 'resumed':
      return `  resumed after step ${training.step} from ${training.path}`
    case 'damaged-checkpoint':
      return `  passed over a damaged checkpoint: ${training.error.toLine()}`
    case 'end':
      return training.reason === 'completed'
        ? undefined
        : `  training ${endOf(training.reason)} after step ${training.step}`
    default:
      return undefined
  }
}

const endOf = (reason: string): string => (reason === 'stopped' ? 'was stopped' : 'ran out of samples')

export function resumeLine(event: ResumeEvent): string {
  switch (event.kind) {
    case 'continued':
      return `continued at ${place(event)}`
    case 'finished':
      return 'continued: everything was done, the outputs got their names'
    case 'anew':
      return `started anew, since what a killed run left is of no use: ${event.reason}`
    case 'kept':
      return `what is done is kept: the same command goes on at ${place(event)}`
  }
}

function place({ inputBytes, totalBytes }: { inputBytes: number; totalBytes: number | undefined }): string {
  return totalBytes === undefined ? bytes(inputBytes) : `${bytes(inputBytes)} of ${bytes(totalBytes)}`
}

/** The last line of a run: records read equal records delivered plus records rejected. */
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
