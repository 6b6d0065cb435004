/** Plans a training on a cluster of GPUs without one: memory of each, time per step, and remedies if the memory is too small. */
import { PenstockError } from '../../errors.js'
import { type ModelOptions, requireDivisible, type TorchOptions, type TrainingOptions } from '../../training/options.js'
import { type Card, cardNames, findCard } from '../../training/torch/cards.js'
import { type RankMemory, type RankWork, rankMemory } from '../../training/torch/memory.js'
import { flopsPerToken } from '../../training/weights.js'
import { bytes, count } from '../output/terminal.js'
import type { Cluster, ClusterEstimate, PlanContext } from './model.js'

/** Operations of the products per second, relative to the card's peak. Well-tuned runs reach 0.35 to 0.5. */
const ASSUMED_UTILIZATION = 0.4

/** Memory of a card that CUDA, NCCL and the allocator's gaps may take. */
const RESERVED_BYTES = 4e9

/** @throws ARGUMENT_INVALID for an unknown card */
export function clusterOf(gpus: number, cardName: string): Cluster {
  const card = findCard(cardName)
  if (card !== undefined) return { gpus, card }
  throw new PenstockError('ARGUMENT_INVALID', `unknown GPU ${cardName}; known are ${cardNames.join(', ')}`)
}

/** Adds the problems of the layout to the context. */
export function planCluster(
  training: TrainingOptions,
  model: ModelOptions,
  { gpus, card }: Cluster,
  { problem }: PlanContext,
): ClusterEstimate | undefined {
  const layoutProblem = problemOfLayout(training.torch, model, gpus)
  if (layoutProblem !== undefined) {
    problem('error', layoutProblem)
    return undefined
  }
  if (training.engine === 'tfjs') problem('warning', 'engine is tfjs: the estimate for GPUs applies to --engine torch')
  const { batch_size, accumulation_steps } = training
  const groups = gpus / training.torch.tensor_parallel
  const samples = batch_size * accumulation_steps
  if (samples % groups !== 0) {
    const message = `a step has ${count(samples)} samples for ${count(groups)} groups of ranks: some compute padding; use a multiple`
    problem('warning', message)
  }
  const memory = memoryOf(training, model, gpus)
  const fits = fitsOn(card, memory)
  if (!fits) problem('error', tooLarge(training, model, gpus, card, memory))
  const recomputed = recomputedFactor(training.torch)
  const utilization = ASSUMED_UTILIZATION / recomputed
  const rowsPerRank = Math.ceil(samples / groups)
  const flopsOfRank = (flopsPerToken(model) * rowsPerRank * model.sequence_length) / training.torch.tensor_parallel
  const isTimed = training.torch.mixed_precision !== 'none'
  return {
    gpus,
    card: card.name,
    cardMemoryBytes: card.memoryBytes,
    memory,
    fits,
    flopsPerToken: flopsPerToken(model),
    ...(isTimed && { stepSeconds: flopsOfRank / (card.peakFlops * utilization), utilization }),
  }
}

/** Operations of the products, with those that activation checkpointing repeats, relative to those without. */
function recomputedFactor({ activation_checkpointing, checkpointed_layers_every }: TorchOptions): number {
  return activation_checkpointing === true ? 1 + 1 / 3 / checkpointed_layers_every : 1
}

function problemOfLayout(torch: TorchOptions, model: ModelOptions, gpus: number): string | undefined {
  const { replicate_degree: replicas, tensor_parallel: tensor } = torch
  const shards = torch.shard_degree ?? Math.max(1, Math.floor(gpus / replicas / tensor))
  if (replicas * shards * tensor !== gpus) {
    const product = `replicate_degree ${replicas} x shard_degree ${shards} x tensor_parallel ${tensor}`
    return `${product} is not the number of GPUs, ${gpus}`
  }
  try {
    requireDivisible(model, torch)
    return undefined
  } catch (error) {
    if (!(error instanceof PenstockError)) throw error
    return error.message
  }
}

function memoryOf(training: TrainingOptions, model: ModelOptions, gpus: number): RankMemory {
  return rankMemory(model, training.torch, workOf(training, gpus))
}

/** The micro batches that src/training/torch/deal.ts makes. */
function workOf({ batch_size, accumulation_steps, torch }: TrainingOptions, worldSize: number): RankWork {
  const rowsOfRank = Math.ceil((batch_size * accumulation_steps * torch.tensor_parallel) / worldSize)
  const rows = Math.min(batch_size, rowsOfRank)
  return { worldSize, rows, microBatches: Math.ceil(rowsOfRank / rows) }
}

const fitsOn = ({ memoryBytes }: Card, { peak }: RankMemory): boolean => peak + RESERVED_BYTES <= memoryBytes

function tooLarge(
  training: TrainingOptions,
  model: ModelOptions,
  gpus: number,
  card: Card,
  memory: RankMemory,
): string {
  const needed = `the training needs ${bytes(memory.peak)} per GPU and ${bytes(RESERVED_BYTES)} for CUDA and NCCL`
  const remedy = remedyFor(training, model, gpus, card)
  const advice =
    remedy === undefined
      ? `no layout of ${count(gpus)} GPUs fits: use more GPUs or ones with more memory`
      : `${remedy.changes.join(' and ')} would need ${bytes(remedy.peak)}`
  return `${needed}, but it has ${bytes(card.memoryBytes)} (${card.name}): ${advice}`
}

interface Remedy {
  readonly changes: readonly string[]
  readonly peak: number
}

/** The changes, in order of their cost in speed, that are enough together; without those that do not matter. */
function remedyFor(training: TrainingOptions, model: ModelOptions, gpus: number, card: Card): Remedy | undefined {
  let changed = training
  const changes = new Map<string, string>()
  for (const { option, value, apply } of candidates(training, gpus)) {
    const tried = apply(changed)
    if (problemOfLayout(tried.torch, model, gpus) !== undefined) continue
    const [before, after] = [memoryOf(changed, model, gpus), memoryOf(tried, model, gpus)]
    if (after.peak >= 0.98 * before.peak) continue
    changes.set(option, value)
    if (fitsOn(card, after)) {
      return { changes: Array.from(changes, change => change.join(': ')), peak: after.peak }
    }
    changed = tried
  }
  return undefined
}

interface Change {
  readonly option: string
  readonly value: string
  apply(training: TrainingOptions): TrainingOptions
}

function candidates({ batch_size, accumulation_steps }: TrainingOptions, gpus: number): Change[] {
  const ofTorch = (option: string, value: string, change: Partial<TorchOptions>): Change => ({
    option,
    value,
    apply: training => ({ ...training, torch: { ...training.torch, ...change } }),
  })
  const resharded = (option: string, value: string, change: Partial<TorchOptions>): Change => ({
    option,
    value,
    apply: training => {
      const { shard_degree: _, ...torch } = training.torch
      return { ...training, torch: { ...torch, ...change } }
    },
  })
  const samples = batch_size * accumulation_steps
  return [
    ...(['selective', true] as const).map(value =>
      ofTorch('activation_checkpointing', String(value), {
        activation_checkpointing: value,
        checkpointed_layers_every: 1,
      }),
    ),
    resharded('replicate_degree', '1 without a shard_degree', { replicate_degree: 1 }),
    {
      option: 'batch_size',
      value: `1 with accumulation_steps: ${samples}`,
      apply: training => ({ ...training, batch_size: 1, accumulation_steps: samples }),
    },
    ...[2, 4, 8]
      .filter(degree => gpus % degree === 0)
      .map(degree => resharded('tensor_parallel', String(degree), { tensor_parallel: degree })),
  ]
}
