/**
 * Imports checkpoints written by Modalities on two ranks. Compares logits at the checkpoint and after one more step, which
 * depends on the optimizer's moments. Needs `node scripts/setup-python.mjs peers` and `torch`.
 */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { beforeAll, describe, expect, it } from 'vitest'
import { gpt2Options } from '#src/modalities/components/components-model'
import { findModalitiesCheckpoint, importCheckpoint, modalitiesModel } from '#src/modalities/import-checkpoint'
import { toTrainingBatch } from '#src/training/engine'
import { openEngine, openTrained } from '#src/training/open-engine'
import { parseTraining } from '#src/training/options'
import { readWeights } from '#src/training/tfjs/state-files'
import { findEnvironment } from '#src/training/torch/python-environment'
import { temporaryFolder } from '../stages/support.js'
import { largestDifference, slow, torchPython } from '../training/torch/fixtures.js'

const peers = findEnvironment({
  kind: 'peers',
  requirements: fileURLToPath(new URL('../../scripts/requirements/peers.txt', import.meta.url)),
})
const folder = temporaryFolder()
const SEQUENCE = 16
const ROWS = 2

const norm = (norm_type: string, config: object) => ({ norm_type, config })
const norms = (one: object) => ({ attention_norm_config: one, ffn_norm_config: one, lm_head_norm_config: one })
const rotary = {
  type_hint: 'RotaryTransform',
  config: { n_embd: 128, n_head: 4, seq_length_dim: -2, base_freq: 10_000 },
}
const common = {
  sample_key: 'input_ids',
  prediction_key: 'logits',
  sequence_length: SEQUENCE,
  vocab_size: 256,
  n_layer: 2,
  n_head_q: 4,
  n_embd: 128,
  ffn_hidden: 256,
  dropout: 0,
  attention_implementation: 'manual',
  seed: 1,
}
const llama = {
  ...common,
  poe_type: 'NOPE',
  n_head_kv: 2,
  activation_type: 'swiglu',
  attention_config: { qkv_transforms: [rotary] },
  use_weight_tying: false,
  bias: false,
}
const gpt2 = {
  ...common,
  poe_type: 'ABSOLUTE',
  n_head_kv: 4,
  activation_type: 'gelu',
  attention_config: { qkv_transforms: [{ type_hint: 'IdentityTransform', config: {} }] },
  use_weight_tying: true,
  bias: true,
}
const layerNorm = norm('layer_norm', { normalized_shape: 128, eps: 1e-5 })

const rmsNorm = norm('pytorch_rms_norm', { normalized_shape: 128 })
const cases = [
  { kind: 'dcp', name: 'rotary, RMS norms, swiglu', model: { ...llama, ...norms(rmsNorm) } },
  { kind: 'fsdp1', name: 'rotary, RMS norms, swiglu', model: { ...llama, ...norms(rmsNorm) } },
  { kind: 'dcp', name: 'learned positions, layer norms, gelu, tied', model: { ...gpt2, ...norms(layerNorm) } },
  { kind: 'fsdp1', name: 'biases in norms only', model: { ...llama, ...norms(layerNorm) } },
]

const counting = (rows: number, from: number) =>
  Array.from({ length: rows }, (_, row) => Array.from({ length: SEQUENCE }, (_, at) => (7 * row + 3 * at + from) % 250))
const IDS = Array.from({ length: 10 }, (_, at) => (at * at) % 250)

interface Answer {
  readonly paths: Readonly<Record<string, string>>
  readonly before: number[]
  readonly after: number[]
}

describe.skipIf(peers === undefined || torchPython === undefined)('a Modalities checkpoint', () => {
  let answers: Answer[]

  beforeAll(() => {
    const batch = [counting(ROWS, 0), counting(ROWS, 3)]
    const jobs = cases.map(({ model, kind }, index) => {
      return { kind, model, folder: join(folder, String(index)), excluded: ['embedding', 'layernorm'], ids: IDS, batch }
    })
    const [jobsPath, answersPath] = [join(folder, 'jobs.json'), join(folder, 'answers.json')]
    writeFileSync(jobsPath, JSON.stringify(jobs))
    const script = fileURLToPath(new URL('make_checkpoints.py', import.meta.url))
    const launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
    execFileSync(peers!, [...launcher, script, jobsPath, answersPath], {
      stdio: 'pipe',
      env: { ...process.env, OMP_NUM_THREADS: '1' },
    })
    answers = JSON.parse(readFileSync(answersPath, 'utf8')) as Answer[]
  }, slow)

  const momentsOf = (index: number): string => join(folder, `${index}.imported`, 'step-000002', 'optimizer.safetensors')
  const cursor = { version: 1, globalSamples: 2 * ROWS, seed: 0, sampleCount: 9, sequenceLength: SEQUENCE } as const

  it.each(cases.map((each, index) => ({ ...each, index })))(
    '$kind: $name',
    async ({ kind, model, index }) => {
      const { paths, before, after } = answers[index]!
      const options = gpt2Options.parse(model)
      const found = await findModalitiesCheckpoint((paths.checkpoint_folder_path ?? paths.model_checkpoint_path)!)
      const training = parseTraining({
        model: modalitiesModel(options),
        optimizer: {
          betas: [0.9, 0.95],
          eps: 1e-8,
          weight_decay: 0.1,
          weight_decay_groups_excluded: ['embedding', 'norm'],
        },
        gradient_clip: null,
      })
      const path = await importCheckpoint(found!, options, join(folder, `${index}.imported`), {
        step: 2,
        totalSteps: 4,
        consumedTokens: 2 * ROWS * SEQUENCE,
        cursor: { ...cursor, dataBytes: 1, tokenBytes: 1 },
        training,
      })
      const { engine } = await openTrained(path)
      expect(largestDifference([...(await engine.nextTokenLogits(Int32Array.from(IDS)))], before)).toBeLessThan(1e-5)
      await engine.close()
      // Without a GPU, FSDP1 gathers both moments into the same memory, so its file contains the second moments twice.
      if (kind === 'fsdp1') return
      const trained = await openEngine(training, modalitiesModel(options))
      await trained.loadState(path)
      const tokens = counting(ROWS, 0).flatMap((row, at) => [...row, counting(ROWS, 3)[at]!.at(-1)!])
      await trained.step([toTrainingBatch(Int32Array.from(tokens), ROWS, SEQUENCE + 1)], 1e-3)
      expect(largestDifference([...(await trained.nextTokenLogits(Int32Array.from(IDS)))], after)).toBeLessThan(2e-4)
      expect(largestDifference(before, after)).toBeGreaterThan(0.01)
      await trained.close()
    },
    slow,
  )

  it('has the same second moments in both formats', async () => {
    const [inFolder, inFile] = await Promise.all([0, 1].map(index => readWeights(momentsOf(index))))
    const names = [...inFolder!.keys()].filter(name => name.startsWith('exp_avg_sq.'))
    expect(names).toHaveLength(21)
    for (const name of names) expect(inFile!.get(name), name).toEqual(inFolder!.get(name))
  })

  it(
    'is rejected for a different model or an unsafe pickle',
    async () => {
      const { paths } = answers[0]!
      const from = { model: paths.checkpoint_folder_path!, optimizer: undefined }
      const state = { step: 0, totalSteps: 0, consumedTokens: 0, training: parseTraining({}) }
      const open = (model: object, path = from) =>
        importCheckpoint(path, gpt2Options.parse(model), join(folder, 'none'), {
          ...state,
          cursor: { ...cursor, dataBytes: 1, tokenBytes: 1 },
        })
      const { model } = cases[0]!
      await expect(open({ ...model, n_layer: 1 })).rejects.toMatchObject({ code: 'WORLD_MISMATCH' })
      await expect(open({ ...model, n_layer: 3 })).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
      const pickle = join(folder, 'evil.bin')
      // A pickle that calls os.getcwd when loaded.
      writeFileSync(pickle, 'cos\ngetcwd\n(tR.')
      await expect(open(model, { model: pickle, optimizer: undefined })).rejects.toMatchObject({
        code: 'CHECKPOINT_INVALID',
      })
    },
    slow,
  )
})
