/**
 * Forward and backward pass of the GPT. Each part returns its value and a pullback, which maps the gradient of that value
 * to the gradient of the part's input and adds the gradients of weights to a `Gradients`. Activations are kept from the
 * forward pass until their pullback has used them.
 */
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { TrainingBatch } from '../engine.js'
import type { ModelOptions } from '../options.js'
import { embeddingName, finalNormName, headName, layerName, positionsName } from '../weights.js'
import type { KeyValueCache } from './key-value-cache.js'
import { attendToAll, type Operations, type Rotary } from './operations.js'

export type Weights = ReadonlyMap<string, Tensor>

/** Consumes the gradient of a part's output and returns the gradient of its input. */
type Pullback = (gradient: Tensor2D, gradients: Gradients) => Tensor2D

interface Part {
  readonly value: Tensor2D
  readonly pullback: Pullback
}

/** Gradients of weights, summed over uses of a weight and over micro batches. */
export class Gradients {
  readonly byName = new Map<string, Tensor>()

  /** Takes ownership of the gradient. */
  add(name: string, gradient: Tensor): void {
    const before = this.byName.get(name)
    const sum = before === undefined ? gradient : tf.add(before, gradient)
    this.byName.set(name, tf.keep(sum))
    if (before !== undefined) {
      tf.dispose([before, gradient])
    }
  }
}

/** Inputs common to all parts of a pass over one micro batch. */
interface PassContext {
  readonly model: ModelOptions
  readonly weights: Weights
  readonly operations: Operations
  readonly batch: number
  readonly rotary: Rotary | undefined
  /** Position of each token, [batch * columns], where it is not its column. */
  readonly positions: Tensor1D | undefined
  /** Restricts attention to documents. */
  readonly mask: Tensor | undefined
  readonly cached: CachedTokens | undefined
}

/** Tokens of the same row before those of a pass, for inference on one row. */
export interface CachedTokens {
  readonly count: number
  readonly cache: KeyValueCache
}

/** Logits, shape [rows * columns, vocab_size]; call inside tf.tidy. */
export function logitsOf(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  batch: Omit<TrainingBatch, 'targets' | 'weights'>,
  cached?: CachedTokens,
): Tensor2D {
  return network(openPass(model, weights, operations, batch, cached), batch).value
}

/** Loss summed over a micro batch; call inside tf.tidy. */
export function lossOf(model: ModelOptions, weights: Weights, operations: Operations, batch: TrainingBatch): tf.Scalar {
  return operations.crossEntropy(logitsOf(model, weights, operations, batch), targetsOf(batch))
}

/**
 * Loss summed over a micro batch; adds its gradient, times `scale`, to `gradients`. Call inside tf.tidy; the gradients are
 * kept.
 */
export function accumulateGradients(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  batch: TrainingBatch,
  scale: number,
  gradients: Gradients,
): tf.Scalar {
  const { value: logits, pullback } = network(openPass(model, weights, operations, batch), batch)
  const { loss, gradient } = operations.crossEntropyGradient(logits, targetsOf(batch), scale)
  logits.dispose()
  pullback(gradient, gradients).dispose()
  return loss
}

function targetsOf(batch: TrainingBatch): Tensor1D {
  return tf.tensor1d(batch.targets, 'int32')
}

function openPass(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  { rows, columns, documents }: Pick<TrainingBatch, 'rows' | 'columns' | 'documents'>,
  cached?: CachedTokens,
): PassContext {
  const starts = documents && tf.tensor1d(documents.starts, 'int32')
  const mask = starts && operations.attentionMask(starts, rows)
  const positions = documents?.restartPositions ? tf.sub<Tensor1D>(columnsOf(rows, columns), starts!) : undefined
  const rotary =
    model.position === 'rotary' ? rotaryOf(model, operations, columns, positions, cached?.count) : undefined
  return { model, weights, operations, batch: rows, rotary, positions, mask, cached }
}

/** The column of each token, [rows * columns]. */
function columnsOf(rows: number, columns: number, first = 0): Tensor1D {
  return tf.tensor1d(
    Int32Array.from({ length: rows * columns }, (_, index) => first + (index % columns)),
    'int32',
  )
}

function rotaryOf(
  model: ModelOptions,
  operations: Operations,
  columns: number,
  positions: Tensor1D | undefined,
  first: number | undefined,
): Rotary {
  const tables = rotaryTables(model, columns, first)
  if (positions === undefined) return tables
  return { cos: operations.embed(tables.cos, positions), sin: operations.embed(tables.sin, positions) }
}

function rotaryTables(model: ModelOptions, time: number, first = 0): Rotary {
  const headWidth = model.head_dim
  const pairs = headWidth / 2
  const cos = new Float32Array(time * pairs)
  const sin = new Float32Array(time * pairs)
  for (let position = 0; position < time; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = (first + position) * model.rotary_base ** ((-2 * pair) / headWidth)
      cos[position * pairs + pair] = Math.cos(angle)
      sin[position * pairs + pair] = Math.sin(angle)
    }
  }
  return { cos: tf.tensor2d(cos, [time, pairs]), sin: tf.tensor2d(sin, [time, pairs]) }
}

function network(context: PassContext, batch: Pick<TrainingBatch, 'inputs' | 'rows' | 'columns'>): Part {
  const { model } = context
  const ids = tf.tensor1d(batch.inputs, 'int32')
  const embedded = embedding(context, ids, batch)
  const parts: Part[] = []
  let state = embedded.value
  const append = (part: Part) => {
    parts.push(part)
    state = part.value
  }
  for (let layer = 0; layer < model.layers; layer++) {
    append(residual(context, state, input => attention(context, layer, input)))
    append(residual(context, state, input => feedForward(context, layer, input)))
  }
  append(norm(context, finalNormName, state))
  append(linear(context, headName(model), undefined, state))
  return {
    value: state,
    pullback: (gradient, gradients) => embedded.pullback(pullbackThrough(parts, gradient, gradients), gradients),
  }
}

function pullbackThrough(parts: readonly Part[], gradient: Tensor2D, gradients: Gradients): Tensor2D {
  return parts.reduceRight((upstream, part) => part.pullback(upstream, gradients), gradient)
}

function weightOf<T extends Tensor>(context: PassContext, name: string): T {
  return context.weights.get(name) as T
}

/** Token embedding, and position embedding when positions are learned. */
function embedding(
  context: PassContext,
  ids: Tensor1D,
  { rows, columns }: Pick<TrainingBatch, 'rows' | 'columns'>,
): Part {
  const { operations, model } = context
  const tokens = operations.embed(weightOf(context, embeddingName), ids)
  const tokensPullback: Pullback = (gradient, gradients) => {
    gradients.add(embeddingName, operations.embedGradient(gradient, ids, model.vocab_size))
    return gradient
  }
  if (model.position !== 'learned') {
    return { value: tokens, pullback: tokensPullback }
  }
  const places = context.positions ?? columnsOf(rows, columns, context.cached?.count)
  const positions = operations.embed(weightOf(context, positionsName), places)
  return {
    value: operations.add(tokens, positions),
    pullback: (gradient, gradients) => {
      gradients.add(positionsName, operations.embedGradient(gradient, places, model.sequence_length))
      return tokensPullback(gradient, gradients)
    },
  }
}

/** input + inner(input) */
function residual(context: PassContext, input: Tensor2D, inner: (input: Tensor2D) => Part): Part {
  const { operations } = context
  const part = inner(input)
  return {
    value: operations.add(input, part.value),
    pullback: (gradient, gradients) => {
      const through = part.pullback(gradient.clone(), gradients)
      const sum = operations.add(gradient, through)
      tf.dispose([gradient, through])
      return sum
    },
  }
}

function norm(context: PassContext, name: string, input: Tensor2D): Part {
  return normBy(context, context.model, name, input)
}

function normBy(
  context: PassContext,
  { norm: kind, bias: isBiased }: Pick<ModelOptions, 'norm' | 'bias'>,
  name: string,
  input: Tensor2D,
): Part {
  const { operations, model } = context
  const weight = weightOf<Tensor1D>(context, `${name}.weight`)
  const bias = isBiased ? weightOf<Tensor1D>(context, `${name}.bias`) : undefined
  const { value, saved } = operations.norm(kind, input, weight, bias, model.norm_eps)
  return {
    value,
    pullback: (gradient, gradients) => {
      const result = operations.normGradient(kind, gradient, input, weight, saved)
      gradients.add(`${name}.weight`, result.weight)
      if (bias !== undefined) {
        gradients.add(`${name}.bias`, operations.sumRows(gradient))
      }
      tf.dispose([gradient, ...saved])
      return result.input
    },
  }
}

/** A linear layer, given the full names of its weight and bias. */
function linear(context: PassContext, weightName: string, biasName: string | undefined, input: Tensor2D): Part {
  const { operations } = context
  const weight = weightOf<Tensor2D>(context, weightName)
  const bias = biasName === undefined ? undefined : weightOf<Tensor1D>(context, biasName)
  return {
    value: operations.linear(input, weight, bias),
    pullback: (gradient, gradients) => {
      gradients.add(weightName, operations.linearWeightGradient(gradient, input))
      if (biasName !== undefined) {
        gradients.add(biasName, operations.sumRows(gradient))
      }
      const through = operations.linearInputGradient(gradient, weight)
      gradient.dispose()
      return through
    },
  }
}

/** A linear layer inside a transformer layer, with a bias if the model has biases. */
function layerLinear(context: PassContext, layer: number, part: string, input: Tensor2D): Part {
  const name = layerName(layer, part)
  return linear(context, `${name}.weight`, context.model.bias ? `${name}.bias` : undefined, input)
}

function attention(context: PassContext, layer: number, input: Tensor2D): Part {
  const { operations, model, batch, rotary, mask, cached } = context
  const before = norm(context, layerName(layer, 'input_layernorm'), input)
  const project = (part: string) => layerLinear(context, layer, `self_attn.${part}`, before.value)
  const queries = headNorm(context, layerName(layer, 'self_attn.q_norm'), project('q_proj'))
  const keys = headNorm(context, layerName(layer, 'self_attn.k_norm'), project('k_proj'))
  const values = project('v_proj')
  const query = operations.toHeads(queries.value, batch, model.heads, rotary)
  const own = {
    key: operations.toHeads(keys.value, batch, model.kv_heads, rotary),
    value: operations.toHeads(values.value, batch, model.kv_heads, undefined),
  }
  const { key, value } = cached === undefined ? own : cached.cache.extend(layer, own)
  tf.dispose([queries.value, keys.value, values.value])
  const attended = cached?.count
    ? { value: attendToAll(query, key, value), saved: [] }
    : operations.attention(query, key, value, mask)
  const merged = operations.fromHeads(attended.value, undefined)
  attended.value.dispose()
  const after = layerLinear(context, layer, 'self_attn.o_proj', merged)
  return {
    value: after.value,
    pullback: (gradient, gradients) => {
      const upstream = after.pullback(gradient, gradients)
      const heads = operations.toHeads(upstream, batch, model.heads, undefined)
      const inner = operations.attentionGradient(heads, query, key, value, mask, attended.saved)
      tf.dispose([merged, upstream, heads, query, key, value, ...attended.saved])
      const sum = addAll(operations, [
        queries.pullback(operations.fromHeads(inner.query, rotary), gradients),
        keys.pullback(operations.fromHeads(inner.key, rotary), gradients),
        values.pullback(operations.fromHeads(inner.value, undefined), gradients),
      ])
      tf.dispose([before.value, inner.query, inner.key, inner.value])
      return before.pullback(sum, gradients)
    },
  }
}

/** With `qk_norm`, normalizes each head of projected queries or keys, [rows, heads * head width]. Consumes `projected.value`. */
function headNorm(context: PassContext, name: string, projected: Part): Part {
  const { model } = context
  if (!model.qk_norm) return projected
  const { shape } = projected.value
  const reshaped = (input: Tensor2D, to: [number, number]): Tensor2D => {
    const result = tf.reshape<tf.Rank.R2>(input, to)
    input.dispose()
    return result
  }
  const heads = reshaped(projected.value, [-1, model.head_dim])
  const normal = normBy(context, { norm: 'rms', bias: false }, name, heads)
  return {
    value: reshaped(normal.value, shape),
    pullback: (gradient, gradients) => {
      const through = normal.pullback(reshaped(gradient, heads.shape), gradients)
      heads.dispose()
      return projected.pullback(reshaped(through, shape), gradients)
    },
  }
}

/** Disposes of the terms. */
function addAll(operations: Operations, terms: readonly Tensor2D[]): Tensor2D {
  return terms.reduce((sum, term) => {
    const next = operations.add(sum, term)
    tf.dispose([sum, term])
    return next
  })
}

function feedForward(context: PassContext, layer: number, input: Tensor2D): Part {
  const before = norm(context, layerName(layer, 'post_attention_layernorm'), input)
  const inner =
    context.model.activation === 'gelu'
      ? geluUnit(context, layer, before.value)
      : swigluUnit(context, layer, before.value)
  const after = layerLinear(context, layer, 'mlp.down_proj', inner.value)
  return {
    value: after.value,
    pullback: (gradient, gradients) => {
      const upstream = after.pullback(gradient, gradients)
      inner.value.dispose()
      const through = inner.pullback(upstream, gradients)
      before.value.dispose()
      return before.pullback(through, gradients)
    },
  }
}

function geluUnit(context: PassContext, layer: number, input: Tensor2D): Part {
  const { operations } = context
  const up = layerLinear(context, layer, 'mlp.up_proj', input)
  return {
    value: operations.gelu(up.value),
    pullback: (gradient, gradients) => {
      const through = operations.geluGradient(gradient, up.value)
      tf.dispose([gradient, up.value])
      return up.pullback(through, gradients)
    },
  }
}

function swigluUnit(context: PassContext, layer: number, input: Tensor2D): Part {
  const { operations } = context
  const gate = layerLinear(context, layer, 'mlp.gate_proj', input)
  const up = layerLinear(context, layer, 'mlp.up_proj', input)
  return {
    value: operations.swiglu(gate.value, up.value),
    pullback: (gradient, gradients) => {
      const inner = operations.swigluGradient(gradient, gate.value, up.value)
      tf.dispose([gradient, gate.value, up.value])
      return addAll(operations, [gate.pullback(inner.gate, gradients), up.pullback(inner.up, gradients)])
    },
  }
}
