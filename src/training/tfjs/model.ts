/**
 * A GPT as two readings of the same text: forward, and its pullbacks backward. Each part returns its value and a
 * pullback that turns the gradient of that value into the gradient of the part's input, leaving the gradients of weights
 * in a `Gradients`. Activations live from the forward reading until their pullback has used them.
 */
import type { Tensor, Tensor1D, Tensor2D } from '@tensorflow/tfjs-core'
import * as tf from '@tensorflow/tfjs-core'
import type { TrainingBatch } from '../engine.js'
import type { ModelOptions } from '../options.js'
import { embeddingName, finalNormName, headName, layerName, positionsName } from '../weights.js'
import type { Operations, Rotary } from './operations.js'

export type Weights = ReadonlyMap<string, Tensor>

/** Takes over the gradient of a part's output and returns that of its input. */
type Pullback = (gradient: Tensor2D, gradients: Gradients) => Tensor2D

interface Part {
  readonly value: Tensor2D
  readonly pull: Pullback
}

/** Gradients of weights, added up over uses of a weight and over micro batches. */
export class Gradients {
  readonly byName = new Map<string, Tensor>()

  /** Takes over the gradient. */
  add(name: string, gradient: Tensor): void {
    const before = this.byName.get(name)
    const sum = before === undefined ? gradient : tf.add(before, gradient)
    this.byName.set(name, tf.keep(sum))
    if (before !== undefined) {
      tf.dispose([before, gradient])
    }
  }
}

/** What a reading of the model works with; shapes are those of one micro batch. */
interface Reading {
  readonly model: ModelOptions
  readonly weights: Weights
  readonly operations: Operations
  readonly batch: number
  readonly rotary: Rotary | undefined
}

/** Logits, shape [rows * columns, vocab_size]; call inside a tidy. */
export function logitsOf(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  batch: Pick<TrainingBatch, 'inputs' | 'rows' | 'columns'>,
): Tensor2D {
  return network(openReading(model, weights, operations, batch), batch).value
}

/** Loss summed over a micro batch; call inside a tidy. */
export function lossOf(model: ModelOptions, weights: Weights, operations: Operations, batch: TrainingBatch): tf.Scalar {
  return operations.crossEntropy(logitsOf(model, weights, operations, batch), targetsOf(batch))
}

/**
 * Loss summed over a micro batch; its gradient, times `scale`, is added to `gradients`. Call inside a tidy; the gradients
 * outlive it.
 */
export function learn(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  batch: TrainingBatch,
  scale: number,
  gradients: Gradients,
): tf.Scalar {
  const { value: logits, pull } = network(openReading(model, weights, operations, batch), batch)
  const { loss, gradient } = operations.crossEntropyGradient(logits, targetsOf(batch), scale)
  logits.dispose()
  pull(gradient, gradients).dispose()
  return loss
}

function targetsOf(batch: TrainingBatch): Tensor1D {
  return tf.tensor1d(batch.targets, 'int32')
}

function openReading(
  model: ModelOptions,
  weights: Weights,
  operations: Operations,
  { rows, columns }: Pick<TrainingBatch, 'rows' | 'columns'>,
): Reading {
  const rotary = model.position === 'rotary' ? rotaryTables(model, columns) : undefined
  return { model, weights, operations, batch: rows, rotary }
}

function rotaryTables(model: ModelOptions, time: number): Rotary {
  const headWidth = model.width / model.heads
  const pairs = headWidth / 2
  const cos = new Float32Array(time * pairs)
  const sin = new Float32Array(time * pairs)
  for (let position = 0; position < time; position++) {
    for (let pair = 0; pair < pairs; pair++) {
      const angle = position * model.rotary_base ** ((-2 * pair) / headWidth)
      cos[position * pairs + pair] = Math.cos(angle)
      sin[position * pairs + pair] = Math.sin(angle)
    }
  }
  return { cos: tf.tensor2d(cos, [time, pairs]), sin: tf.tensor2d(sin, [time, pairs]) }
}

function network(reading: Reading, batch: Pick<TrainingBatch, 'inputs' | 'columns'>): Part {
  const { model } = reading
  const ids = tf.tensor1d(batch.inputs, 'int32')
  const embedded = embedding(reading, ids, batch.columns)
  const parts: Part[] = []
  let state = embedded.value
  const enter = (part: Part) => {
    parts.push(part)
    state = part.value
  }
  for (let layer = 0; layer < model.layers; layer++) {
    enter(residual(reading, state, input => attention(reading, layer, input)))
    enter(residual(reading, state, input => feedForward(reading, layer, input)))
  }
  enter(norm(reading, finalNormName, state))
  enter(linear(reading, headName(model), undefined, state))
  return {
    value: state,
    pull: (gradient, gradients) => embedded.pull(pullThrough(parts, gradient, gradients), gradients),
  }
}

function pullThrough(parts: readonly Part[], gradient: Tensor2D, gradients: Gradients): Tensor2D {
  return parts.reduceRight((upstream, part) => part.pull(upstream, gradients), gradient)
}

function weightOf<T extends Tensor>(reading: Reading, name: string): T {
  return reading.weights.get(name) as T
}

/** Token embedding, and position embedding when positions are learned. */
function embedding(reading: Reading, ids: Tensor1D, columns: number): Part {
  const { operations, model } = reading
  const tokens = operations.embed(weightOf(reading, embeddingName), ids)
  const pullTokens: Pullback = (gradient, gradients) => {
    gradients.add(embeddingName, operations.embedGradient(gradient, ids, model.vocab_size))
    return gradient
  }
  if (model.position !== 'learned') {
    return { value: tokens, pull: pullTokens }
  }
  const places = tf.tensor1d(
    Int32Array.from({ length: ids.size }, (_, index) => index % columns),
    'int32',
  )
  const positions = operations.embed(weightOf(reading, positionsName), places)
  return {
    value: operations.add(tokens, positions),
    pull: (gradient, gradients) => {
      gradients.add(positionsName, operations.embedGradient(gradient, places, model.sequence_length))
      return pullTokens(gradient, gradients)
    },
  }
}

/** input + inner(input) */
function residual(reading: Reading, input: Tensor2D, inner: (input: Tensor2D) => Part): Part {
  const { operations } = reading
  const part = inner(input)
  return {
    value: operations.add(input, part.value),
    pull: (gradient, gradients) => {
      const through = part.pull(gradient.clone(), gradients)
      const sum = operations.add(gradient, through)
      tf.dispose([gradient, through])
      return sum
    },
  }
}

function norm(reading: Reading, name: string, input: Tensor2D): Part {
  const { operations, model } = reading
  const weight = weightOf<Tensor1D>(reading, `${name}.weight`)
  const bias = model.bias ? weightOf<Tensor1D>(reading, `${name}.bias`) : undefined
  const { value, saved } = operations.norm(model.norm, input, weight, bias, model.norm_eps)
  return {
    value,
    pull: (gradient, gradients) => {
      const result = operations.normGradient(model.norm, gradient, input, weight, saved)
      gradients.add(`${name}.weight`, result.weight)
      if (bias !== undefined) {
        gradients.add(`${name}.bias`, operations.sumRows(gradient))
      }
      tf.dispose([gradient, ...saved])
      return result.input
    },
  }
}

/** A linear map by full names of its weight and bias. */
function linear(reading: Reading, weightName: string, biasName: string | undefined, input: Tensor2D): Part {
  const { operations } = reading
  const weight = weightOf<Tensor2D>(reading, weightName)
  const bias = biasName === undefined ? undefined : weightOf<Tensor1D>(reading, biasName)
  return {
    value: operations.linear(input, weight, bias),
    pull: (gradient, gradients) => {
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

/** A linear map inside a layer, with the bias that the model may have. */
function layerLinear(reading: Reading, layer: number, part: string, input: Tensor2D): Part {
  const name = layerName(layer, part)
  return linear(reading, `${name}.weight`, reading.model.bias ? `${name}.bias` : undefined, input)
}

function attention(reading: Reading, layer: number, input: Tensor2D): Part {
  const { operations, model, batch, rotary } = reading
  const before = norm(reading, layerName(layer, 'input_layernorm'), input)
  const project = (part: string) => layerLinear(reading, layer, `self_attn.${part}`, before.value)
  const [queries, keys, values] = [project('q_proj'), project('k_proj'), project('v_proj')]
  const query = operations.toHeads(queries.value, batch, model.heads, rotary)
  const key = operations.toHeads(keys.value, batch, model.kv_heads, rotary)
  const value = operations.toHeads(values.value, batch, model.kv_heads, undefined)
  tf.dispose([queries.value, keys.value, values.value])
  const attended = operations.attention(query, key, value)
  const merged = operations.fromHeads(attended.value, undefined)
  attended.value.dispose()
  const after = layerLinear(reading, layer, 'self_attn.o_proj', merged)
  return {
    value: after.value,
    pull: (gradient, gradients) => {
      const upstream = after.pull(gradient, gradients)
      const heads = operations.toHeads(upstream, batch, model.heads, undefined)
      const inner = operations.attentionGradient(heads, query, key, value, attended.saved)
      tf.dispose([merged, upstream, heads, query, key, value, ...attended.saved])
      const sum = addAll(operations, [
        queries.pull(operations.fromHeads(inner.query, rotary), gradients),
        keys.pull(operations.fromHeads(inner.key, rotary), gradients),
        values.pull(operations.fromHeads(inner.value, undefined), gradients),
      ])
      tf.dispose([before.value, inner.query, inner.key, inner.value])
      return before.pull(sum, gradients)
    },
  }
}

/** Takes over the terms. */
function addAll(operations: Operations, terms: readonly Tensor2D[]): Tensor2D {
  return terms.reduce((sum, term) => {
    const next = operations.add(sum, term)
    tf.dispose([sum, term])
    return next
  })
}

function feedForward(reading: Reading, layer: number, input: Tensor2D): Part {
  const before = norm(reading, layerName(layer, 'post_attention_layernorm'), input)
  const inner =
    reading.model.activation === 'gelu'
      ? geluUnit(reading, layer, before.value)
      : swigluUnit(reading, layer, before.value)
  const after = layerLinear(reading, layer, 'mlp.down_proj', inner.value)
  return {
    value: after.value,
    pull: (gradient, gradients) => {
      const upstream = after.pull(gradient, gradients)
      inner.value.dispose()
      const through = inner.pull(upstream, gradients)
      before.value.dispose()
      return before.pull(through, gradients)
    },
  }
}

function geluUnit(reading: Reading, layer: number, input: Tensor2D): Part {
  const { operations } = reading
  const up = layerLinear(reading, layer, 'mlp.up_proj', input)
  return {
    value: operations.gelu(up.value),
    pull: (gradient, gradients) => {
      const through = operations.geluGradient(gradient, up.value)
      tf.dispose([gradient, up.value])
      return up.pull(through, gradients)
    },
  }
}

function swigluUnit(reading: Reading, layer: number, input: Tensor2D): Part {
  const { operations } = reading
  const gate = layerLinear(reading, layer, 'mlp.gate_proj', input)
  const up = layerLinear(reading, layer, 'mlp.up_proj', input)
  return {
    value: operations.swiglu(gate.value, up.value),
    pull: (gradient, gradients) => {
      const inner = operations.swigluGradient(gradient, gate.value, up.value)
      tf.dispose([gradient, gate.value, up.value])
      return addAll(operations, [gate.pull(inner.gate, gradients), up.pull(inner.up, gradients)])
    },
  }
}
