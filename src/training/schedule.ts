/** Learning rate schedules, as plain arithmetic: every engine and every resumed run gets the same rate. */
import type { ScheduleOptions } from './options.js'

/**
 * Learning rate of a step.
 * @param step counted from 0
 * @param totalSteps length of the whole run, resumed or not
 * @param peak peak learning rate
 */
export function learningRateAt(schedule: ScheduleOptions, step: number, totalSteps: number, peak: number): number {
  if (schedule.decay === 'onecycle') {
    return oneCycle(schedule, step, totalSteps, peak)
  }
  if (step < schedule.warmup_steps) {
    return (peak * (step + 1)) / schedule.warmup_steps
  }
  if (schedule.decay === 'constant') {
    return peak
  }
  const progress = Math.min(1, (step - schedule.warmup_steps) / Math.max(1, totalSteps - schedule.warmup_steps))
  const remaining = schedule.decay === 'cosine' ? (1 + Math.cos(Math.PI * progress)) / 2 : 1 - progress
  return peak * (schedule.min_ratio + (1 - schedule.min_ratio) * remaining)
}

/** torch.optim.lr_scheduler.OneCycleLR, two phases, cosine annealing. */
function oneCycle(
  schedule: Extract<ScheduleOptions, { decay: 'onecycle' }>,
  step: number,
  totalSteps: number,
  peak: number,
): number {
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
