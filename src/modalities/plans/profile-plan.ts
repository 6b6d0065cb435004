/** A configuration of the reference's `profile distributed` as plain data: random samples for some steps of a model. */

import { type Component, partOf } from '../components/option-types.js'
import { configError } from '../yaml/config-error.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import { innermostModel } from './other-plans.js'
import { type ReadOptions, readConfig, topComponent } from './read-config.js'
import type { Gpt2Options } from './training-plan.js'

export interface ModalitiesProfilePlan {
  readonly model: Gpt2Options
  /** Samples of a step, and tokens of a sample. */
  readonly rows: number
  readonly columns: number
  /** Token ids are drawn from [first, end). */
  readonly first: number
  readonly end: number
  /** Those waited for and warmed up with included. */
  readonly steps: number
  /** Where the trace goes. */
  readonly outputFolder: string
  readonly notices: readonly Notice[]
}

/** @throws CONFIG_INVALID; UNSUPPORTED for what is no model of token ids, or where nothing is traced */
export function readProfilePlan(source: string, options: Omit<ReadOptions, 'readTokenCount'>): ModalitiesProfilePlan {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  const component = topComponent(config, 'steppable_component', 'steppable_component')
  const profiler = topComponent(config, 'profiler', 'steppable_profiler')
  const profilers = profiler.variantKey === 'combined' ? (profiler.options.profilers as Component[]) : [profiler]
  const tracing = profilers.find(({ variantKey }) => variantKey === 'kernel_tracing')
  const refuse = (message: string, { path, place }: Component) =>
    configError(message, config.file, path, place, 'UNSUPPORTED')
  if (tracing === undefined) throw refuse('steps are traced by kernel_tracing alone', profiler)
  const generator = partOf(component, 'dataset_batch_generator')
  const [rows, columns, more] = Object.values(generator.options.dims as Record<string, number>)
  if (rows === undefined || columns === undefined || more !== undefined || generator.options.data_type !== 'int64') {
    throw refuse('expected random int64 of two dims, samples and tokens', generator)
  }
  const steps = (name: string) => tracing.options[`num_${name}_steps`] as number
  const notices = profilers
    .filter(other => other !== tracing)
    .map(({ variantKey, path, place }) => ({ message: `profiler.${variantKey} has no effect here`, path, place }))
  return {
    model: innermostModel(partOf(component, 'model'), config).options as Gpt2Options,
    rows,
    columns,
    first: generator.options.min_val as number,
    end: generator.options.max_val as number,
    steps: steps('wait') + steps('warmup') + steps('active'),
    outputFolder: tracing.options.output_folder_path as string,
    notices: [...config.notices, ...notices],
  }
}
