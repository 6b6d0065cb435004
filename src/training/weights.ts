/**
 * Names, shapes, parameter groups and initial values of the model's weights. Names are those of Llama in Hugging Face
 * transformers (extended by learned positions, biases and gelu) and matrices have the layout of torch's nn.Linear,
 * [out, in], so that every engine can load the same safetensors file.
 *
 *   model.embed_tokens.weight                         [vocab, width]     embedding; also the output layer when tied
 *   model.embed_positions.weight                      [sequence, width]  with learned positions
 *   model.layers.N.input_layernorm.weight             [width]            before attention
 *   model.layers.N.self_attn.{q,k,v}_proj.weight      [heads x head_dim, width]; k and v: kv_heads
 *   model.layers.N.self_attn.o_proj.weight            [width, heads x head_dim]
 *   model.layers.N.self_attn.{q,k}_norm.weight        [head_dim]         with qk_norm, shared by the heads
 *   model.layers.N.post_attention_layernorm.weight    [width]            before the feed-forward network
 *   model.layers.N.mlp.gate_proj.weight               [ffn, width]       with swiglu
 *   model.layers.N.mlp.up_proj.weight                 [ffn, width]
 *   model.layers.N.mlp.down_proj.weight               [width, ffn]
 *   model.norm.weight                                 [width]
 *   lm_head.weight                                    [vocab, width]     unless tied
 *   ... .bias                                         [out]              of all weights but embeddings, lm_head, q_norm and k_norm
 */
import { normalOf } from '../sampling/normal.js'
import { PHILOX_NUMBERS, philox } from '../sampling/philox.js'
import type { ModelOptions, ParameterGroup } from './options.js'

export interface WeightSpec {
  readonly name: string
  readonly shape: readonly number[]
  readonly group: ParameterGroup
  /** Standard deviation of the initial values; 0 means that all are `fill`. */
  readonly std: number
  readonly fill: number
}

/** A tensor outside any engine; row-major. */
export interface NamedTensor {
  readonly shape: readonly number[]
  readonly values: Float32Array
}

export const embeddingName = 'model.embed_tokens.weight'
export const positionsName = 'model.embed_positions.weight'
export const finalNormName = 'model.norm'

export function headName(model: ModelOptions): string {
  return model.tie_weights ? embeddingName : 'lm_head.weight'
}

export function layerName(layer: number, part: string): string {
  return `model.layers.${layer}.${part}`
}

/** All weights of a model, in a fixed order. */
export function weightSpecs(model: ModelOptions): readonly WeightSpec[] {
  const { width, ffn_width: ffnWidth } = model
  const residualStd = model.init_std / Math.sqrt(2 * model.layers)
  const [queryWidth, keyWidth] = [model.heads, model.kv_heads].map(heads => heads * model.head_dim) as [number, number]
  const specs: WeightSpec[] = [embedding(embeddingName, [model.vocab_size, width], model)]
  if (model.position === 'learned') {
    specs.push(embedding(positionsName, [model.sequence_length, width], model))
  }
  for (let layer = 0; layer < model.layers; layer++) {
    const at = (part: string) => layerName(layer, part)
    specs.push(
      ...norm(at('input_layernorm'), model),
      ...linear(at('self_attn.q_proj'), queryWidth, width, model),
      ...linear(at('self_attn.k_proj'), keyWidth, width, model),
      ...linear(at('self_attn.v_proj'), keyWidth, width, model),
      ...linear(at('self_attn.o_proj'), width, queryWidth, model, residualStd),
      ...(model.qk_norm ? [headNorm(at('self_attn.q_norm'), model), headNorm(at('self_attn.k_norm'), model)] : []),
      ...norm(at('post_attention_layernorm'), model),
      ...(model.activation === 'swiglu' ? linear(at('mlp.gate_proj'), ffnWidth, width, model) : []),
      ...linear(at('mlp.up_proj'), ffnWidth, width, model),
      ...linear(at('mlp.down_proj'), width, ffnWidth, model, residualStd),
    )
  }
  specs.push(...norm(finalNormName, model))
  if (!model.tie_weights) {
    specs.push({ ...embedding(headName(model), [model.vocab_size, width], model), group: 'linear' })
  }
  return specs
}

/**
 * Floating-point operations of a training step per token, as torchtitan counts them: without the input embedding, which is
 * a look-up, and without the operations that causal attention or recomputation save or add.
 */
export function flopsPerToken(model: ModelOptions): number {
  const inputs = weightSpecs(model).filter(
    ({ name }) => name === positionsName || (name === embeddingName && !model.tie_weights),
  )
  const lookedUp = inputs.reduce((sum, { shape }) => sum + elementCount(shape), 0)
  return (
    6 * (parameterCount(model) - lookedUp) + 12 * model.layers * model.sequence_length * model.heads * model.head_dim
  )
}

export function parameterCount(model: ModelOptions): number {
  return weightSpecs(model).reduce((sum, { shape }) => sum + elementCount(shape), 0)
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/**
 * Initial values of a weight, in pieces. Number i of a weight is the number at i % 4 of block i / 4 of Philox, whose key is the
 * run's seed and a hash of the weight's name, so that adding a weight does not change the others, and every rank of the
 * torch engine can compute its own part.
 */
export function* initialPieces({ name, shape, std, fill }: WeightSpec, seed: number): Generator<Float32Array> {
  const total = elementCount(shape)
  for (let done = 0; done < total; done += PIECE_ELEMENTS) {
    const values = new Float32Array(Math.min(PIECE_ELEMENTS, total - done)).fill(fill)
    if (std !== 0) fillNormal(values, done, std, { name, seed })
    yield values
  }
}

/** A multiple of the numbers in a block; few enough not to delay the event loop. */
const PIECE_ELEMENTS = 1 << 14

/** @param first number of the first value in its weight, a multiple of the numbers in a block */
function fillNormal(
  values: Float32Array,
  first: number,
  std: number,
  { name, seed }: { readonly name: string; readonly seed: number },
): void {
  const numbers = new Uint32Array(PHILOX_NUMBERS)
  const key = Uint32Array.of(seed, fnv1a(name))
  const counter = Uint32Array.of(0, 0, Math.floor(seed / 2 ** 32), 0)
  for (let at = 0; at < values.length; at += PHILOX_NUMBERS) {
    const block = (first + at) / PHILOX_NUMBERS
    counter[0] = block
    counter[1] = Math.floor(block / 2 ** 32)
    philox(counter, key, numbers)
    const count = Math.min(PHILOX_NUMBERS, values.length - at)
    for (let place = 0; place < count; place++) values[at + place] = normalOf(numbers[place]!) * std
  }
}

/** 32-bit FNV-1a. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(text)) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** Uniform numbers in [0, 1) from sfc32, seeded by a string. */
export function uniformGenerator(seed: string): () => number {
  let [a, b, c, counter] = [fnv1a(seed) | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1]
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (((c << 21) | (c >>> 11)) + sum) | 0
    return (sum >>> 0) / 0x1_0000_0000
  }
  for (let i = 0; i < 16; i++) {
    next()
  }
  return next
}

function embedding(name: string, shape: readonly number[], model: ModelOptions): WeightSpec {
  return { name, shape, group: 'embedding', std: model.init_std, fill: 0 }
}

function norm(prefix: string, model: ModelOptions): readonly WeightSpec[] {
  const shape = [model.width]
  const weight: WeightSpec = { name: `${prefix}.weight`, shape, group: 'norm', std: 0, fill: 1 }
  return model.bias ? [weight, { name: `${prefix}.bias`, shape, group: 'norm', std: 0, fill: 0 }] : [weight]
}

function headNorm(prefix: string, { head_dim }: ModelOptions): WeightSpec {
  return { name: `${prefix}.weight`, shape: [head_dim], group: 'norm', std: 0, fill: 1 }
}

function linear(prefix: string, out: number, into: number, model: ModelOptions, std = model.init_std): WeightSpec[] {
  const weight: WeightSpec = { name: `${prefix}.weight`, shape: [out, into], group: 'linear', std, fill: 0 }
  return model.bias ? [weight, { name: `${prefix}.bias`, shape: [out], group: 'bias', std: 0, fill: 0 }] : [weight]
}
