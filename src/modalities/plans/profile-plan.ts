/** A configuration of Modalities' `profile distributed` as plain data: some training steps on random samples. */

import { type Component, partOf } from '../components/option-types.js'
import { configError } from '../yaml/config-error.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import { innermostModel } from './other-plans.js'
import { type ReadOptions, readConfig, topComponent } from './read-config.js'
import type { Gpt2Options } from './training-plan.js'

export interface ModalitiesProfilePlan {
  readonly model: Gpt2Options
  /** Samples per step; `columns` is the number of tokens per sample. */
  readonly rows: number
  readonly columns: number
  /** Token ids are drawn uniformly from [first, end). */
  readonly first: number
  readonly end: number
  /** Total number of steps, including wait and warmup. */
  readonly steps: number
  /** Output folder of the trace. */
  readonly outputFolder: string
  readonly notices: readonly Notice[]
}

/** @throws CONFIG_INVALID; UNSUPPORTED for inputs other than token ids, or without a kernel_tracing profiler */
export function readProfilePlan(source: string, options: Omit<ReadOptions, 'readTokenCount'>): ModalitiesProfilePlan {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  const component = topComponent(config, 'steppable_component', 'steppable_component')
  const profiler = topComponent(config, 'profiler', 'steppable_profiler')
  const profilers = profiler.variantKey === 'combined' ? (profiler.options.profilers as Component[]) : [profiler]
  const tracing = profilers.find(({ variantKey }) => variantKey === 'kernel_tracing')
  const refuse = (message: string, { path, place }: Component) =>
    configError(message, config.file, path, place, 'UNSUPPORTED')
  if (tracing === undefined) throw refuse('expected a kernel_tracing profiler', profiler)
  const generator = partOf(component, 'dataset_batch_generator')
  const [rows, columns, more] = Object.values(generator.options.dims as Record<string, number>)
  if (rows === undefined || columns === undefined || more !== undefined || generator.options.data_type !== 'int64') {
    throw refuse('expected random int64 values with two dimensions: samples and tokens', generator)
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
