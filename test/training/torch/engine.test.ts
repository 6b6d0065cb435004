import { execFileSync } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Engine } from '#src/training/engine'
import { maskStep } from '#src/training/loss-mask'
import type { ModelInput } from '#src/training/options'
import { TorchEngine } from '#src/training/torch/engine'
import { ROOT } from '../../cli/support.js'
import { largestDifference, losses, openSmall, slow, smallBatch, talks, torchPython, using } from './fixtures.js'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'penstock-torch-test-'))
})

afterAll(() => rm(folder, { recursive: true, force: true }))

async function emptyFolder(name: string): Promise<string> {
  await mkdir(join(folder, name))
  return join(folder, name)
}

/** Writes the moments of a checkpoint as earlier versions of the engine did. */
async function moveMomentsToDcp(checkpoint: string): Promise<void> {
  const script = `
import sys, torch, torch.distributed.checkpoint as dcp
from pathlib import Path
from penstock_torch.checkpoint import read_safetensors
moments, metadata = read_safetensors(Path(sys.argv[1]) / "optimizer.safetensors")
dcp.save({**moments, "steps_taken": torch.tensor(int(metadata["steps_taken"]))}, checkpoint_id=Path(sys.argv[1]) / "optimizer", no_dist=True)
`
  const env = { ...process.env, PYTHONPATH: join(ROOT, 'torch') }
  execFileSync(torchPython!, ['-c', script, checkpoint], { env, stdio: 'pipe' })
  await rm(join(checkpoint, 'optimizer.safetensors'))
}

describe.skipIf(torchPython === undefined)('the torch engine', { timeout: slow }, () => {
  const variants: readonly [string, number, ModelInput][] = [
    ['rotary, rms, swiglu, grouped heads', 2, { kv_heads: 2 }],
    ['normalized queries and keys, wide heads', 2, { kv_heads: 2, qk_norm: true, head_dim: 12 }],
    [
      'learned, layer, gelu, bias, tied',
      1,
      { position: 'learned', norm: 'layer', activation: 'gelu', bias: true, tie_weights: true },
    ],
    ['none, rms, gelu, bias, tied', 2, { position: 'none', activation: 'gelu', bias: true, tie_weights: true }],
  ]
  /** Losses and gradient norms of steps on masked and weighted targets. */
  const maskedSteps = async (engine: Engine) => {
    const mask = { beginId: 7, endId: 9, rows: 2, ranks: 2 }
    const found: { losses: number[]; norms: number[] } = { losses: [], norms: [] }
    for (let step = 0; step < 10; step++) {
      const batches = maskStep([talks(2 * step), talks(2 * step + 1)], mask)
      const { loss, gradientNorm } = await engine.step(batches, 0.01)
      found.losses.push(loss)
      found.norms.push(gradientNorm)
    }
    return found
  }

  test.each(variants)(
    'has the results of tfjs, also with masked and weighted targets: %s',
    async (_, nproc, changes) => {
      const run = async (engine: Engine) => ({
        masked: await maskedSteps(engine),
        losses: await losses(engine, 20),
        evaluation: await engine.evaluate(smallBatch(77, 3)),
        logits: await engine.nextTokenLogits(Int32Array.of(5, 6, 7)),
        // Continues the tokens before.
        nextLogits: await engine.nextTokenLogits(Int32Array.of(5, 6, 7, 8)),
      })
      const expected = await using(openSmall('tfjs', 1, {}, changes), run)
      const found = await using(openSmall('torch', nproc, {}, changes), run)
      expect(largestDifference(found.masked.losses, expected.masked.losses)).toBeLessThan(1e-4)
      expect(largestDifference(found.masked.norms, expected.masked.norms)).toBeLessThan(1e-3)
      expect(largestDifference(found.losses, expected.losses)).toBeLessThan(1e-4)
      expect(found.evaluation.tokens).toBe(expected.evaluation.tokens)
      expect(found.evaluation.lossSum).toBeCloseTo(expected.evaluation.lossSum, 2)
      // AdamW amplifies the last bits of gradients that are nearly zero, such as those of key biases.
      expect(largestDifference([...found.logits], [...expected.logits])).toBeLessThan(2e-3)
      expect(largestDifference([...found.nextLogits], [...expected.nextLogits])).toBeLessThan(2e-3)
      expect(expected.losses.at(-1)).toBeLessThan(expected.losses[0]! - 0.5)
    },
  )

  test('trains in bfloat16 with activation checkpointing and replicas, with nearly the same losses', async () => {
    const torch = { mixed_precision: 'bf16', activation_checkpointing: true, replicate_degree: 2 } as const
    const expected = await using(openSmall('tfjs'), engine => losses(engine, 20))
    await using(openSmall('torch', 2, { torch }), async engine => {
      const found = await losses(engine, 20)
      expect(largestDifference(found, expected)).toBeLessThan(0.05)
      expect(found).not.toEqual(expected)
      await engine.saveState(await emptyFolder('bf16'))
    })
    // Weights and moments stay float32.
    await using(openSmall('tfjs'), async engine => {
      await engine.loadState(join(folder, 'bf16'))
      expect(engine.stepsTaken).toBe(20)
    })
    const degrees = { replicate_degree: 3 }
    await expect(openSmall('torch', 1, { torch: degrees })).rejects.toMatchObject({ code: 'OPTION_INVALID' })
  })

  test('has the losses of tfjs with 2 and 4 ranks, with uneven rows, masks, and a checkpoint of 4 ranks read by 2', async () => {
    const saved = await emptyFolder('four')
    const run = async (engine: Engine) => {
      const masked = await maskedSteps(engine)
      const before = await losses(engine, 30, 0, 3)
      if (engine instanceof TorchEngine) await engine.saveState(saved)
      return [...masked.losses, ...masked.norms, ...before, ...(await losses(engine, 20, 30, 3))]
    }
    const expected = await using(openSmall('tfjs'), run)
    expect(largestDifference(await using(openSmall('torch', 4), run), expected)).toBeLessThan(1e-4)
    const two = await using(openSmall('torch', 2), async engine => {
      const before = await losses(engine, 2, 0, 3)
      await engine.loadState(saved)
      expect(engine.stepsTaken).toBe(40)
      return { before, after: await losses(engine, 20, 30, 3) }
    })
    expect(two.before).toHaveLength(2)
    expect(largestDifference(two.after, expected.slice(-20))).toBeLessThan(1e-4)
  })

  test('exchanges checkpoints with tfjs: the bytes are the same, also if steps are taken while they are written', async () => {
    const [fromTfjs, fromTorch, whileTraining] = await Promise.all(['tfjs', 'torch', 'copied'].map(emptyFolder))
    const files = ['model.safetensors', 'optimizer.safetensors']
    // Files of several parts.
    const large = { vocab_size: 20_000 }
    const expected = await using(openSmall('tfjs', 1, {}, large), async engine => {
      await losses(engine, 3)
      await engine.saveState(fromTfjs!)
      return losses(engine, 5, 3)
    })
    await using(openSmall('torch', 2, {}, large), async engine => {
      await engine.loadState(fromTfjs!)
      const saved = await engine.saveState(fromTorch!)
      let found: Promise<number[]> | undefined
      const copied = await engine.saveState(whileTraining!, () => {
        found = losses(engine, 5, 3)
      })
      expect(copied).toEqual(saved)
      expect(saved).toMatchObject(files.map(name => ({ name, record: { partBytes: 1 << 22 } })))
      expect(largestDifference(await found!, expected)).toBeLessThan(1e-4)
      for (const file of files) {
        const bytes = await readFile(join(fromTfjs!, file))
        expect((await readFile(join(fromTorch!, file))).equals(bytes)).toBe(true)
        expect((await readFile(join(whileTraining!, file))).equals(bytes)).toBe(true)
      }
      await using(openSmall('tfjs', 1, {}, { width: 64 }), async wider => {
        await expect(wider.loadWeights(fromTorch!)).rejects.toMatchObject({ code: 'WORLD_MISMATCH' })
        const wide = await emptyFolder('wide')
        await wider.saveState(wide)
        await expect(engine.loadState(wide)).rejects.toMatchObject({ code: 'WORLD_MISMATCH' })
      })
    })
    const logits = (engine: Engine) =>
      engine.loadWeights(fromTorch!).then(() => engine.nextTokenLogits(Int32Array.of(1, 2)))
    const first = await using(openSmall('tfjs', 1, {}, large), logits)
    await moveMomentsToDcp(fromTorch!)
    await using(openSmall('torch', 1, {}, large), async engine => {
      expect(largestDifference([...first], [...(await logits(engine))])).toBeLessThan(1e-4)
      await engine.loadState(fromTorch!)
      expect(largestDifference(await losses(engine, 5, 3), expected)).toBeLessThan(1e-4)
    })
    const loading = using(openSmall('tfjs', 1, {}, large), engine => engine.loadState(fromTorch!))
    await expect(loading).rejects.toMatchObject({ code: 'CHECKPOINT_INVALID' })
  })
})
