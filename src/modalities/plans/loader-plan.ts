/** Data loaders of a configuration as plain data: files, sample order, shard and loss mask. */
import { type MeshOptions, meshDegrees, meshRank } from '../components/components-model.js'
import { Component, partOf } from '../components/option-types.js'
import { configError } from '../yaml/config-error.js'
import type { ReadConfig } from './read-config.js'

/** Plan of one data loader. */
export interface LoaderPlan {
  readonly tag: string
  /** Packed files, whose samples are concatenated in this order. */
  readonly dataPaths: readonly string[]
  readonly sequenceLength: number
  readonly reuseLastTarget: boolean
  readonly microBatchSize: number
  readonly shuffle: boolean
  readonly seed: number
  readonly epoch: number
  /** Samples to skip, summed over all ranks. */
  readonly skipSamples: number
  readonly rank: number
  readonly worldSize: number
  readonly mask: MaskPlan | null
}

/** Loss mask: only targets between the two tokens contribute. */
export interface MaskPlan {
  readonly beginToken: string
  readonly endToken: string
  readonly tokenizer: Component
}

/** Plans of `eval_dataloaders`, which may be empty. */
export function evaluationLoaders(config: ReadConfig, rank: number): LoaderPlan[] {
  const loaders = config.builder.top('eval_dataloaders')
  const isList =
    Array.isArray(loaders) &&
    loaders.every(loader => loader instanceof Component && loader.componentKey === 'data_loader')
  if (isList) return (loaders as Component[]).map(loader => loaderPlan(loader, config, rank))
  const place = config.tree.entries.get('eval_dataloaders')?.place ?? config.tree.place
  throw configError(
    'eval_dataloaders: expected a list of data_loader components (may be empty)',
    config.file,
    ['eval_dataloaders'],
    place,
  )
}

/** @throws UNSUPPORTED for datasets other than packed files */
export function loaderPlan(loader: Component, config: ReadConfig, rank: number): LoaderPlan {
  const batches = partOf(loader, 'batch_sampler')
  const sampler = partOf(batches, 'sampler')
  const datasets = packedDatasets(partOf(loader, 'dataset'), config)
  const [dataset] = datasets as [Component]
  const collator = loader.options.collate_fn as Component | null | undefined
  return {
    tag: loader.options.dataloader_tag as string,
    dataPaths: datasets.map(({ options }) => options.raw_data_path as string),
    sequenceLength: dataset.options.sequence_length as number,
    reuseLastTarget: dataset.options.reuse_last_target as boolean,
    microBatchSize: batches.options.batch_size as number,
    ...samplerPlan(sampler, rank),
    mask: maskPlan(collator, config),
  }
}

/**
 * The packed datasets of a dataset, which may be a combination of others.
 * @throws UNSUPPORTED; CONFIG_INVALID for different sample lengths
 */
function packedDatasets(dataset: Component, config: ReadConfig): Component[] {
  const { file } = config
  const refuse = (message: string, { path, place }: Component, code?: 'UNSUPPORTED') =>
    configError(message, file, path, place, code)
  if (dataset.variantKey === 'combined') {
    const found = (dataset.options.datasets as Component[]).flatMap(part => packedDatasets(part, config))
    if (found.length === 0) throw refuse('expected at least one dataset in a combined dataset', dataset)
    const shapeOf = ({ options }: Component) => `${options.sequence_length} ${options.reuse_last_target}`
    const other = found.find(part => shapeOf(part) !== shapeOf(found[0]!))
    if (other === undefined) return found
    throw refuse('all datasets of a combined dataset need the same sequence_length and reuse_last_target', other)
  }
  if (dataset.variantKey === 'packed_mem_map_dataset_continuous') return [dataset]
  const message = `dataset.${dataset.variantKey} is not supported: expected packed_mem_map_dataset_continuous or combined`
  throw refuse(message, dataset, 'UNSUPPORTED')
}

function samplerPlan({ variantKey, options }: Component, globalRank: number) {
  const number = (name: string, otherwise: number) => (options[name] as number | null | undefined) ?? otherwise
  return {
    shuffle: variantKey !== 'sequential_sampler' && options.shuffle === true,
    seed: number('seed', 0),
    epoch: number('epoch', 0),
    skipSamples: number('skip_num_global_samples', 0),
    ...(options.device_mesh instanceof Component
      ? meshShare(options.device_mesh, options.data_parallel_key as MeshMethod, globalRank)
      : { rank: number('rank', 0), worldSize: number('num_replicas', 1) }),
  }
}

type MeshMethod = keyof ReturnType<typeof meshDegrees>

function meshShare({ options }: Component, method: MeshMethod, globalRank: number) {
  const mesh = options as MeshOptions
  return { rank: meshRank(mesh, method, globalRank), worldSize: meshDegrees(mesh)[method] }
}

/** The only target value that Modalities' loss ignores. */
const IGNORED_BY_LOSS = -100

function maskPlan(collator: Component | null | undefined, { file }: ReadConfig): MaskPlan | null {
  if (collator?.variantKey !== 'mask_loss_collator_wrapper') return null
  const { options, path, place } = collator
  const wrapped = partOf(collator, 'wrapped_collate_fn')
  const keys = options.target_keys_to_mask as readonly string[]
  const unknown = keys.find(key => key !== wrapped.options.target_key)
  const refuse = (what: string, key: string) =>
    configError(what, file, [...path, 'config', key], place, key === 'target_keys_to_mask' ? undefined : 'UNSUPPORTED')
  if (wrapped.variantKey !== 'gpt_2_llm_collator')
    throw refuse('nested loss masks are not supported', 'wrapped_collate_fn')
  if (options.loss_ignore_index !== IGNORED_BY_LOSS) {
    throw refuse(
      `expected loss_ignore_index: ${IGNORED_BY_LOSS}, the only target that the loss ignores`,
      'loss_ignore_index',
    )
  }
  if (unknown !== undefined) {
    throw refuse(
      `unknown target key ${unknown}: the collator produces ${wrapped.options.target_key}`,
      'target_keys_to_mask',
    )
  }
  if (keys.length === 0) return null
  const tokens = options.mask_tokens as Record<string, string>
  return {
    beginToken: tokens.b_include_to_loss_token!,
    endToken: tokens.e_include_to_loss_token!,
    tokenizer: partOf(collator, 'tokenizer'),
  }
}
