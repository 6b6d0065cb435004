/**
 * Compares model and optimizer with an independent implementation: Llama and GPT-2 of Hugging Face transformers and torch's
 * AdamW, from the same weights and batches. Skipped unless `setup-python.mjs peers` was run.
 */
import { spawnSync } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { encodeSafetensors } from '#src/formats/safetensors'
import type { StepResult, TrainingBatch } from '#src/training/engine'
import type { ModelInput } from '#src/training/options'
import { peersPython } from '../monitoring/fixtures.js'
import { countingTrainingBatch, openTiny, tiny } from './fixtures.js'

const python = peersPython()

const steps = 20
const learningRate = 3e-3

/**
 * Trains by task.json in each folder, starting from model.safetensors; prints the losses, the gradient norms and the
 * largest difference between the weights and trained.safetensors.
 */
const program = `
import json, sys, torch
from safetensors.torch import load_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
torch.set_num_threads(1)

def gpt2_names(m):
    names = {"model.embed_tokens.weight": "transformer.wte.weight", "model.embed_positions.weight": "transformer.wpe.weight",
             "model.norm.weight": "transformer.ln_f.weight", "model.norm.bias": "transformer.ln_f.bias"}
    for n in range(m["layers"]):
        for ending in ("weight", "bias"):
            for name, gpt2_name in (("input_layernorm", "ln_1"), ("post_attention_layernorm", "ln_2"), ("self_attn.o_proj", "attn.c_proj"),
                                 ("mlp.up_proj", "mlp.c_fc"), ("mlp.down_proj", "mlp.c_proj")):
                names[f"model.layers.{n}.{name}.{ending}"] = f"transformer.h.{n}.{gpt2_name}.{ending}"
    return names

def to_gpt2(ours, m):
    out = {}
    for name, gpt2_name in gpt2_names(m).items():
        is_matrix = gpt2_name.endswith("weight") and ".c_" in gpt2_name
        out[gpt2_name] = ours[name].T.contiguous() if is_matrix else ours[name]
    for n in range(m["layers"]):
        parts = [f"model.layers.{n}.self_attn.{p}_proj" for p in "qkv"]
        out[f"transformer.h.{n}.attn.c_attn.weight"] = torch.cat([ours[p + ".weight"] for p in parts]).T.contiguous()
        out[f"transformer.h.{n}.attn.c_attn.bias"] = torch.cat([ours[p + ".bias"] for p in parts])
    return out

def run(folder):
    task = json.load(open(folder + "/task.json"))
    m = task["model"]
    ours = load_file(folder + "/model.safetensors")
    if task["family"] == "llama":
        config = LlamaConfig(vocab_size=m["vocab_size"], hidden_size=m["width"], intermediate_size=m["ffn_width"], num_hidden_layers=m["layers"],
            num_attention_heads=m["heads"], num_key_value_heads=m["kv_heads"], max_position_embeddings=m["sequence_length"],
            rms_norm_eps=m["norm_eps"], rope_theta=m["rotary_base"], tie_word_embeddings=m["tie_weights"], attention_bias=False)
        model = LlamaForCausalLM(config)
        state = ours
    else:
        config = GPT2Config(vocab_size=m["vocab_size"], n_embd=m["width"], n_inner=m["ffn_width"], n_layer=m["layers"], n_head=m["heads"],
            n_positions=m["sequence_length"], layer_norm_epsilon=m["norm_eps"], activation_function="gelu",
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
        model = GPT2LMHeadModel(config)
        state = to_gpt2(ours, m)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(name == "lm_head.weight" for name in missing), (missing, unexpected)
    model.tie_weights()
    model.train()

    decays = [p for n, p in model.named_parameters() if p.dim() == 2 and not any(e in n for e in ("embed", "wte", "wpe"))]
    spared = [p for p in model.parameters() if all(p is not d for d in decays)]
    optimizer = torch.optim.AdamW([{"params": decays, "weight_decay": 0.1}, {"params": spared, "weight_decay": 0.0}],
        lr=task["learning_rate"], betas=(0.9, 0.95), eps=1e-8)
    losses, norms = [], []
    for batch in task["batches"]:
        shape = (batch["rows"], batch["columns"])
        logits = model(torch.tensor(batch["inputs"]).view(shape)).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.tensor(batch["targets"]), ignore_index=-100)
        optimizer.zero_grad()
        loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)))
        optimizer.step()
        losses.append(float(loss.detach()))
    state = model.state_dict()
    back = to_gpt2(load_file(folder + "/trained.safetensors"), m) if task["family"] == "gpt2" else load_file(folder + "/trained.safetensors")
    worst = max(float((state[name] - value).abs().max()) for name, value in back.items())
    return {"losses": losses, "norms": norms, "worst": worst}

print(json.dumps([run(folder) for folder in sys.argv[1:]]))
`

const plainBatch = ({ inputs, targets, rows, columns }: TrainingBatch) => {
  return { inputs: [...inputs], targets: [...targets], rows, columns }
}

let folder: string

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-transformers-'))
})

afterEach(() => rm(folder, { recursive: true, force: true }))

/** Trains with the engine under test and writes the inputs of the program to a folder. */
async function train(family: 'llama' | 'gpt2', changes: ModelInput, into: string): Promise<StepResult[]> {
  await mkdir(into)
  const engine = await openTiny(changes)
  await engine.saveState(into)
  const batches = Array.from({ length: steps }, (_, step) => countingTrainingBatch(step, 4))
  batches[3]!.targets.fill(-100, 2, 9)
  const results = []
  for (const batch of batches) {
    results.push(await engine.step([batch], learningRate))
  }
  const { weights } = await engine.exportState()
  await engine.close()
  const tensors = [...weights].map(([name, { shape, values }]) => ({
    name,
    dtype: 'F32' as const,
    shape,
    data: values,
  }))
  await writeFile(join(into, 'trained.safetensors'), encodeSafetensors(tensors))
  const task = { family, model: tiny(changes), learning_rate: learningRate, batches: batches.map(plainBatch) }
  await writeFile(join(into, 'task.json'), JSON.stringify(task))
  return results
}

const families: readonly [string, 'llama' | 'gpt2', ModelInput][] = [
  ['Llama', 'llama', {}],
  ['Llama with shared key heads', 'llama', { heads: 4, kv_heads: 2, width: 32 }],
  ['Llama with tied weights', 'llama', { tie_weights: true }],
  ['GPT-2', 'gpt2', { norm: 'layer', activation: 'gelu', position: 'learned', bias: true, tie_weights: true }],
]

test.skipIf(python === undefined)(
  '20 steps have the losses, norms and weights of transformers and torch',
  async () => {
    const folders = families.map((_, index) => join(folder, String(index)))
    const ours = []
    for (const [index, [, family, changes]] of families.entries()) {
      ours.push(await train(family, changes, folders[index]!))
    }
    const { status, stdout, stderr } = spawnSync(python!, ['-c', program, ...folders], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    const expected: { losses: number[]; norms: number[]; worst: number }[] = JSON.parse(
      stdout.trim().split('\n').at(-1)!,
    )
    for (const [index, [name]] of families.entries()) {
      const { losses, norms, worst } = expected[index]!
      ours[index]!.forEach(({ loss, gradientNorm }, step) => {
        expect(Math.abs(loss - losses[step]!), `${name}: loss of step ${step}`).toBeLessThan(2e-5)
        expect(Math.abs(gradientNorm / norms[step]! - 1), `${name}: norm of step ${step}`).toBeLessThan(1e-4)
      })
      expect(worst, name).toBeLessThan(1e-3)
    }
  },
  180_000,
)
