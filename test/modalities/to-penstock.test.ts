/** A configuration of the reference trains our own model: from its text to a checkpoint. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { encodePbinHeader } from '#src/formats/pbin'
import { writePairList } from '#src/formats/pickle'
import type { ReadOptions } from '#src/modalities/plans/read-config'
import { readTrainingPlan } from '#src/modalities/plans/training-plan'
import { toNativeTraining } from '#src/modalities/to-penstock'
import { feedTrainer } from '#src/stages/feed-trainer'
import { shuffleSamples } from '#src/stages/shuffle-samples'

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

describe('toNativeTraining', () => {
  it('gives options with which our stages train to the last step', async () => {
    const { shuffleSamples: samples, feedTrainer: trainer } = toNativeTraining(planOf(text))
    await pipeline(shuffleSamples(samples), feedTrainer(trainer))
    const checkpoints = readdirSync(join(folder, 'run', 'checkpoints'))
    expect(checkpoints.some(name => name.includes('12'))).toBe(true)
  })

  // Two thirds of 128, rounded down, is 85: a multiple of 5. Rounded up it would be 86, and the width 90.
  it('derives the inner width of swiglu as the reference does', () => {
    const swiglu = text
      .replace('ffn_hidden: 512', 'ffn_hidden: 128\n    enforce_swiglu_hidden_dim_multiple_of: 5')
      .replace('activation_type: gelu', 'activation_type: swiglu')
    expect(toNativeTraining(planOf(swiglu)).feedTrainer.model?.ffn_width).toBe(85)
  })

  it('names what our trainer does not do as the file says', () => {
    const other = text
      .replace('dropout: 0.0', 'dropout: 0.1')
      .replace('weight_init_type: scaled', 'weight_init_type: scaled_embed')
      .replace('norm_type: P2_NORM', 'norm_type: P1_NORM')
      .replace('param_dtype: BF_16', 'param_dtype: FP_32')
    expect(toNativeTraining(planOf(other)).differences).toEqual([
      'no dropout, where the file has 0.1',
      'first weights are drawn as "scaled" does it, not "scaled_embed"',
      'gradients are clipped by the Euclidean norm, not P1_NORM',
    ])
  })
})
