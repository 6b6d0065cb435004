/** The mixture that the options of mix-samples describe: phases, steps and how far it goes. Its positions are samples of all ranks. */
import type { BatchOfMixture } from '../../formats/batches.js'
import { type Mixture, mixture, positionsWithin } from '../../sampling/mixture.js'
import type { MixSamplesSettings } from './mix-options.js'

export function mixtureOf(options: MixSamplesSettings): Mixture {
  const phases = phasesOf(options).map(({ firstSample, weights }) => ({
    start: firstSample,
    weights: options.sources.map(({ name }) => weights[name] ?? 0),
  }))
  return mixture(phases)
}

/** Samples of all ranks per batch, and batches per step if there are phases, which are counted in steps. */
export function mixtureSteps({
  phases,
  batch_size,
  world_size,
  samples_per_step: perStep = batch_size * world_size,
}: MixSamplesSettings): Pick<BatchOfMixture, 'samplesPerBatch' | 'batchesPerStep'> {
  const samplesPerBatch = batch_size * world_size
  return { samplesPerBatch, batchesPerStep: phases.length === 0 ? undefined : perStep / samplesPerBatch }
}

/**
 * How far a mixture goes until a source would exceed its max_epochs.
 * @param counts number of samples of each source
 * @returns samples of all ranks, and the reason
 */
export function mixtureLimit(
  options: MixSamplesSettings,
  counts: readonly number[],
): Pick<BatchOfMixture, 'availableSamples' | 'limit'> {
  const mixed = mixtureOf(options)
  const limits = options.sources.map(({ max_epochs: epochs }, index) =>
    epochs === 'endless' ? Number.POSITIVE_INFINITY : Math.floor(epochs * counts[index]!),
  )
  const availableSamples = positionsWithin(mixed, limits)
  if (availableSamples === Number.POSITIVE_INFINITY) return { availableSamples, limit: '' }
  const last = mixed.at(availableSamples).source
  const { name, max_epochs: epochs } = options.sources[last]!
  const limit = `source ${name} has ${counts[last]} samples and max_epochs ${epochs}, which the mixture has used after ${availableSamples} samples of all sources`
  return { availableSamples, limit }
}

/** The weights by name of all phases, and the first sample of each. */
export function phasesOf({ sources, phases, samples_per_step: perStep, batch_size, world_size }: MixSamplesSettings) {
  const step = perStep ?? batch_size * world_size
  return [
    { firstSample: 0, weights: Object.fromEntries(sources.map(({ name, weight: own }) => [name, own])) },
    ...phases.map(({ from_step, weights }) => ({ firstSample: from_step * step, weights })),
  ] as readonly { readonly firstSample: number; readonly weights: Readonly<Record<string, number>> }[]
}
