/**
 * Converts a Modalities checkpoint to a Penstock checkpoint. Python with torch reads its files and builds nothing but
 * tensors (torch/penstock_torch/modalities.py); the names and shapes of the weights are determined here.
 *
 * | Modalities | Penstock |
 * | --- | --- |
 * | transformer.wte, transformer.wpe | model.embed_tokens, model.embed_positions |
 * | transformer.h.N.attn.{q,k,v}_attn, .c_proj | model.layers.N.self_attn.{q,k,v}_proj, .o_proj |
 * | transformer.h.N.mlp.{W,V,W_2} or {c_fc,c_proj} | model.layers.N.mlp.{gate,up,down}_proj or {up,down}_proj |
 * | transformer.h.N.attention_norm, .ffn_norm | model.layers.N.input_layernorm, .post_attention_layernorm |
 * | transformer.lm_head_norm, transformer.lm_head | model.norm, lm_head |
 */
import { spawn } from 'node:child_process'
import { readdir, stat } from 'node:fs/promises'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type ErrorCode, PenstockError } from '../errors.js'
import { saveCheckpoint } from '../training/checkpoint.js'
import { type ModelOptions, resolveModel } from '../training/options.js'
import { findPython } from '../training/torch/python.js'
import { type WeightSpec, weightSpecs } from '../training/weights.js'
import type { Gpt2Options } from './plans/training-plan.js'
import { architectureOf, normsOf } from './to-penstock.js'

const packageFolder = fileURLToPath(new URL('../../torch', import.meta.url))

/** Paths of the model and the optimizer state: both the same folder, or one file each. */
export interface ModalitiesCheckpoint {
  readonly model: string
  /** Undefined if only the model was saved. */
  readonly optimizer: string | undefined
}

/** Finds the Modalities checkpoint at a path; undefined if there is none. */
export async function findModalitiesCheckpoint(path: string): Promise<ModalitiesCheckpoint | undefined> {
  const found = await stat(path).catch(() => undefined)
  if (found?.isDirectory()) {
    return (await readdir(path)).includes('.metadata') ? { model: path, optimizer: path } : undefined
  }
  if (found === undefined) return undefined
  const optimizer = join(dirname(path), basename(path).replace('-model-', '-optimizer-'))
  const isKept = optimizer !== path && (await stat(optimizer).catch(() => undefined)) !== undefined
  return { model: path, optimizer: isKept ? optimizer : undefined }
}

/**
 * The equivalent Penstock model. It has biases if the linear layers or the norms have any; biases that the Modalities
 * model lacks are 0.
 * @throws UNSUPPORTED for a model that Penstock cannot compute
 */
export function modalitiesModel(gpt2: Gpt2Options): ModelOptions {
  const architecture = architectureOf(gpt2, difference => {
    throw new PenstockError('UNSUPPORTED', `the model cannot be converted: ${difference}`)
  })
  return resolveModel({ ...architecture, bias: gpt2.bias || normsOf(gpt2).some(({ bias }) => bias) })
}

type State = Parameters<typeof saveCheckpoint>[3]

/**
 * Writes the converted checkpoint into `folder`.
 * @param state state of the new checkpoint except its model, which is derived from `gpt2`
 * @returns the path of the new checkpoint
 * @throws PEER_MISSING without torch; CHECKPOINT_INVALID; WORLD_MISMATCH for a checkpoint of a different model
 */
export async function importCheckpoint(
  from: ModalitiesCheckpoint,
  gpt2: Gpt2Options,
  folder: string,
  state: Omit<State, 'model'>,
  python?: string,
): Promise<string> {
  const model = modalitiesModel(gpt2)
  const weights = weightSpecs(model).map(spec => weightJob(spec, gpt2))
  const saveState = async (target: string): Promise<readonly string[]> => {
    await runPython(findPython(python), { model: from.model, optimizer: from.optimizer ?? null, weights, target })
    return ['model.safetensors', 'optimizer.safetensors']
  }
  return saveCheckpoint(folder, null, { isPrimary: true, saveState }, { ...state, model })
}

interface WeightJob {
  readonly name: string
  /** Names that the weight may have in the Modalities checkpoint. */
  readonly sources: readonly string[]
  readonly shape: readonly number[]
  /** Value of a weight that Modalities does not save; null for a weight that must be in the checkpoint. */
  readonly fill: number | null
}

const LAYER_PARTS: Readonly<Record<string, string>> = {
  input_layernorm: 'attention_norm',
  post_attention_layernorm: 'ffn_norm',
  'self_attn.q_proj': 'attn.q_attn',
  'self_attn.k_proj': 'attn.k_attn',
  'self_attn.v_proj': 'attn.v_attn',
  'self_attn.o_proj': 'attn.c_proj',
}
const MLP_PARTS = {
  swiglu: { 'mlp.gate_proj': 'mlp.W', 'mlp.up_proj': 'mlp.V', 'mlp.down_proj': 'mlp.W_2' },
  gelu: { 'mlp.up_proj': 'mlp.c_fc', 'mlp.down_proj': 'mlp.c_proj' },
} as const
const TOP_PARTS: Readonly<Record<string, string>> = {
  'model.embed_tokens': 'wte',
  'model.embed_positions': 'wpe',
  'model.norm': 'lm_head_norm',
  lm_head: 'lm_head',
}

function weightJob({ name, shape, fill }: WeightSpec, gpt2: Gpt2Options): WeightJob {
  const [, prefix, kind] = /^(.*)\.(weight|bias)$/.exec(name)!
  const [, layer, part] = /^model\.layers\.(\d+)\.(.*)$/.exec(prefix!) ?? []
  const parts: Readonly<Record<string, string>> = { ...LAYER_PARTS, ...MLP_PARTS[gpt2.activation_type] }
  const place = part === undefined ? TOP_PARTS[prefix!]! : `h.${layer}.${parts[part]!}`
  const sources = [`transformer.${place}.${kind}`]
  // A tied matrix may be saved under either name.
  if (gpt2.use_weight_tying && place === 'wte') sources.push('transformer.lm_head.weight')
  return { name, shape, sources, fill: isKept(place, kind as 'weight' | 'bias', gpt2) ? null : fill }
}

function isKept(place: string, kind: 'weight' | 'bias', gpt2: Gpt2Options): boolean {
  const [attention, feedForward, head] = normsOf(gpt2)
  const norm = place.endsWith('.attention_norm')
    ? attention
    : place.endsWith('.ffn_norm')
      ? feedForward
      : place === 'lm_head_norm'
        ? head
        : undefined
  if (norm !== undefined) return norm.hasWeight && (kind === 'weight' || norm.bias)
  return kind === 'weight' || gpt2.bias
}

async function runPython(python: string, job: object): Promise<void> {
  const child = spawn(python, ['-m', 'penstock_torch.modalities'], {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, PYTHONPATH: [packageFolder, process.env.PYTHONPATH].filter(Boolean).join(delimiter) },
  })
  let [out, err] = ['', '']
  child.stdout.setEncoding('utf8').on('data', (text: string) => (out += text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => (err += text))
  // If Python exits before it has read the job, its output explains why.
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(job))
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve())
  }).catch(error => {
    throw new PenstockError('PEER_MISSING', `${python} cannot be started: ${(error as Error).message}`, {}, error)
  })
  const answer = parseAnswer(out, err)
  if (answer.code !== undefined) throw new PenstockError(answer.code, answer.message ?? answer.code)
}

function parseAnswer(out: string, err: string): { readonly code?: ErrorCode; readonly message?: string } {
  try {
    return JSON.parse(out) as { code?: ErrorCode; message?: string }
  } catch {
    const message = `reading the checkpoint failed: ${err.trim().split('\n').slice(-3).join('; ')}`
    throw new PenstockError('ENGINE_FAILED', message)
  }
}
