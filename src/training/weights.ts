/**
 * Names, shapes, parameter groups and initial values of the model's weights. Names are those of Llama in Hugging Face
 * transformers (extended by learned positions, biases and gelu) and matrices have the layout of torch's nn.Linear,
 * [out, in], so that every engine can load the same safetensors file.
 *
 *   model.embed_tokens.weight                         [vocab, width]     embedding; also the output layer when tied
 *   model.embed_positions.weight                      [sequence, width]  with learned positions
 *   model.layers.N.input_layernorm.weight             [width]            before attention
 *   model.layers.N.self_attn.{q,k,v}_proj.weight      [heads x head width, width]; k and v: kv_heads
 *   model.layers.N.self_attn.o_proj.weight            [width, width]
 *   model.layers.N.self_attn.{q,k}_norm.weight        [head width]       with qk_norm, shared by the heads
 *   model.layers.N.post_attention_layernorm.weight    [width]            before the feed-forward network
 *   model.layers.N.mlp.gate_proj.weight               [ffn, width]       with swiglu
 *   model.layers.N.mlp.up_proj.weight                 [ffn, width]
 *   model.layers.N.mlp.down_proj.weight               [width, ffn]
 *   model.norm.weight                                 [width]
 *   lm_head.weight                                    [vocab, width]     unless tied
 *   ... .bias                                         [out]              of all weights but embeddings, lm_head, q_norm and k_norm
 */
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
  const keyWidth = (width / model.heads) * model.kv_heads
  const specs: WeightSpec[] = [embedding(embeddingName, [model.vocab_size, width], model)]
  if (model.position === 'learned') {
    specs.push(embedding(positionsName, [model.sequence_length, width], model))
  }
  for (let layer = 0; layer < model.layers; layer++) {
    const at = (part: string) => layerName(layer, part)
    specs.push(
      ...norm(at('input_layernorm'), model),
      ...linear(at('self_attn.q_proj'), width, width, model),
      ...linear(at('self_attn.k_proj'), keyWidth, width, model),
      ...linear(at('self_attn.v_proj'), keyWidth, width, model),
      ...linear(at('self_attn.o_proj'), width, width, model, residualStd),
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
  return 6 * (parameterCount(model) - lookedUp) + 12 * model.layers * model.sequence_length * model.width
}

export function parameterCount(model: ModelOptions): number {
  return weightSpecs(model).reduce((sum, { shape }) => sum + elementCount(shape), 0)
}

export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1)
}

/**
 * Initial values of a weight, in pieces. Each weight has a separate generator, seeded by the run's seed and the weight's
 * name, so that adding a weight does not change the others: sfc32 seeded through FNV-1a, Box-Muller on 32-bit draws.
 */
export function* initialPieces({ name, shape, std, fill }: WeightSpec, seed: number): Generator<Float32Array> {
  const draw = uniformGenerator(`${seed}:${name}`)
  const total = elementCount(shape)
  for (let done = 0; done < total; done += PIECE_ELEMENTS) {
    const values = new Float32Array(Math.min(PIECE_ELEMENTS, total - done)).fill(fill)
    if (std !== 0) fillNormal(values, std, draw)
    yield values
  }
}

/** Even, because values are drawn in pairs. */
const PIECE_ELEMENTS = 1 << 20

function fillNormal(values: Float32Array, std: number, draw: () => number): void {
  for (let i = 0; i < values.length; i += 2) {
    const radius = std * Math.sqrt(-2 * Math.log(1 - draw()))
    const angle = 2 * Math.PI * draw()
    values[i] = radius * Math.cos(angle)
    if (i + 1 < values.length) values[i + 1] = radius * Math.sin(angle)
  }
}

/** Uniform numbers in [0, 1) from sfc32, seeded by a string. */
export function uniformGenerator(seed: string): () => number {
  let hash = 0x811c9dc5
  for (const byte of new TextEncoder().encode(seed)) {
    hash = Math.imul(hash ^ byte, 0x01000193)
  }
  let [a, b, c, counter] = [hash | 0, 0x9e3779b9 | 0, 0x243f6a88 | 0, 1]
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

function headNorm(prefix: string, { width, heads }: ModelOptions): WeightSpec {
  return { name: `${prefix}.weight`, shape: [width / heads], group: 'norm', std: 0, fill: 1 }
}

function linear(prefix: string, out: number, into: number, model: ModelOptions, std = model.init_std): WeightSpec[] {
  const weight: WeightSpec = { name: `${prefix}.weight`, shape: [out, into], group: 'linear', std, fill: 0 }
  return model.bias ? [weight, { name: `${prefix}.bias`, shape: [out], group: 'bias', std: 0, fill: 0 }] : [weight]
}
