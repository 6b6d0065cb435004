/**
 * Converts between a checkpoint and a folder that Hugging Face transformers opens. The model's options decide the layout:
 * Llama for rotary positions, RMS norms and swiglu; Qwen3 for the same with qk_norm; GPT-2 for learned positions, layer norms,
 * gelu and biases. Weights are named as in Llama and Qwen3, so these layouts only need a configuration.
 */

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { PenstockError, toPenstockError } from '../../errors.js'
import { makeFolder } from '../../files/durable.js'
import { writeWhole } from '../../files/output-file.js'
import { readAll } from '../../files/read-at.js'
import { writeOver } from '../../files/replace-file.js'
import { type ModelOptions, resolveModel } from '../options.js'
import {
  maxShardBytes as defaultShardBytes,
  type FileWriter,
  type LazyTensor,
  TensorReader,
  type WeightDtype,
  writeModel,
} from '../tensor-files.js'
import { weightSpecs } from '../weights.js'
import { fromGpt2, toGpt2 } from './gpt2-weights.js'
import { present, type Weights } from './weights.js'

type Config = Readonly<Record<string, unknown>>

export interface TrainedModel {
  readonly model: ModelOptions
  readonly weights: Weights
}

/** Ids that text generation depends on. */
export interface SpecialTokenIds {
  readonly bos?: number | undefined
  readonly eos?: number | undefined
  readonly pad?: number | undefined
}

export type Layout = keyof typeof families

/** What a family fixes about a model, and how its configuration says the rest. */
interface Family {
  readonly title: string
  readonly fixed: Partial<ModelOptions>
  configOf(model: ModelOptions): Config
  modelOf(config: Config): Partial<ModelOptions>
  toTheirs(weights: Weights, model: ModelOptions): Weights
  toOurs(weights: Weights, model: ModelOptions): Weights
}

const llama: Family = {
  title: 'Llama',
  fixed: { position: 'rotary', norm: 'rms', activation: 'swiglu', bias: false, qk_norm: false },
  configOf: model => ({
    architectures: ['LlamaForCausalLM'],
    model_type: 'llama',
    vocab_size: model.vocab_size,
    max_position_embeddings: model.sequence_length,
    num_hidden_layers: model.layers,
    num_attention_heads: model.heads,
    num_key_value_heads: model.kv_heads,
    head_dim: model.head_dim,
    hidden_size: model.width,
    intermediate_size: model.ffn_width,
    hidden_act: 'silu',
    rope_theta: model.rotary_base,
    rms_norm_eps: model.norm_eps,
    tie_word_embeddings: model.tie_weights,
    attention_bias: false,
    mlp_bias: false,
    initializer_range: model.init_std,
    torch_dtype: 'float32',
  }),
  modelOf: config => ({
    vocab_size: numberIn(config, 'vocab_size'),
    sequence_length: numberIn(config, 'max_position_embeddings'),
    layers: numberIn(config, 'num_hidden_layers'),
    heads: numberIn(config, 'num_attention_heads'),
    kv_heads: numberIn(config, 'num_key_value_heads'),
    ...(config.head_dim == null ? {} : { head_dim: numberIn(config, 'head_dim') }),
    width: numberIn(config, 'hidden_size'),
    ffn_width: numberIn(config, 'intermediate_size'),
    rotary_base: rotaryBaseIn(config),
    norm_eps: numberIn(config, 'rms_norm_eps'),
    tie_weights: config.tie_word_embeddings === true,
  }),
  toTheirs: weights => weights,
  toOurs: weights => weights,
}

const qwen3: Family = {
  ...llama,
  title: 'Qwen3',
  fixed: { ...llama.fixed, qk_norm: true },
  configOf: model => {
    const { mlp_bias: _, ...config } = llama.configOf(model)
    return {
      ...config,
      architectures: ['Qwen3ForCausalLM'],
      model_type: 'qwen3',
      use_sliding_window: false,
    }
  },
}

const gpt2: Family = {
  title: 'GPT-2',
  fixed: { position: 'learned', norm: 'layer', activation: 'gelu', bias: true, qk_norm: false },
  configOf: model => ({
    architectures: ['GPT2LMHeadModel'],
    model_type: 'gpt2',
    vocab_size: model.vocab_size,
    n_positions: model.sequence_length,
    n_layer: model.layers,
    n_head: model.heads,
    n_embd: model.width,
    n_inner: model.ffn_width,
    activation_function: 'gelu',
    layer_norm_epsilon: model.norm_eps,
    tie_word_embeddings: model.tie_weights,
    embd_pdrop: 0,
    attn_pdrop: 0,
    resid_pdrop: 0,
    initializer_range: model.init_std,
    torch_dtype: 'float32',
  }),
  modelOf: config => ({
    vocab_size: numberIn(config, 'vocab_size'),
    sequence_length: numberIn(config, 'n_positions'),
    layers: numberIn(config, 'n_layer'),
    heads: numberIn(config, 'n_head'),
    kv_heads: numberIn(config, 'n_head'),
    width: numberIn(config, 'n_embd'),
    ffn_width: config.n_inner == null ? 4 * numberIn(config, 'n_embd') : numberIn(config, 'n_inner'),
    norm_eps: numberIn(config, 'layer_norm_epsilon'),
    tie_weights: config.tie_word_embeddings !== false,
  }),
  toTheirs: toGpt2,
  toOurs: fromGpt2,
}

const families = { llama, qwen3, gpt2 }
const layouts = ['llama', 'qwen3', 'gpt2'] as const satisfies readonly Layout[]

/** Format of exported weights. */
export interface WeightFormat {
  readonly dtype: WeightDtype
  /** A larger model is written as shards of at most this size, with an index. */
  readonly maxShardBytes: number
}

/**
 * Writes `model.safetensors`, or shards and their index, into a folder, which is created. Reads and writes one tensor at a
 * time; GPT-2's transposed matrices are the only ones held in memory as a whole.
 * @throws UNSUPPORTED for a model that no layout can hold, FILE_UNWRITABLE
 */
export async function writeHuggingFaceWeights(
  folder: string,
  { model, weights }: TrainedModel,
  { dtype, maxShardBytes }: WeightFormat = { dtype: 'F32', maxShardBytes: defaultShardBytes },
): Promise<void> {
  const tensors = families[layoutOf(model)].toTheirs(weights, model)
  await makeFolder(folder)
  const write: FileWriter = (name, content) => writeWhole(join(folder, name), 'override', content)
  await writeModel(write, tensors, dtype, maxShardBytes)
}

/**
 * Writes `generation_config.json` and then `config.json`, which makes the folder a model.
 * @param ids written explicitly, because transformers has defaults for missing ids, such as 2 for Llama's end token
 * @throws UNSUPPORTED for a model that no layout can hold, FILE_UNWRITABLE
 */
export async function writeHuggingFaceConfig(
  folder: string,
  model: ModelOptions,
  { bos, eos, pad }: SpecialTokenIds,
  dtype: WeightDtype = 'F32',
): Promise<void> {
  const ids = { bos_token_id: bos, eos_token_id: eos, pad_token_id: pad }
  const explicitIds = Object.fromEntries(Object.entries(ids).map(([key, id]) => [key, id ?? null]))
  const write = (name: string, content: object) =>
    writeOver(join(folder, name), `${JSON.stringify(content, null, 2)}\n`)
  await write('generation_config.json', ids)
  const config = families[layoutOf(model)].configOf(model)
  await write('config.json', { ...config, torch_dtype: torchNames[dtype], ...explicitIds })
}

/**
 * Opens a folder written by transformers, in one file or in shards, of float32, bfloat16 or float16. The end token is that
 * of its configuration. The weights are read when they are used; `close` closes their files.
 * @throws FILE_UNREADABLE, UNSUPPORTED for a model that ours is not, CHECKPOINT_INVALID
 */
export async function openHuggingFace(
  folder: string,
): Promise<TrainedModel & Pick<SpecialTokenIds, 'eos'> & { close(): Promise<void> }> {
  const file = join(folder, 'config.json')
  const config = await readConfig(file)
  const name = layouts.find(known => known === config.model_type)
  if (name === undefined) {
    const message = `model_type is ${JSON.stringify(config.model_type)}; ${layouts.join(', ')} are read`
    throw new PenstockError('UNSUPPORTED', message, { file })
  }
  refuseOthers(config, file)
  const family = families[name]
  const model = resolveModel({ ...family.fixed, ...family.modelOf(config) })
  const generationFile = join(folder, 'generation_config.json')
  const generation = existsSync(generationFile) ? await readConfig(generationFile) : {}
  const eos = endTokenIn(generation) ?? endTokenIn(config)
  const reader = await TensorReader.openModel(folder)
  try {
    return { model, weights: ownWeights(family.toOurs(reader.tensors, model), model), eos, close: () => reader.close() }
  } catch (error) {
    await reader.close()
    throw error
  }
}

async function readConfig(file: string): Promise<Config> {
  const text = await readAll(file).catch(error => {
    throw toPenstockError(error, 'FILE_UNREADABLE', { file })
  })
  try {
    const config: unknown = JSON.parse(text.toString())
    if (typeof config === 'object' && config !== null) return config as Config
  } catch (error) {
    throw new PenstockError('CHECKPOINT_INVALID', 'the configuration is not JSON', { file }, error)
  }
  throw new PenstockError('CHECKPOINT_INVALID', 'the configuration is not a JSON object', { file })
}

/** An id, or the first of several. */
function endTokenIn({ eos_token_id }: Config): number | undefined {
  const id: unknown = Array.isArray(eos_token_id) ? eos_token_id[0] : eos_token_id
  return Number.isSafeInteger(id) && (id as number) >= 0 ? (id as number) : undefined
}

/** @throws UNSUPPORTED for a model that no layout can hold */
export function layoutOf(model: ModelOptions): Layout {
  const misfits = ({ fixed }: Family) =>
    (Object.keys(fixed) as (keyof ModelOptions)[]).filter(key => model[key] !== fixed[key])
  // GPT-2's heads divide its width, and each has its own keys.
  const heads = [
    ...(model.kv_heads === model.heads ? [] : ['kv_heads']),
    ...(model.head_dim * model.heads === model.width ? [] : ['head_dim']),
  ]
  const differences = layouts.map(name => {
    return { name, keys: [...misfits(families[name]), ...(name === 'gpt2' ? heads : [])] }
  })
  const fitting = differences.find(({ keys }) => keys.length === 0)
  if (fitting !== undefined) return fitting.name
  const reasons = differences.map(({ name, keys }) => `${families[name].title}'s differs in ${keys.join(', ')}`)
  throw new PenstockError('UNSUPPORTED', `no layout of Hugging Face fits: ${reasons.join('; ')}`)
}

/** Name of a layout for people. */
export const layoutTitle = (layout: Layout): string => families[layout].title

/** Options that change what a model computes, with the only values that ours knows. */
const expected: Readonly<Record<string, readonly unknown[]>> = {
  hidden_act: ['silu'],
  activation_function: ['gelu'],
  attention_bias: [false],
  mlp_bias: [false],
  scale_attn_weights: [true],
  scale_attn_by_inverse_layer_idx: [false],
  use_sliding_window: [false],
}

function refuseOthers(config: Config, file: string): void {
  for (const [key, values] of Object.entries(expected)) {
    if (config[key] !== undefined && !values.includes(config[key])) {
      const message = `${key} is ${JSON.stringify(config[key])}; only ${JSON.stringify(values[0])} is known`
      throw new PenstockError('UNSUPPORTED', message, { file })
    }
  }
  for (const key of ['rope_scaling', 'rope_parameters']) {
    const options = config[key] as Config | null | undefined
    const kind = options?.rope_type ?? options?.type ?? 'default'
    if (kind === 'default') continue
    throw new PenstockError(
      'UNSUPPORTED',
      `${key} has the type ${JSON.stringify(kind)}; only unscaled rotary positions are known`,
      { file },
    )
  }
}

function numberIn(config: Config, key: string): number {
  const value = config[key]
  if (typeof value !== 'number') {
    throw new PenstockError('UNSUPPORTED', `config.json has no number ${key}`)
  }
  return value
}

/** Newer versions of transformers keep it in `rope_parameters`. */
function rotaryBaseIn(config: Config): number {
  const parameters = config.rope_parameters as Config | undefined
  return numberIn({ rope_theta: config.rope_theta ?? parameters?.rope_theta ?? 10_000 }, 'rope_theta')
}

/** The weights that Penstock's model has; others, such as the copy of a tied matrix, are dropped. @throws CHECKPOINT_INVALID */
function ownWeights(weights: Weights, model: ModelOptions): Weights {
  const entries = weightSpecs(model).map(({ name, shape }): [string, LazyTensor] => {
    const found = present(weights, name)
    if (found.shape.join() !== shape.join()) {
      const message = `weight ${name} has shape [${found.shape}]; expected [${shape}] by the configuration`
      throw new PenstockError('CHECKPOINT_INVALID', message)
    }
    return [name, found]
  })
  return new Map(entries)
}

const torchNames: Readonly<Record<WeightDtype, string>> = { F32: 'float32', BF16: 'bfloat16', F16: 'float16' }
