/** Shards, replicas and tensor parallelism: same results as tfjs, and checkpoints that both read. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { convertBack, convertCheckpoint } from '#src/cli/actions/convert'
import { listCheckpoints, saveCheckpoint } from '#src/training/checkpoint'
import type { Engine } from '#src/training/engine'
import { maskStep } from '#src/training/loss-mask'
import { openTrained } from '#src/training/open-engine'
import { type ModelInput, parseTraining, resolveModel } from '#src/training/options'
import { temporaryFolder } from '../../stages/support.js'
import { countingBatch } from '../fixtures.js'
import { largestDifference, losses, model, openSmall, slow, smallBatch, talks, torchPython, using } from './fixtures.js'

const folder = temporaryFolder()
const prompt = Int32Array.of(5, 6, 7)

const variants: readonly [string, ModelInput, number, object][] = [
  ['copies of shards', {}, 4, { replicate_degree: 2, shard_degree: 2 }],
  ['two ranks, rotary, rms, swiglu, grouped heads', { kv_heads: 2 }, 2, { tensor_parallel: 2 }],
  [
    'uneven shards of pairs, learned, layer, gelu, bias, tied',
    { position: 'learned', norm: 'layer', activation: 'gelu', bias: true, tie_weights: true, ffn_width: 22 },
    4,
    { tensor_parallel: 2 },
  ],
  [
    'replicas of pairs, rms with bias, untied',
    { bias: true },
    4,
    { tensor_parallel: 2, replicate_degree: 2, activation_checkpointing: true },
  ],
]

/** Trains the first steps and saves a checkpoint. */
async function begin(engine: Engine, name: string) {
  const saved = join(folder, name)
  await mkdir(saved)
  const before = await losses(engine, 10, 0, 3)
  await engine.saveState(saved)
  return { saved, before }
}

/** Trains the steps after a checkpoint and evaluates. */
async function goOn(engine: Engine) {
  const after = await losses(engine, 15, 10, 3)
  const { lossSum } = await engine.evaluate(smallBatch(77, 3))
  return { after, lossSum, logits: [...(await engine.nextTokenLogits(prompt))] }
}

describe.skipIf(torchPython === undefined)('a layout of ranks', { timeout: slow }, () => {
  test.each(variants)('has the results of tfjs and exchanges checkpoints with it: %s', async (...variant) => {
    const [name, model, nproc, torch] = variant
    await using(openSmall('tfjs', 1, {}, model), one =>
      using(openSmall('torch', nproc, { torch }, model), async split => {
        const [ofOne, ofSplit] = [await begin(one, `one ${name}`), await begin(split, name)]
        expect(largestDifference(ofSplit.before, ofOne.before)).toBeLessThan(1e-4)
        const [expected, found] = [await goOn(one), await goOn(split)]
        await one.loadState(ofSplit.saved)
        await split.loadState(ofOne.saved)
        for (const other of [found, await goOn(one), await goOn(split)]) {
          expect(largestDifference(other.after, expected.after)).toBeLessThan(1e-4)
          expect(other.lossSum).toBeCloseTo(expected.lossSum, 2)
          expect(largestDifference(other.logits, expected.logits)).toBeLessThan(1e-3)
        }
      }),
    )
  })

  test('with tensor parallelism trains on masked conversations like tfjs, also with uneven rows', async () => {
    const mask = { beginId: 7, endId: 9, rows: 2, ranks: 2 }
    const run = async (engine: Engine) => {
      const found: { losses: number[]; norms: number[] } = { losses: [], norms: [] }
      for (let step = 0; step < 25; step++) {
        const { loss, gradientNorm } = await engine.step(
          maskStep([talks(2 * step, 3), talks(2 * step + 1, 2)], mask),
          0.01,
        )
        found.losses.push(loss)
        found.norms.push(gradientNorm)
      }
      return found
    }
    const torch = { tensor_parallel: 2 }
    const expected = await using(openSmall('tfjs'), run)
    expect(expected.losses.at(-1)).toBeLessThan(expected.losses[0]! - 0.5)
    for (const nproc of [2, 4]) {
      const found = await using(openSmall('torch', nproc, { torch }), run)
      expect(largestDifference(found.losses, expected.losses), `${nproc} ranks`).toBeLessThan(1e-4)
      expect(largestDifference(found.norms, expected.norms), `${nproc} ranks`).toBeLessThan(1e-3)
    }
  })

  test('with tensor parallelism writes a checkpoint that converts to a Hugging Face folder', async () => {
    const torch = { nproc: 2, device: 'cpu', tensor_parallel: 2 } as const
    const training = parseTraining({ engine: 'torch', torch, model, checkpoint: { folder: join(folder, 'own') } })
    const { cursor } = countingBatch(0, 1)
    const state = { step: 3, totalSteps: 3, consumedTokens: 0, cursor, model: resolveModel(model), training }
    const expected = await using(openSmall('torch', 2, { torch }), async engine => {
      await losses(engine, 3)
      await saveCheckpoint(join(folder, 'own'), null, engine, state)
      return engine.nextTokenLogits(prompt)
    })
    await convertCheckpoint(join(folder, 'own'), join(folder, 'hugging-face'))
    await convertBack(join(folder, 'hugging-face'), join(folder, 'back'), undefined)
    const [back] = await listCheckpoints(join(folder, 'back'))
    const found = await using(
      openTrained(back!).then(({ engine }) => engine),
      engine => engine.nextTokenLogits(prompt),
    )
    expect(largestDifference([...found], [...expected])).toBeLessThan(1e-4)
  })

  test('with tensor parallelism is rejected before the start if a width is not divisible', async () => {
    const torch = { tensor_parallel: 3, python: '/nowhere' }
    const rejection = { code: 'OPTION_INVALID', where: { path: 'torch.tensor_parallel' } }
    await expect(openSmall('torch', 3, { torch })).rejects.toMatchObject(rejection)
  })
})
