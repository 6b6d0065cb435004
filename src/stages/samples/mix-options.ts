/** Options of mix-samples. */
import * as z from 'zod'
import { packOption, rangeOptions, sampleOptions } from './packed-samples.js'

const weight = z.number().nonnegative()

const sourceSchema = z.strictObject({
  name: z.string().min(1).describe('name of the source, in phases, plans and logs'),
  paths: z.array(z.string().min(1)).min(1).describe('.pbin files of the source; their samples are appended'),
  weight: weight.describe(
    'share of the tokens, relative to the other sources; 0 for a source that a later phase starts',
  ),
  ...rangeOptions('file'),
  seed: z.int().nonnegative().optional().describe("seed of the source's order; default: the seed of the mixture"),
  pack: packOption,
  max_epochs: z
    .union([z.number().positive(), z.literal('endless')])
    .default(1)
    .describe('how often the samples of the source may be repeated, such as 1 or 2.5, or endless'),
})

const phaseSchema = z.strictObject({
  from_step: z.int().positive().describe('number of steps taken before the phase starts'),
  weights: z
    .record(z.string(), weight)
    .describe('weight of each source by name from this step on; a source that is not listed gets none'),
})

export const mixSamplesOptions = z
  .strictObject({
    sources: z.array(sourceSchema).min(1).describe('sources of the mixture'),
    phases: z.array(phaseSchema).default([]).describe('later weights, each from a step on'),
    samples_per_step: z
      .int()
      .positive()
      .optional()
      .describe('samples of all ranks per step, to find the steps of the phases; default: batch_size times world_size'),
    shuffle: z
      .enum(['bijective', 'none'])
      .default('bijective')
      .describe('order of the samples of each source: bijective (shuffled, needs no memory) or none (file order)'),
    seed: z
      .int()
      .nonnegative()
      .default(0)
      .describe('seed of the orders; the names of the sources and the epoch are added'),
    ...sampleOptions,
  })
  .refine(({ rank, world_size }) => rank < world_size, 'rank must be below world_size')
  .superRefine(({ sources, phases, samples_per_step: perStep, batch_size, world_size }, context) => {
    const fail = (path: (string | number)[], message: string) => context.addIssue({ code: 'custom', path, message })
    const names = sources.map(({ name }) => name)
    for (const [index, { name, from, to }] of sources.entries()) {
      if (names.indexOf(name) < index) fail(['sources', index, 'name'], `two sources are called ${name}`)
      if (from >= to) fail(['sources', index, 'from'], 'from must be below to')
    }
    if (sources.every(({ weight: own }) => own === 0)) fail(['sources'], 'at least one source needs a weight above 0')
    for (const [index, { from_step, weights }] of phases.entries()) {
      const unknown = Object.keys(weights).find(name => !names.includes(name))
      if (unknown !== undefined) fail(['phases', index, 'weights', unknown], `no source is called ${unknown}`)
      if (!Object.values(weights).some(own => own > 0))
        fail(['phases', index, 'weights'], 'at least one weight must be above 0')
      const before = phases[index - 1]?.from_step ?? 0
      if (from_step <= before)
        fail(['phases', index, 'from_step'], `must be above ${before}, the start of the phase before`)
    }
    if (perStep !== undefined && perStep % (batch_size * world_size) !== 0) {
      fail(['samples_per_step'], `must be a multiple of batch_size times world_size (${batch_size * world_size})`)
    }
  })
export type MixSamplesOptions = z.input<typeof mixSamplesOptions>
export type MixSamplesSettings = z.output<typeof mixSamplesOptions>
