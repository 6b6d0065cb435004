/**
 * Memory of a rank of the torch engine on a GPU, computed from the shapes that torch/penstock_torch allocates: without
 * Python and in microseconds. test/training/torch/fake-gpu.test.ts compares it with the engine on fake tensors.
 */
import type { ModelOptions, TorchOptions } from '../options.js'
import { elementCount, layerName, weightSpecs } from '../weights.js'

export interface RankWork {
  readonly worldSize: number
  /** Rows of a micro batch of this rank. */
  readonly rows: number
  /** Micro batches of a step. */
  readonly microBatches: number
}

/** Bytes on the device. */
export interface RankMemory {
  /** Shards of the weights, float32. */
  readonly weights: number
  /** Shards of AdamW's two moments, float32. */
  readonly moments: number
  /** Shards of the gradients at the end of the backward pass, float32. */
  readonly gradients: number
  /** Activations stored for the backward pass. */
  readonly activations: number
  /** Gathered output layer, its gradient, and logits during the loss. */
  readonly outputLayer: number
  /** Largest sum that exists at one time; less than the sum of the parts. */
  readonly peak: number
}

type Layout = Omit<
  TorchOptions,
  | 'nproc'
  | 'device'
  | 'compile'
  | 'activation_memory_budget'
  | 'python'
  | 'start_timeout_s'
  | 'step_timeout_s'
  | 'max_restarts'
>

/** Logits processed at once: `_FUSED_BYTES` of torch/penstock_torch/loss.py. */
const LOGIT_BYTES = 2 ** 28

export function rankMemory(model: ModelOptions, layout: Layout, work: RankWork): RankMemory {
  const shapes = shapesOf(model, layout, work)
  const { parameters, shards, layers } = shapes
  const weights = (4 * parameters) / shards
  const held = 3 * weights
  const layer = storedByLayer(model, shapes, false)
  const kept = storedByLayer(model, shapes, layout.activation_checkpointing)
  const checkpointed = Math.ceil(layers / layout.checkpointed_layers_every)
  const ofLayers = checkpointed * kept + (layers - checkpointed) * layer
  const output = outputLayer(model, shapes)
  const activations = ofLayers + (1 + 2 * shapes.tensor) * shapes.compute * shapes.states
  const isReducedLate = layout.reduce_every === 'step' && shapes.shards > shapes.tensor
  const accumulated = isReducedLate ? (4 * parameters) / shapes.tensor : weights
  const earlier = work.microBatches > 1 ? accumulated : 0
  const inLayer = layerBackward(model, shapes, layer - kept)
  const atTheLoss = earlier + activations + output
  const inLastLayer = earlier + activations + layerBackward(model, shapes, 0)
  const afterCheckpointed = (layers - 1) % layout.checkpointed_layers_every
  const inCheckpointed = earlier + activations - afterCheckpointed * layer + inLayer
  const embedding = model.vocab_size * model.width
  const beforeEmbedding = weights - (4 * embedding) / shards
  const inFirstLayer =
    beforeEmbedding + activations - (ofLayers - kept) + inLayer - (4 * shapes.layerParameters) / shards
  const atTheEmbedding = beforeEmbedding + ((shapes.compute + 4) * embedding) / shapes.tensor
  const peak = held + Math.max(atTheLoss, inLastLayer, inCheckpointed, inFirstLayer, atTheEmbedding)
  return { weights, moments: 2 * weights, gradients: weights, activations, outputLayer: output, peak }
}

interface Shapes {
  readonly parameters: number
  readonly layerParameters: number
  readonly layers: number
  /** Ranks that share a weight and its moments. */
  readonly shards: number
  readonly tensor: number
  /** Bytes of a number in the forward and backward passes. */
  readonly compute: number
  readonly tokens: number
  /** Numbers in the residual stream of a rank. */
  readonly states: number
}

function shapesOf(model: ModelOptions, layout: Layout, { worldSize, rows }: RankWork): Shapes {
  const specs = weightSpecs(model)
  const tensor = layout.tensor_parallel
  const tokens = rows * model.sequence_length
  const parametersOf = (prefix: string) =>
    specs.filter(({ name }) => name.startsWith(prefix)).reduce((sum, { shape }) => sum + elementCount(shape), 0)
  return {
    parameters: parametersOf(''),
    layerParameters: parametersOf(layerName(0, '')),
    layers: model.layers,
    shards: tensor * (layout.shard_degree ?? worldSize / layout.replicate_degree / tensor),
    tensor,
    compute: layout.mixed_precision === 'none' ? 4 : 2,
    tokens,
    states: (tokens * model.width) / tensor,
  }
}

/**
 * Activations that a layer stores: inputs of norms, of products and of the activation function, and of attention. With
 * selective checkpointing, the layer's input and the results of products and attention.
 */
function storedByLayer(
  model: ModelOptions,
  { compute, tokens, tensor, states }: Shapes,
  checkpointing: TorchOptions['activation_checkpointing'],
): number {
  if (checkpointing === true) return compute * states
  const { heads, head_dim: headDim, ffn_width: inner } = model
  const gated = model.activation === 'swiglu' ? 2 : 1
  const [queryWidth, keyWidth] = [heads * headDim, model.kv_heads * headDim]
  const logSums = (4 * tokens * heads) / tensor
  if (checkpointing === 'selective') {
    // A row-wise product has a result of full width on each rank, whose reduction is stored too.
    const results = tensor === 1 ? 2 : 2 + 2 * tensor
    const split = (tokens / tensor) * (2 * queryWidth + 2 * keyWidth + gated * inner)
    return compute * ((1 + results) * states + split) + logSums
  }
  // In float32 attention has no kernel for shared key heads, so they are repeated.
  const keys = compute === 4 ? queryWidth : keyWidth
  const normalized = model.qk_norm ? queryWidth + keyWidth : 0
  const split = (tokens / tensor) * (2 * queryWidth + 2 * keys + normalized + 2 * gated * inner)
  return compute * (2 * states + 2 * tokens * model.width + split) + logSums
}

/**
 * Gathered weights of two layers and gradients of one, next to either temporary activations or, once these are free, the
 * input of the gradients' reduction.
 */
function layerBackward({ ffn_width: inner }: ModelOptions, shapes: Shapes, recomputed: number): number {
  const { compute, layerParameters, tensor, tokens, states } = shapes
  const temporary = compute * ((2 * tokens * inner) / tensor + 2 * states)
  return (3 * compute * layerParameters) / tensor + Math.max(temporary + recomputed, (4 * layerParameters) / tensor)
}

function outputLayer(model: ModelOptions, { compute, tokens, tensor, shards }: Shapes): number {
  const { width } = model
  const vocabulary = model.vocab_size / tensor
  const weights = vocabulary * width
  const block = Math.min(tokens, Math.ceil(LOGIT_BYTES / 4 / vocabulary)) * vocabulary
  const logits = Math.max((4 + compute) * block, compute * block + compute * weights)
  // The buffer of the all-gather stays until the next one.
  const gathered = model.tie_weights || shards === 1 ? compute : 2 * compute
  return (gathered + 4) * weights + logits + compute * tokens * width
}
