/**
 * A checkpoint that the reference wrote -> one of ours. Its files are read by Python with torch, which makes nothing but
 * tensors of them (torch/penstock_torch/modalities.py); which weight is which, and which model this is, is decided here.
 *
 * | there | here |
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

/** Where the parts of a checkpoint lie: both in one folder, or each in a file of its own. */
export interface ModalitiesCheckpoint {
  readonly model: string
  /** Absent where only the model was kept. */
  readonly optimizer: string | undefined
}

/** The checkpoint of the reference at a path, if there is one. */
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
 * The model that computes what the reference's does. It has biases where the linear maps or the norms have some; those
 * that the reference does not know are 0.
 * @throws UNSUPPORTED for what ours cannot compute
 */
export function modalitiesModel(gpt2: Gpt2Options): ModelOptions {
  const architecture = architectureOf(gpt2, difference => {
    throw new PenstockError('UNSUPPORTED', `the model cannot be taken over: ${difference}`)
  })
  return resolveModel({ ...architecture, bias: gpt2.bias || normsOf(gpt2).some(({ bias }) => bias) })
}

type State = Parameters<typeof saveCheckpoint>[3]

/**
 * Writes a checkpoint of ours into `folder`.
 * @param state what it says beside its weights; step and model are those of the reference's checkpoint
 * @returns its path
 * @throws PEER_MISSING without torch; CHECKPOINT_INVALID; WORLD_MISMATCH for a checkpoint of another model
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
  readonly theirs: readonly string[]
  readonly shape: readonly number[]
  /** The value where the reference keeps no such weight; null where it has to. */
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
  const theirs = [`transformer.${place}.${kind}`]
  // A tied matrix may be kept under either name.
  if (gpt2.use_weight_tying && place === 'wte') theirs.push('transformer.lm_head.weight')
  return { name, shape, theirs, fill: isKept(place, kind as 'weight' | 'bias', gpt2) ? null : fill }
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
  // A program that ends before it has read its job says why by itself.
  child.stdin.on('error', () => {})
  child.stdin.end(JSON.stringify(job))
  await new Promise<void>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => resolve())
  }).catch(error => {
    throw new PenstockError('PEER_MISSING', `${python} does not run: ${(error as Error).message}`, {}, error)
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
