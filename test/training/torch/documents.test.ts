/** Masked documents in the torch engine: compared with tfjs, and with each document in a row of its own. */
import { mkdtemp } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { type Engine, ignoredTarget, type TrainingBatch } from '#src/training/engine'
import type { ModelInput } from '#src/training/options'
import { temporaryFolder } from '../../stages/support.js'
import { largestDifference, openSmall, slow, smallBatch, torchPython, using } from './fixtures.js'

const folder = temporaryFolder()

/** Columns at which the documents of each row start. */
const FIRSTS = [[0, 5, 6], [0, 9], [0], [0, 2, 4, 11]]

function masked(
  number: number,
  restartPositions: boolean,
  firsts: readonly (readonly number[])[] = FIRSTS,
): TrainingBatch {
  const batch = smallBatch(number, firsts.length)
  const starts = firsts.flatMap(row =>
    Array.from({ length: batch.columns }, (_, at) => row.findLast(first => first <= at)!),
  )
  const targets = batch.targets.map((target, at) => (starts[at + 1]! > starts[at]! ? ignoredTarget : target))
  return { ...batch, targets, documents: { starts: Int32Array.from(starts), restartPositions } }
}

/** Each document in a row of its own, padded. */
function apart(batch: TrainingBatch): TrainingBatch {
  const { columns, documents } = batch
  const places = FIRSTS.flatMap((firsts, row) =>
    firsts.map((first, at) => [row * columns + first, row * columns + (firsts[at + 1] ?? columns)] as const),
  )
  const inputs = new Int32Array(places.length * columns)
  const targets = new Int32Array(places.length * columns).fill(ignoredTarget)
  for (const [row, [from, to]] of places.entries()) {
    inputs.set(batch.inputs.subarray(from, to), row * columns)
    targets.set(batch.targets.subarray(from, to), row * columns)
  }
  expect(documents).toBeDefined()
  return { inputs, targets, rows: places.length, columns }
}

/** With a large epsilon an update is proportional to the gradient, so the second loss and norm compare all of it. */
async function twoSteps(engine: Engine, batches: readonly TrainingBatch[]): Promise<number[]> {
  const first = await engine.step(batches, 1)
  const second = await engine.step(batches, 1)
  return [first.loss, first.gradientNorm, second.loss, second.gradientNorm]
}

/** Two steps on each of several sets of batches, from the same weights. */
async function eachFromStart(engine: Engine, sets: readonly (readonly TrainingBatch[])[]): Promise<number[][]> {
  const untrained = await mkdtemp(join(folder, 'untrained-'))
  await engine.saveState(untrained)
  const found: number[][] = []
  for (const batches of sets) {
    await engine.loadState(untrained)
    found.push(await twoSteps(engine, batches))
  }
  return found
}

const training = { gradient_clip: null, optimizer: { eps: 1, weight_decay: 0 } }

describe.skipIf(torchPython === undefined)('documents in the torch engine', { timeout: slow }, () => {
  const variants: readonly [string, number, ModelInput, boolean, number][] = [
    ['1 rank, rotary', 1, {}, false, 1],
    ['1 rank, learned positions that restart', 1, { position: 'learned' }, true, 1],
    ['2 ranks, rotary positions that restart, grouped heads', 2, { kv_heads: 2 }, true, 1],
    ['tensor parallelism, rotary positions that restart, normalized heads', 2, { qk_norm: true, kv_heads: 2 }, true, 2],
    ['tensor parallelism, learned positions that restart', 2, { position: 'learned', tie_weights: true }, true, 2],
  ]
  test.each(variants)('rows of several documents have the loss and gradients of each alone: %s', async (...variant) => {
    const [, nproc, changes, restart, tensor_parallel] = variant
    const batches = [masked(0, restart), masked(1, restart)]
    const torch = { nproc, tensor_parallel }
    const [together, alone] = await using(openSmall('torch', nproc, { ...training, torch }, changes), engine =>
      eachFromStart(engine, [batches, batches.map(apart)]),
    )
    const expected = await using(openSmall('tfjs', 1, training, changes), engine => twoSteps(engine, batches))
    expect(largestDifference(together!, alone!)).toBeLessThan(1e-6)
    expect(largestDifference(together!, expected)).toBeLessThan(1e-5)
  })

  test('rows of one document have the bits of unmasked ones', async () => {
    const batch = masked(0, true, [[0], [0], [0], [0]])
    const { documents: _, ...unmasked } = batch
    const [found, expected] = await using(openSmall('torch', 2, training), engine =>
      eachFromStart(engine, [[batch], [unmasked]]),
    )
    expect(found).toEqual(expected)
  })

  test('evaluation and activation checkpointing mask documents too', async () => {
    const batch = masked(3, true)
    const torch = { activation_checkpointing: true, replicate_degree: 2 }
    const run = async (engine: Engine) => [(await engine.evaluate(batch)).lossSum, ...(await twoSteps(engine, [batch]))]
    const expected = await using(openSmall('tfjs', 1, training), run)
    const found = await using(openSmall('torch', 2, { ...training, torch }), run)
    expect(largestDifference(found, expected)).toBeLessThan(1e-4)
  })
})
