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

type Layout = Pick<
  TorchOptions,
  'mixed_precision' | 'activation_checkpointing' | 'replicate_degree' | 'shard_degree' | 'tensor_parallel'
>

/** Logits processed at once: `_FUSED_BYTES` of torch/penstock_torch/loss.py. */
const LOGIT_BYTES = 2 ** 28

export function rankMemory(model: ModelOptions, layout: Layout, work: RankWork): RankMemory {
  const shapes = shapesOf(model, layout, work)
  const { parameters, shards, layers } = shapes
  const weights = (4 * parameters) / shards
  const held = 3 * weights
  const layer = storedByLayer(model, shapes)
  const output = outputLayer(model, shapes)
  const stored = layout.activation_checkpointing ? shapes.compute * shapes.states : layer
  const activations = layers * stored + (1 + 2 * shapes.tensor) * shapes.compute * shapes.states
  const earlier = work.microBatches > 1 ? weights : 0
  const recomputed = layout.activation_checkpointing ? layer - stored : 0
  const inLayer = layerBackward(model, shapes, recomputed)
  const atTheLoss = earlier + activations + output
  const inLastLayer = earlier + activations + inLayer
  const embedding = model.vocab_size * model.width
  const beforeEmbedding = weights - (4 * embedding) / shards
  const inFirstLayer =
    beforeEmbedding + activations - (layers - 1) * stored + inLayer - (4 * shapes.layerParameters) / shards
  const atTheEmbedding = beforeEmbedding + ((shapes.compute + 4) * embedding) / shapes.tensor
  const peak = held + Math.max(atTheLoss, inLastLayer, inFirstLayer, atTheEmbedding)
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

/** Activations that a layer stores: inputs of norms, of products and of the activation function, and of attention. */
function storedByLayer(model: ModelOptions, { compute, tokens, tensor, states }: Shapes): number {
  const { width, heads, ffn_width: inner } = model
  // In float32 attention has no kernel for shared key heads, so they are repeated.
  const keys = compute === 4 ? width : (width / heads) * model.kv_heads
  const split = (tokens / tensor) * (2 * width + 2 * keys + (model.activation === 'swiglu' ? 4 : 2) * inner)
  const logSums = (4 * tokens * heads) / tensor
  return compute * (2 * states + 2 * tokens * width + split) + logSums
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

function outputLayer(model: ModelOptions, { compute, tokens, tensor, shards, states }: Shapes): number {
  const { vocab_size: vocabulary, width } = model
  const weights = (vocabulary * width) / tensor
  if (tensor > 1) {
    // All logits are gathered from the ranks of the group.
    return 2 * compute * weights + compute * (3 + 1 / tensor) * tokens * vocabulary
  }
  const block = Math.min(tokens, Math.ceil(LOGIT_BYTES / 4 / vocabulary)) * vocabulary
  const logits = Math.max((4 + compute) * block, compute * block + compute * weights)
  // The buffer of the all-gather stays until the next one.
  const gathered = model.tie_weights || shards === 1 ? compute : 2 * compute
  return (gathered + 4) * weights + logits + compute * states
}
