/** Conversion, verified with transformers; skipped unless `node scripts/setup-python.mjs peers` was run. */
import { spawnSync } from 'node:child_process'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { convertBack, convertCheckpoint } from '#src/cli/actions/convert'
import { openHuggingFace, writeHuggingFaceWeights } from '#src/training/hugging-face/hugging-face'
import { openTrained } from '#src/training/open-engine'
import type { ModelInput } from '#src/training/options'
import { parseTraining } from '#src/training/options'
import { readWeights } from '#src/training/tfjs/state-files'
import { openTrainer } from '#src/training/trainer'
import { peersPython } from '../monitoring/fixtures.js'
import { temporaryFolder } from '../stages/support.js'
import { countingBatch, openTiny, tiny } from './fixtures.js'

const python = peersPython()
const folder = temporaryFolder()
const ids = [3, 1, 4, 1, 5, 9, 2, 6]

/** Prints the logits of the token after `ids` for each folder, and saves the model again with transformers. */
const program = `
import json, sys, torch
from transformers import AutoModelForCausalLM
ids = torch.tensor([json.loads(sys.argv[1])])
found = []
for folder in sys.argv[2:]:
    model, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
    found.append(model(ids).logits[0, -1].tolist())
    model.save_pretrained(folder + "-resaved")
print(json.dumps(found))
`

const variants: readonly [string, string, ModelInput][] = [
  ['llama', 'Llama', { heads: 4, kv_heads: 2, width: 32, rotary_base: 500 }],
  ['llama-tied', 'Llama', { tie_weights: true }],
  ['qwen3', 'Qwen3', { heads: 4, kv_heads: 2, width: 32, head_dim: 16, qk_norm: true, rotary_base: 500 }],
  ['qwen3-tied', 'Qwen3', { qk_norm: true, tie_weights: true }],
  ['gpt2', 'GPT-2', { norm: 'layer', activation: 'gelu', position: 'learned', bias: true, tie_weights: true }],
  ['gpt2-untied', 'GPT-2', { norm: 'layer', activation: 'gelu', position: 'learned', bias: true }],
]

/** Trains a few steps, so that norms and biases differ from ones and zeros. */
async function trained(name: string, changes: ModelInput): Promise<{ path: string; logits: Float32Array }> {
  const path = join(folder, `${name}-checkpoints`)
  const training = parseTraining({ batch_size: 4, steps: 3, checkpoint: { folder: path, every_steps: 100 } })
  const engine = await openTiny(changes)
  const trainer = await openTrainer({ training, model: tiny(changes), engine })
  for (let number = 0; (await trainer.offer(countingBatch(number, 4))) !== 'done'; number++);
  const logits = await engine.nextTokenLogits(Int32Array.from(ids))
  await engine.close()
  return { path, logits }
}

const worst = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Math.max(...Array.from(a, (value, index) => Math.abs(value - b[index]!)))

test.skipIf(python === undefined)(
  'transformers computes the same logits, and its saved model converts back to the same weights',
  async () => {
    const ours = new Map<string, Float32Array>()
    for (const [name, layout, changes] of variants) {
      const { path, logits } = await trained(name, changes)
      expect(await convertCheckpoint(path, join(folder, name))).toContain(`${layout} layout`)
      ours.set(name, logits)
    }
    const folders = variants.map(([name]) => join(folder, name))
    const { status, stdout, stderr } = spawnSync(python!, ['-c', program, JSON.stringify(ids), ...folders], {
      encoding: 'utf8',
    })
    expect(status, stderr).toBe(0)
    const judged: number[][] = JSON.parse(stdout.trim().split('\n').at(-1)!)
    for (const [index, [name]] of variants.entries()) {
      expect(worst(judged[index]!, ours.get(name)!), name).toBeLessThan(1e-5)
      const back = join(folder, `${name}-back`)
      await convertBack(join(folder, `${name}-resaved`), back, undefined)
      const { engine } = await openTrained(join(back, (await readdir(back))[0]!))
      expect(worst(await engine.nextTokenLogits(Int32Array.from(ids)), ours.get(name)!), name).toBeLessThan(1e-6)
      await engine.close()
    }
  },
  180_000,
)

test('a model that fits no layout is rejected with the differing options', async () => {
  const model = tiny({ norm: 'layer', activation: 'swiglu' })
  await expect(writeHuggingFaceWeights(join(folder, 'none'), { model, weights: new Map() })).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('norm'),
  })
  await expect(openHuggingFace(folder)).rejects.toMatchObject({ code: 'FILE_UNREADABLE' })
})

test.each([
  ['rope_scaling', { rope_type: 'llama3', factor: 8 }],
  ['rope_parameters', { rope_type: 'yarn', rope_theta: 10_000 }],
  ['use_sliding_window', true],
])('a model with other values of %s is rejected', async (key, value) => {
  const other = join(folder, `other ${key}`)
  await mkdir(other, { recursive: true })
  const config = { model_type: 'qwen3', hidden_size: 32, num_attention_heads: 2, [key]: value }
  await writeFile(join(other, 'config.json'), JSON.stringify(config))
  const error = { code: 'UNSUPPORTED', message: expect.stringContaining(key) }
  await expect(openHuggingFace(other)).rejects.toMatchObject(error)
})

test.each(['{', 'null', '"text"'])('the configuration %s is rejected with its path', async text => {
  const broken = join(folder, 'broken')
  const file = join(broken, 'config.json')
  await mkdir(broken, { recursive: true })
  await writeFile(file, text)
  await expect(openHuggingFace(broken)).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID', where: { file } })
})

describe.each(variants)('%s', (name, _, changes) => {
  test.each([
    ['F32', 0],
    ['BF16', 2 ** -8],
    ['F16', 2 ** -11],
  ] as const)('survives a conversion to shards of %s and back', async (dtype, precision) => {
    const { path, logits } = await trained(`${name}-${dtype}`, changes)
    const [exported, back] = [join(folder, `${name}-${dtype}`), join(folder, `${name}-${dtype}-again`)]
    await convertCheckpoint(path, exported, { dtype, maxShardBytes: 3000 })
    const files = (await readdir(exported)).filter(file => file.startsWith('model'))
    expect(files).toContain('model.safetensors.index.json')
    expect(files.length).toBeGreaterThan(2)
    await convertBack(exported, back, undefined)
    const checkpoint = join(back, 'step-000000')
    const weights = await readWeights(join(checkpoint, 'model.safetensors'))
    const before = await readWeights(join(path, 'step-000003', 'model.safetensors'))
    for (const [key, { shape, values }] of before) {
      expect(weights.get(key)!.shape).toEqual(shape)
      const found = weights.get(key)!.values
      values.forEach((value, index) => {
        if (Math.abs(found[index]! - value) > precision * Math.abs(value) + precision * 1e-4) {
          expect.fail(`${key}: ${found[index]} instead of ${value}`)
        }
      })
    }
    const { engine } = await openTrained(checkpoint)
    const difference = worst(await engine.nextTokenLogits(Int32Array.from(ids)), logits)
    expect(difference).toBeLessThan(dtype === 'F32' ? 1e-6 : 0.05)
    // Without optimizer state, training starts with moments of zero.
    await engine.loadState(checkpoint)
    expect(engine.stepsTaken).toBe(0)
    await engine.close()
  })
})
