/** From the text of a Modalities configuration to a trained Penstock checkpoint. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import type { ReadOptions } from '#src/modalities/plans/read-config'
import { readTrainingPlan } from '#src/modalities/plans/training-plan'
import { toPenstockTraining } from '#src/modalities/to-penstock'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/samples/shuffle-samples'

const text = readFileSync(new URL('training.yaml', import.meta.url), 'utf8')
const TOKENS = 4000

let folder: string
let options: ReadOptions

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'penstock-modalities-'))
  const tokens = Uint8Array.from({ length: TOKENS }, (_, at) => (at * at) % 251)
  const header = encodePbinHeader({ dataBytes: TOKENS, tokenBytes: 1 })
  writeFileSync(join(folder, 'train.pbin'), Buffer.concat([header, tokens, writePairList([[0, TOKENS]])]))
  options = {
    configFilePath: 'train.yaml',
    configFolderPath: '.',
    experimentId: 'run',
    experimentsRootPath: folder,
    world: { rank: 1, localRank: 1, worldSize: 4 },
    readTokenCount: () => TOKENS,
  }
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

const planOf = (source: string) =>
  readTrainingPlan(source.replace('train.pbin', join(folder, 'train.pbin').replaceAll('\\', '/')), options)

describe('toPenstockTraining', () => {
  it('returns options that train to the last step', async () => {
    const { shuffleSamples: samples, feedTrainer: trainer } = toPenstockTraining(planOf(text))
    await pipeline(shuffleSamples(samples), feedTrainer(trainer))
    const checkpoints = readdirSync(join(folder, 'run', 'checkpoints'))
    expect(checkpoints.some(name => name.includes('12'))).toBe(true)
  })

  // Two thirds of 128 rounded down is 85, a multiple of 5. Rounded up it would be 86, and the width 90.
  it('computes the inner width of swiglu like Modalities', () => {
    const swiglu = text
      .replace('ffn_hidden: 512', 'ffn_hidden: 128\n    enforce_swiglu_hidden_dim_multiple_of: 5')
      .replace('activation_type: gelu', 'activation_type: swiglu')
    expect(toPenstockTraining(planOf(swiglu)).feedTrainer.model?.ffn_width).toBe(85)
  })

  it.each([
    ['full_activation_checkpointing', {}, { activation_checkpointing: true }, 0],
    ['selective_layer_activation_checkpointing', { ac_freq: 1 }, { activation_checkpointing: true }, 0],
    [
      'selective_layer_activation_checkpointing',
      { ac_freq: 2 },
      { activation_checkpointing: true, checkpointed_layers_every: 2 },
      1,
    ],
    [
      'selective_op_activation_checkpointing',
      { save_ops_keys: ['ops.aten.mm.default'] },
      { activation_checkpointing: 'selective' },
      1,
    ],
    [
      'selective_op_activation_checkpointing',
      { save_ops_keys: ['ops.aten.max.default'] },
      { activation_checkpointing: true },
      1,
    ],
  ])('translates %s with %j', (variant, parameters, expected, differences) => {
    const plan = planOf(text)
    const options = { ac_variant: variant, layers_fqn: 'transformer.h', ac_fun_params: parameters }
    const wrappers = [...plan.wrappers, { variant: 'activation_checkpointed', options }]
    const translated = toPenstockTraining({ ...plan, wrappers })
    expect(translated.feedTrainer.torch).toMatchObject(expected)
    expect(
      translated.differences.filter(text => text.includes('activations') || text.includes('selective')),
    ).toHaveLength(differences)
  })

  it('reports settings that the trainer does not support', () => {
    const other = text
      .replace('dropout: 0.0', 'dropout: 0.1')
      .replace('weight_init_type: scaled', 'weight_init_type: scaled_embed')
      .replace('norm_type: P2_NORM', 'norm_type: P1_NORM')
      .replace('param_dtype: BF_16', 'param_dtype: FP_32')
    expect(toPenstockTraining(planOf(other)).differences).toEqual([
      'dropout is not applied; the configuration has 0.1',
      'weights are initialized as "scaled", not "scaled_embed"',
      'gradients are clipped by the Euclidean norm, not P1_NORM',
    ])
  })
})
