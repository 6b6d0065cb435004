/** Weights of GPT-2 in Hugging Face transformers: matrices as [in, out], with query, key and value in one. */
import type { ModelOptions } from '../options.js'
import { type LazyTensor, valuesOf } from '../tensor-files.js'
import { elementCount } from '../weights.js'
import { present, type Weights } from './weights.js'

/** Our parts of a layer, and GPT-2's; query, key and value are apart. */
const layerParts = [
  ['input_layernorm', 'ln_1'],
  ['self_attn.o_proj', 'attn.c_proj'],
  ['post_attention_layernorm', 'ln_2'],
  ['mlp.up_proj', 'mlp.c_fc'],
  ['mlp.down_proj', 'mlp.c_proj'],
] as const
const attentionParts = ['q_proj', 'k_proj', 'v_proj'] as const

/** Pairs of our name and GPT-2's for all weights that are not joined. */
function gpt2Names(model: ModelOptions): [string, string][] {
  const names: [string, string][] = [
    ['model.embed_tokens.weight', 'transformer.wte.weight'],
    ['model.embed_positions.weight', 'transformer.wpe.weight'],
    ['model.norm.weight', 'transformer.ln_f.weight'],
    ['model.norm.bias', 'transformer.ln_f.bias'],
  ]
  if (!model.tie_weights) {
    names.push(['lm_head.weight', 'lm_head.weight'])
  }
  for (let layer = 0; layer < model.layers; layer++) {
    for (const [ours, theirs] of layerParts) {
      for (const kind of ['weight', 'bias']) {
        names.push([`model.layers.${layer}.${ours}.${kind}`, `transformer.h.${layer}.${theirs}.${kind}`])
      }
    }
  }
  return names
}

export function toGpt2(weights: Weights, model: ModelOptions): Weights {
  const theirs = new Map(
    gpt2Names(model).map(([name, other]) => [other, turnedIfMap(other, present(weights, name))] as const),
  )
  for (let layer = 0; layer < model.layers; layer++) {
    const parts = (kind: string) =>
      attentionParts.map(part => present(weights, `model.layers.${layer}.self_attn.${part}.${kind}`))
    theirs.set(`transformer.h.${layer}.attn.c_attn.weight`, transposed(stacked(parts('weight'))))
    theirs.set(`transformer.h.${layer}.attn.c_attn.bias`, stacked(parts('bias')))
  }
  return theirs
}

export function fromGpt2(weights: Weights, model: ModelOptions): Weights {
  // Folders of the bare model leave `transformer.` out.
  const find = (name: string) => weights.get(name.replace(/^transformer\./, '')) ?? present(weights, name)
  const ours = new Map(gpt2Names(model).map(([name, other]) => [name, turnedIfMap(other, find(other))] as const))
  for (let layer = 0; layer < model.layers; layer++) {
    const prefix = `transformer.h.${layer}.attn.c_attn`
    const joined = { weight: transposed(find(`${prefix}.weight`)), bias: find(`${prefix}.bias`) }
    attentionParts.forEach((part, index) => {
      for (const kind of ['weight', 'bias'] as const) {
        ours.set(`model.layers.${layer}.self_attn.${part}.${kind}`, rowsOf(joined[kind], index, model.width))
      }
    })
  }
  return ours
}

function turnedIfMap(theirName: string, tensor: LazyTensor): LazyTensor {
  return /\.c_\w+\.weight$/.test(theirName) ? transposed(tensor) : tensor
}

function transposed(tensor: LazyTensor): LazyTensor {
  const [rows, columns] = tensor.shape as [number, number]
  return {
    shape: [columns, rows],
    async *pieces() {
      const values = await valuesOf(tensor)
      const turned = new Float32Array(values.length)
      for (let row = 0; row < rows; row++) {
        for (let column = 0; column < columns; column++) {
          turned[column * rows + row] = values[row * columns + column]!
        }
      }
      yield turned
    },
  }
}

/** Concatenates tensors along their first dimension. */
function stacked(tensors: readonly LazyTensor[]): LazyTensor {
  const rows = tensors.reduce((sum, { shape }) => sum + shape[0]!, 0)
  return {
    shape: [rows, ...tensors[0]!.shape.slice(1)],
    async *pieces() {
      for (const tensor of tensors) yield* tensor.pieces()
    },
  }
}

/** The index-th group of `count` rows. */
function rowsOf(tensor: LazyTensor, index: number, count: number): LazyTensor {
  const shape = [count, ...tensor.shape.slice(1)]
  const [start, end] = [index * elementCount(shape), (index + 1) * elementCount(shape)]
  return {
    shape,
    async *pieces() {
      let offset = 0
      for await (const piece of tensor.pieces()) {
        const [from, to] = [Math.max(start - offset, 0), Math.min(end - offset, piece.length)]
        if (from < to) yield piece.subarray(from, to)
        offset += piece.length
      }
    },
  }
}
