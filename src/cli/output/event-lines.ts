/** Human-readable lines: training events, resume events, and the summary at the end of a run. */
import type { ResumeEvent } from '../../pipelines/resume.js'
import type { PipelineResult, StageReport } from '../../pipelines/run.js'
import type { SampleTextEvent } from '../../training/generation/sample-texts.js'
import type { TrainingEvent, TrainingSummary } from '../../training/training-events.js'
import { bytes, count, duration, quantity } from './terminal.js'

/** Undefined for events that print nothing. */
export function trainingLine(event: unknown): string | undefined {
  const training = event as TrainingEvent | SampleTextEvent
  switch (training.kind) {
    case 'step': {
      const { step, totalSteps, loss, learningRate, gradientNorm, tokensPerSecond, consumedTokens } = training
      return [
        `  step ${count(step).padStart(count(totalSteps).length)}/${count(totalSteps)}`,
        `loss ${loss.toFixed(4)}`,
        `lr ${learningRate.toExponential(2)}`,
        `grad ${gradientNorm.toFixed(2)}`,
        `${count(tokensPerSecond)} tokens/s`,
        `${duration((1000 * (totalSteps - step) * (consumedTokens / step)) / tokensPerSecond)} left`,
      ].join('  ')
    }
    case 'evaluation': {
      const { step, name, loss, bitsPerByte, tokens } = training
      const set = name === undefined ? 'held-out loss' : `held-out loss of ${name}`
      const bits = bitsPerByte === undefined ? '' : `${bitsPerByte.toFixed(3)} bits per byte, `
      return `  step ${count(step)}: ${set} ${loss.toFixed(4)} (${bits}${quantity(tokens, 'token')})`
    }
    case 'source-losses': {
      const losses = Object.entries(training.losses).map(([name, loss]) => `${name} ${loss.toFixed(4)}`)
      return `  step ${count(training.step)}: loss by source: ${losses.join(', ')}`
    }
    case 'sample-text':
      return `  step ${count(training.step)}: ${JSON.stringify(training.text)}`
    case 'checkpoint':
      return `  step ${count(training.step)}: saved ${training.path}`
    case 'backend':
      return `  backend ${training.backend}: ${training.reason}`
    case 'compiling':
      return '  compiling: torch.compile translates the layers during the first steps, which can take minutes'
    case 'slow-attention':
      return `  warning: ${training.message}`
    case 'resumed':
      return `  resumed from ${training.path}, after step ${count(training.step)}`
    case 'damaged-checkpoint':
      return `  skipped a damaged checkpoint: ${training.error.toLine()}`
    case 'diverged':
      return `  warning: the training diverges at step ${count(training.step)}: loss ${training.loss.toPrecision(3)}, a uniform guess has ${training.uniformLoss.toFixed(2)}. Lower learning_rate, add warmup_steps or set gradient_clip`
    case 'schedule-changed': {
      const { previousLearningRate: before, learningRate: after, previousTotalSteps, totalSteps } = training
      return (
        `  warning: the schedule changes at step ${count(training.step)} (${count(previousTotalSteps)} to ` +
        `${quantity(totalSteps, 'step')}), so the learning rate jumps from ${before.toExponential(2)} to ${after.toExponential(2)}`
      )
    }
    case 'skipped-step': {
      const { loss, gradientNorm, limits, inARow } = training
      const allowed = limits && `; limits ${limits.loss.toPrecision(4)} and ${limits.gradientNorm.toPrecision(4)}`
      return `  warning: skipped step ${count(training.step)} (loss ${loss}, gradient norm ${gradientNorm}${allowed ?? ''}; ${count(inARow)} in a row)`
    }
    case 'end':
      return trainingEnd(training).join('\n')
    default:
      return undefined
  }
}

/** Whether an event reports a training that had taken its last step before this run. */
export function isFinishedBefore(event: unknown): boolean {
  const training = event as TrainingEvent
  return training.kind === 'end' && training.reason === 'completed' && training.loss === undefined
}

/** Result of a training, its model, and the command to continue with. */
function trainingEnd(summary: TrainingSummary): string[] {
  const { reason, step, totalSteps, loss, heldOutLoss, checkpoint } = summary
  const steps = `${count(step)} of ${totalSteps === undefined ? 'an unknown number of' : count(totalSteps)} steps`
  const isDone = reason === 'completed' || reason === 'early-stop'
  const verb = reason === 'completed' ? 'finished' : 'stopped'
  const figures = [
    isFinishedBefore({ kind: 'end', ...summary }) ? `nothing to do, ${steps}` : `training ${verb}: ${steps}`,
    loss === undefined ? '' : `loss ${loss.toFixed(4)}`,
    heldOutLoss === undefined
      ? ''
      : `held-out loss ${heldOutLoss.toFixed(4)} (perplexity ${Math.exp(heldOutLoss).toFixed(1)})`,
    reason === 'data-ended' ? 'out of samples' : '',
    reason === 'early-stop' ? 'the held-out loss no longer improves' : '',
  ]
  const next = isDone ? `penstock generate ${checkpoint} --prompt TEXT` : 'run the same command to resume'
  return [
    `  ${figures.filter(part => part !== '').join(', ')}`,
    ...(checkpoint === undefined ? [] : [`  model: ${checkpoint}`, `  next: ${next}`]),
  ]
}

export function resumeLine(event: ResumeEvent): string {
  switch (event.kind) {
    case 'continued':
      return `resuming at ${position(event)}`
    case 'finished':
      return 'resumed: the interrupted run had finished, renamed its outputs'
    case 'anew':
      return `starting over: the interrupted run cannot be resumed (${event.reason})`
    case 'kept':
      return `progress saved: run the same command to resume at ${position(event)}`
  }
}

function position({ inputBytes, totalBytes }: { inputBytes: number; totalBytes: number | undefined }): string {
  return totalBytes === undefined ? bytes(inputBytes) : `${bytes(inputBytes)} of ${bytes(totalBytes)}`
}

/** The last line of a run. Records read equal the records delivered, rejected and filtered. */
export function summary({ pipeline, stages, elapsedMs }: PipelineResult): string {
  const seconds = Math.max(elapsedMs, 1) / 1000
  const sources = stages.filter(({ stats }) => stats.itemsIn === 0)
  const sinks = stages.filter(({ stats }) => stats.itemsOut === 0)
  const read = recordsRead(stages)
  const tokens = Math.max(...stages.map(({ stats }) => stats.counts.tokens ?? 0))
  const rejected = stages.reduce((sum, { stats }) => sum + stats.rejected, 0)
  const filtered = stages.reduce((sum, { stats }) => sum + (stats.counts.filtered ?? 0), 0)
  const readBytes = sources.reduce((sum, { stats }) => sum + stats.bytesOut, 0)
  const files = stages.reduce((sum, { stats }) => sum + (stats.counts.files ?? 0), 0)
  const parts = [
    `${quantity(read, 'record')} read${files > 1 ? ` from ${quantity(files, 'file')}` : ''}`,
    ...sinks.map(
      sink => `${count(sink.stats.recordsIn)} to ${sink.name}${endedEarly(sink, read, rejected + filtered)}`,
    ),
    rejected > 0 ? `${count(rejected)} rejected` : '',
    filtered > 0 ? `${count(filtered)} filtered` : '',
    tokens > 0 ? `${quantity(tokens, 'token')}` : '',
    `${bytes(readBytes)} in ${seconds.toFixed(1)} s (${count(read / seconds)} records/s, ${bytes(readBytes / seconds)}/s)`,
  ]
  return `${pipeline}: ${parts.filter(part => part !== '').join(', ')}`
}

/** Records that entered the pipeline, counted at the first stages that see records (a source of bytes sees none). */
function recordsRead(stages: readonly StageReport[]): number {
  return stages
    .filter(({ stats }) => stats.recordsIn === 0)
    .reduce((sum, { stats }) => sum + stats.recordsOut + stats.rejected, 0)
}

/** Marks a sink such as the trainer, which ends after its last step although more records were read ahead. */
function endedEarly({ stats }: StageReport, read: number, leftOut: number): string {
  return stats.recordsIn + leftOut < read ? ' (ended early)' : ''
}
