/** Learning rate schedules, as plain arithmetic: every engine and every resumed run gets the same rate. */
import type { ScheduleOptions } from './options.js'

type Schedule<Decay extends ScheduleOptions['decay']> = Extract<ScheduleOptions, { decay: Decay }>

/** Length of a run; resumed or not. */
export interface RunLength {
  readonly totalSteps: number
  readonly tokensPerStep: number
}

/**
 * Learning rate of a step.
 * @param step counted from 0
 * @param peak peak learning rate
 */
export function learningRateAt(schedule: ScheduleOptions, step: number, length: RunLength, peak: number): number {
  if (schedule.decay === 'onecycle') return oneCycle(schedule, step, length.totalSteps, peak)
  const warmup = stepsFor(schedule.warmup_tokens, length) ?? schedule.warmup_steps
  if (step < warmup) return (peak * (step + 1)) / warmup
  if (schedule.decay === 'constant') return peak
  if (schedule.decay === 'inverse_sqrt') return peak * Math.sqrt(Math.max(1, warmup) / Math.max(1, step + 1))
  const remaining = remainingAt(schedule, step - warmup, { ...length, totalSteps: length.totalSteps - warmup })
  return peak * (schedule.min_ratio + (1 - schedule.min_ratio) * remaining)
}

/** Steps of a length in tokens, at least 1. */
function stepsFor(tokens: number | undefined, { tokensPerStep }: RunLength): number | undefined {
  return tokens === undefined ? undefined : Math.max(1, Math.round(tokens / tokensPerStep))
}

/** How much of the way from peak to minimum remains, 1 to 0. @param step after the warm-up */
function remainingAt(
  schedule: Schedule<'cosine' | 'linear' | 'wsd' | 'cosine_restarts'>,
  step: number,
  length: RunLength,
): number {
  switch (schedule.decay) {
    case 'cosine':
      return halfCosine(step / Math.max(1, length.totalSteps))
    case 'linear':
      return 1 - Math.min(1, step / Math.max(1, length.totalSteps))
    case 'wsd':
      return afterStable(schedule, step, length)
    case 'cosine_restarts':
      return halfCosine(cycleShare(schedule, step, length))
  }
}

/** From 1 at 0 to 0 at 1, along half a period of a cosine. */
function halfCosine(progress: number): number {
  return (1 + Math.cos(Math.PI * Math.min(1, progress))) / 2
}

/** 1 until the last part of the run, then down to 0: warm-up, stable, decay. */
function afterStable(schedule: Schedule<'wsd'>, step: number, length: RunLength): number {
  const { decay_tokens, decay_steps = Math.round(length.totalSteps / 10), shape } = schedule
  const decaySteps = Math.max(1, stepsFor(decay_tokens, length) ?? decay_steps)
  const progress = Math.min(1, Math.max(0, step - (length.totalSteps - decaySteps)) / decaySteps)
  if (shape === 'cosine') return halfCosine(progress)
  return 1 - (shape === 'sqrt' ? Math.sqrt(progress) : progress)
}

/** How much of its cycle is over at a step, 0 to 1. Each cycle is `cycle_factor` times as long as the one before. */
function cycleShare(schedule: Schedule<'cosine_restarts'>, step: number, length: RunLength): number {
  const { cycle_steps, cycle_tokens, cycle_factor: factor } = schedule
  const first = stepsFor(cycle_tokens, length) ?? cycle_steps ?? Math.max(1, length.totalSteps)
  if (factor === 1) return (step % first) / first
  // The first steps of the cycles are a geometric sum; rounding may put a step one cycle off.
  const startOf = (cycle: number): number => (first * (factor ** cycle - 1)) / (factor - 1)
  let cycle = Math.floor(Math.log(1 + (step * (factor - 1)) / first) / Math.log(factor))
  if (startOf(cycle + 1) <= step) cycle++
  if (startOf(cycle) > step) cycle--
  return (step - startOf(cycle)) / (first * factor ** cycle)
}

/** torch.optim.lr_scheduler.OneCycleLR, two phases, cosine annealing. */
function oneCycle(schedule: Schedule<'onecycle'>, step: number, totalSteps: number, peak: number): number {
  const first = peak / schedule.div_factor
  const last = first / schedule.final_div_factor
  const peakStep = schedule.pct_start * totalSteps - 1
  if (step <= peakStep) {
    return anneal(first, peak, peakStep === 0 ? 1 : step / peakStep)
  }
  return anneal(peak, last, Math.min(1, (step - peakStep) / Math.max(1, totalSteps - 1 - peakStep)))
}

function anneal(from: number, to: number, progress: number): number {
  return to + ((from - to) / 2) * (1 + Math.cos(Math.PI * progress))
}
