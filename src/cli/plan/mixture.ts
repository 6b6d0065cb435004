/** Plans a training on a mixture: tokens, share and epochs of each source. */
import { samplesIn } from '../../sampling/sample-range.js'
import type { MixSamplesSettings } from '../../stages/samples/mix-options.js'
import { mixtureLimit, mixtureOf, mixtureSteps } from '../../stages/samples/mix-order.js'
import { requireMixtureLength } from '../../training/compatibility.js'
import type { TrainingOptions } from '../../training/options.js'
import { stepsOf } from '../../training/run-length.js'
import { count } from '../output/terminal.js'
import type { Estimate, PlanContext } from './model.js'
import { rangesOf, type SampledFiles } from './sample-data.js'

/** The files and ranges of a mixture's sources. */
export function partsOfMixture({ sources, sequence_length, reuse_last_target }: MixSamplesSettings): SampledFiles[] {
  return sources.map(source => ({ ...source, sequence_length, reuse_last_target }))
}

type MixtureLength = Required<Pick<Estimate, 'tokens' | 'samples' | 'steps' | 'sources'>>

/**
 * Undefined if a packed file does not exist and no earlier pipeline writes it.
 * @throws OPTION_INVALID for a length in epochs, DATA_TOO_SMALL
 */
export async function mixtureLengthOf(
  options: MixSamplesSettings,
  training: TrainingOptions,
  context: PlanContext,
): Promise<MixtureLength | undefined> {
  const counts: number[] = []
  for (const part of partsOfMixture(options)) {
    const ranges = await rangesOf(part, context)
    if (ranges === undefined) return undefined
    counts.push(samplesIn(ranges))
  }
  const { sequence_length: length } = options
  requireMixtureLength({ mixture: mixtureSteps(options) }, training)
  const steps = stepsOf(training, length, { samples: 0, batches: 0 })
  const samplesPerStep = training.accumulation_steps * mixtureSteps(options).samplesPerBatch
  const needed = steps * samplesPerStep
  const { availableSamples, limit } = mixtureLimit(options, counts)
  if (needed > availableSamples) {
    const possible = Math.floor(availableSamples / samplesPerStep)
    context.problem(
      'error',
      `mix-samples runs out of samples after ${count(possible)} of ${count(steps)} steps: ${limit}. Increase max_epochs, lower the weight, or shorten the run`,
    )
  }
  const taken = mixtureOf(options).countsBefore(needed)
  const sources = options.sources.map(({ name }, index) => ({
    name,
    tokens: counts[index]! * length,
    share: taken[index]! / needed,
    epochs: taken[index]! / Math.max(1, counts[index]!),
  }))
  const samples = counts.reduce((sum, own) => sum + own, 0)
  return { tokens: samples * length, samples, steps, sources }
}
