/** Number components: steps, samples and tokens, computed from each other, from a packed file or from a checkpoint's name. */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { blockGeometry } from '../../sampling/block.js'
import { type MeshOptions, meshDegrees } from './components-model.js'
import { type ComponentSpec, type ComputeTools, flag, oneOf, part, text, type Variants, whole } from './option-types.js'

const sizes = {
  dp_degree: whole(1),
  local_micro_batch_size: whole(1),
  gradient_accumulation_steps: whole(1),
  sequence_length: whole(1),
}

interface StepSizes {
  readonly dp_degree: number
  readonly local_micro_batch_size: number
  readonly gradient_accumulation_steps: number
}

/** Divides by one factor at a time and rounds down each time, like Modalities. */
function stepsOfSamples(
  samples: number,
  { dp_degree, local_micro_batch_size, gradient_accumulation_steps }: StepSizes,
): number {
  return [dp_degree, local_micro_batch_size, gradient_accumulation_steps].reduce(
    (rest, divisor) => Math.floor(rest / divisor),
    samples,
  )
}

function samplesPerStep({ dp_degree, local_micro_batch_size, gradient_accumulation_steps }: StepSizes): number {
  return dp_degree * local_micro_batch_size * gradient_accumulation_steps
}

/** Creates a spec with a typed `compute` function. */
function conversion<Shape extends z.ZodRawShape>(
  shape: Shape,
  compute: (options: z.output<z.ZodObject<Shape, z.core.$strict>>, tools: ComputeTools) => number,
): ComponentSpec {
  return { options: z.strictObject(shape), compute: compute as NonNullable<ComponentSpec['compute']> }
}

const fromCheckpoint = (compute: (path: string) => number): ComponentSpec =>
  conversion({ checkpoint_path: text }, ({ checkpoint_path }) => compute(checkpoint_path))

export const numberConversion: Variants = {
  num_tokens_from_packed_mem_map_dataset_continuous: conversion(
    { ...sizes, dataset_path: text, sample_key: text.default('text'), reuse_last_target: flag.default(true) },
    (options, { readTokenCount }) => {
      const { count } = blockGeometry(
        readTokenCount(options.dataset_path),
        options.sequence_length,
        options.reuse_last_target,
      )
      const perStep = samplesPerStep(options)
      const steps = stepsOfSamples(count, options)
      if (steps === 0) {
        const need = `one step needs ${perStep} samples of ${options.sequence_length} tokens`
        throw new PenstockError('DATA_TOO_SMALL', `${options.dataset_path} has ${count} samples, but ${need}`)
      }
      return steps * perStep * options.sequence_length
    },
  ),
  num_steps_from_num_tokens: conversion({ ...sizes, global_num_tokens: whole(0) }, options =>
    stepsOfSamples(Math.floor(options.global_num_tokens / options.sequence_length), options),
  ),
  num_tokens_from_num_steps: conversion(
    { ...sizes, num_steps: whole(0) },
    options => options.num_steps * samplesPerStep(options) * options.sequence_length,
  ),
  num_samples_from_num_tokens: conversion({ num_tokens: whole(0), sequence_length: whole(1) }, options =>
    Math.floor(options.num_tokens / options.sequence_length),
  ),
  local_num_batches_from_num_samples: conversion(
    { num_ranks: whole(1), global_num_samples: whole(0), local_micro_batch_size: whole(1) },
    options => localBatches(options.global_num_samples, options),
  ),
  local_num_batches_from_num_tokens: conversion(
    { num_ranks: whole(1), global_num_tokens: whole(0), sequence_length: whole(1), local_micro_batch_size: whole(1) },
    options => localBatches(Math.floor(options.global_num_tokens / options.sequence_length), options),
  ),
  // Fails in Modalities: its function does not accept the option num_ranks that its schema requires.
  num_steps_from_num_samples: conversion(
    {
      num_ranks: whole(1),
      local_micro_batch_size: whole(1),
      global_num_samples: whole(0),
      gradient_accumulation_steps: whole(1),
    },
    options => stepsOfSamples(options.global_num_samples, { ...options, dp_degree: options.num_ranks }),
  ),
  num_steps_from_raw_dataset_index: conversion(
    {
      raw_index_path: text,
      num_ranks: whole(1),
      local_micro_batch_size: whole(1),
      gradient_accumulation_steps: whole(1),
    },
    (options, { readDocumentCount }) => {
      if (readDocumentCount === undefined)
        throw new PenstockError('UNSUPPORTED', 'reading a raw index is not supported here')
      return stepsOfSamples(readDocumentCount(options.raw_index_path), { ...options, dp_degree: options.num_ranks })
    },
  ),
  parallel_degree: conversion(
    {
      device_mesh: part('device_mesh'),
      parallelism_methods: z.array(oneOf('dp_replicate', 'dp_shard', 'cp', 'tp', 'pp')),
    },
    ({ device_mesh, parallelism_methods }) => {
      const degrees = meshDegrees(device_mesh.options as MeshOptions)
      return parallelism_methods.reduce((product, method) => product * degrees[method], 1)
    },
  ),
  last_step_from_checkpoint_path: fromCheckpoint(path => numberInPath(path, 'seen_steps') - 1),
  num_seen_steps_from_checkpoint_path: fromCheckpoint(path => numberInPath(path, 'seen_steps')),
  global_num_seen_tokens_from_checkpoint_path: fromCheckpoint(path => numberInPath(path, 'seen_tokens')),
  global_num_target_tokens_from_checkpoint_path: fromCheckpoint(path => numberInPath(path, 'target_tokens')),
  num_target_steps_from_checkpoint_path: fromCheckpoint(path =>
    Math.floor(
      numberInPath(path, 'target_tokens') / (numberInPath(path, 'seen_tokens') / numberInPath(path, 'seen_steps')),
    ),
  ),
}

function localBatches(samples: number, sizes: { num_ranks: number; local_micro_batch_size: number }): number {
  return Math.floor(Math.floor(samples / sizes.num_ranks) / sizes.local_micro_batch_size)
}

/** Parses a number from a checkpoint's name, e.g. `...-seen_steps_11-seen_tokens_45056-...`, where it must occur once. */
export function numberInPath(path: string, name: string): number {
  const found = [...path.matchAll(new RegExp(`${name}_(\\d+)`, 'g'))]
  if (found.length === 1) return Number(found[0]![1])
  throw new PenstockError(
    'CONFIG_INVALID',
    `expected ${name}_<number> once in the checkpoint path ${path}, found ${found.length}`,
  )
}
