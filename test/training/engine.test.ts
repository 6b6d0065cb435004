import * as tf from '@tensorflow/tfjs-core'
import { beforeAll, describe, expect, test } from 'vitest'
import { FINITE_LIMITS } from '#src/training/engine'
import { openEngine } from '#src/training/open-engine'
import { parseTraining, type TrainingInput } from '#src/training/options'
import { openBackend } from '#src/training/tfjs/backends'
import { openTfjsEngine } from '#src/training/tfjs/engine'
import { SharedState } from '#src/training/tfjs/shared-state'
import type { EngineState } from '#src/training/tfjs/state-files'
import { TrainingThreads } from '#src/training/tfjs/training-threads'
import { registerWasmKernels } from '#src/training/tfjs/wasm-kernels'
import { countingBatch, countingTrainingBatch, openTiny, tiny } from './fixtures.js'

beforeAll(async () => {
  await openBackend('wasm')
})

function allValues(state: EngineState): number[] {
  return [state.weights, state.means, state.variances].flatMap(part =>
    [...part.values()].flatMap(tensor => [...tensor.values]),
  )
}

describe('training', () => {
  test('reduces the loss of a predictable sequence nearly to its entropy', async () => {
    const engine = await openTiny()
    const before = await engine.evaluate(countingTrainingBatch(500, 32))
    for (let step = 0; step < 80; step++) {
      await engine.step([countingTrainingBatch(step, 16)], 1e-2)
    }
    const after = await engine.evaluate(countingTrainingBatch(500, 32))
    expect(before.lossSum / before.tokens).toBeCloseTo(Math.log(12), 1)
    // Entropy of an increment of 1 (90 %) or 3 (10 %): 0.325.
    expect(after.lossSum / after.tokens).toBeLessThan(0.45)
    await engine.close()
  })

  test('the same seed and data give the same bits', async () => {
    const runs = []
    for (let run = 0; run < 2; run++) {
      const engine = await openTiny()
      const losses = []
      for (let step = 0; step < 5; step++) {
        losses.push((await engine.step([countingTrainingBatch(step, 4)], 1e-2)).loss)
      }
      runs.push([...losses, ...allValues(await engine.exportState())])
      await engine.close()
    }
    expect(runs[0]).toEqual(runs[1])
  })

  test('two micro batches of B rows give the step of one with 2 B rows, also with ignored targets', async () => {
    const [accumulated, whole] = [await openTiny(), await openTiny()]
    const [first, second] = [countingTrainingBatch(0, 4), countingTrainingBatch(1, 4)]
    first.targets.fill(-100, 3, 20)
    const joined = {
      inputs: Int32Array.of(...first.inputs, ...second.inputs),
      targets: Int32Array.of(...first.targets, ...second.targets),
      rows: 8,
      columns: 8,
    }
    const inParts = await accumulated.step([first, second], 1e-3)
    const atOnce = await whole.step([joined], 1e-3)
    expect(inParts.loss).toBeCloseTo(atOnce.loss, 5)
    expect(inParts.gradientNorm).toBeCloseTo(atOnce.gradientNorm, 4)
    const [a, b] = [allValues(await accumulated.exportState()), allValues(await whole.exportState())]
    expect(Math.max(...a.map((value, index) => Math.abs(value - b[index]!)))).toBeLessThan(1e-4)
    await accumulated.close()
    await whole.close()
  })

  test('a tied model has a single matrix for input and output', async () => {
    const engine = await openTiny({ tie_weights: true })
    const { weights } = await engine.exportState()
    expect(weights.has('lm_head.weight')).toBe(false)
    expect(await engine.nextTokenLogits(Int32Array.of(1, 2))).toHaveLength(12)
    await engine.close()
  })

  test('a step without counted targets has loss 0 and keeps the weights finite', async () => {
    const engine = await openTiny()
    const batch = countingTrainingBatch(0, 2)
    batch.targets.fill(-100)
    expect(await engine.step([batch], 1e-2)).toEqual({ loss: 0, gradientNorm: 0 })
    expect(allValues(await engine.exportState()).every(Number.isFinite)).toBe(true)
    await engine.close()
  })

  test('steps, evaluations and generation leak no tensors', async () => {
    const before = tf.memory().numTensors
    const engine = await openTiny({ bias: true, position: 'learned' })
    const work = async (step: number) => {
      await engine.step([countingTrainingBatch(step, 4), countingTrainingBatch(step + 1, 4)], 1e-3)
      await engine.evaluate(countingTrainingBatch(step, 4))
      await engine.nextTokenLogits(Int32Array.of(1, 2, 3))
    }
    await work(0)
    const { tensors, bytes } = engine.memory()
    for (let step = 1; step < 20; step++) {
      await work(step)
    }
    expect(engine.memory()).toEqual({ tensors, bytes })
    await engine.close()
    expect(tf.memory().numTensors).toBe(before)
  })
})

test.each([
  ['the calling thread', {}, 'wasm'],
  ['one thread', { threads: 1 }, 'wasm'],
  ['two threads', { threads: 2 }, 'wasm'],
  ['stock kernels', {}, 'cpu'],
] as const)('a step that is not within the limits changes nothing: %s', async (_, threads, backend) => {
  const engine = await openTiny({}, threads, backend)
  const untrained = allValues(await engine.exportState())
  const batch = [countingTrainingBatch(0, 4)]
  const { loss: first, gradientNorm: norm } = await engine.step(batch, 1e-3, { loss: 1, gradientNorm: 1e9 })
  expect(first).toBeGreaterThan(1)
  await engine.step(batch, 1e-3, { loss: first, gradientNorm: 0.9 * norm })
  expect(allValues(await engine.exportState())).toEqual(untrained)
  await engine.step(batch, 1e30, { loss: first, gradientNorm: norm })
  const before = allValues(await engine.exportState())
  expect(before).not.toEqual(untrained)
  const { loss, gradientNorm } = await engine.step([countingTrainingBatch(1, 4)], 1e-3, FINITE_LIMITS)
  expect(Number.isFinite(loss) && Number.isFinite(gradientNorm)).toBe(false)
  expect(allValues(await engine.exportState())).toEqual(before)
  expect(engine.stepsTaken).toBe(1)
  await engine.close()
})

describe('threads', () => {
  const batches = (step: number) => [countingTrainingBatch(2 * step, 5), countingTrainingBatch(2 * step + 1, 4)]

  async function run(training: TrainingInput) {
    const engine = await openTiny({ bias: true }, training)
    const losses = []
    for (let step = 0; step < 4; step++) {
      losses.push((await engine.step(batches(step), 1e-2)).loss)
    }
    const values = allValues(await engine.exportState())
    await engine.close()
    return { losses, values }
  }

  test('split the rows without changing the losses, and are deterministic', async () => {
    const [alone, three, again] = [await run({}), await run({ threads: 3 }), await run({ threads: 3 })]
    expect(again).toEqual(three)
    alone.losses.forEach((loss, step) => {
      expect(Math.abs(three.losses[step]! - loss)).toBeLessThan(1e-5)
    })
  })

  test('evaluate and generate with the weights of the last step', async () => {
    const [alone, threaded] = [await openTiny(), await openTiny({}, { threads: 2 })]
    for (let step = 0; step < 3; step++) {
      const results: number[][] = []
      for (const engine of [alone, threaded]) {
        const { lossSum } = await engine.evaluate(countingTrainingBatch(9, 5))
        results.push([lossSum, ...(await engine.nextTokenLogits(Int32Array.of(1, 2, 3)))])
        await engine.step(batches(step), 1e-2)
      }
      results[0]!.forEach((value, index) => {
        expect(results[1]![index]).toBeCloseTo(value, 4)
      })
    }
    await alone.close()
    await threaded.close()
  })

  test('compute models of every size, so that the calling thread stays free', async () => {
    for (const sequence_length of [8, 65_536]) {
      const engine = await openEngine(parseTraining({ threads: 1, batch_size: 1 }), tiny({ sequence_length }))
      await engine.step([countingTrainingBatch(0, 1)], 1e-2)
      await engine.evaluate(countingTrainingBatch(0, 1))
      expect(tf.memory().numTensors).toBe(0)
      await engine.close()
    }
  })

  test('that compute whole batches give the bits of the calling thread, also after a resume', async () => {
    const found = []
    for (const threads of ['calling', 'whole'] as const) {
      const { optimizer } = parseTraining({})
      const options = { model: tiny(), optimizer, gradientClip: 0.5, backend: 'wasm', threads } as const
      const [first, second] = [await openTfjsEngine(options), await openTfjsEngine(options)]
      const results: unknown[] = [await first.step(batches(0), 1e-2), await first.step(batches(1), 1e-2)]
      await second.importState(await first.exportState())
      for (const engine of [first, second]) {
        results.push(await engine.evaluate(countingTrainingBatch(9, 5)), await engine.step(batches(2), 1e-2))
        results.push(await engine.nextTokenLogits(Int32Array.of(1, 2, 3)), allValues(await engine.exportState()))
        await engine.close()
      }
      found.push(results)
    }
    expect(found[1]).toEqual(found[0])
  })

  test('without rows stay idle', async () => {
    const engine = await openTiny({}, { threads: 4 })
    const batch = countingTrainingBatch(0, 2)
    const { loss } = await engine.step([batch], 1e-2)
    expect(loss).toBeCloseTo(Math.log(12), 1)
    await engine.close()
  })

  test('report their failures', async () => {
    const setup = { model: tiny(), optimizer: parseTraining({}).optimizer, threads: 2 }
    const { memory } = await SharedState.open(setup)
    const threads = new TrainingThreads({ ...setup, memory })
    const broken = { ...countingTrainingBatch(0, 2), inputs: 'not ids' as unknown as Int32Array<ArrayBuffer> }
    const answer = threads.ask(1, { kind: 'gradients', version: 0, groups: [{ weight: 1, batches: [broken] }] })
    await expect(answer).rejects.toMatchObject({ code: 'WORKER_FAILED' })
    await threads.close()
  })
})

test('batches with ids or shapes outside the model are rejected', async () => {
  const engine = await openTiny()
  const good = countingTrainingBatch(0, 2)
  const bad = [
    [{ ...good, inputs: good.inputs.map(() => 12) }, 'TOKENIZER_MISMATCH'],
    [{ ...good, targets: good.targets.map(() => 12) }, 'TOKENIZER_MISMATCH'],
    [{ ...good, targets: good.targets.map(() => -1) }, 'TOKENIZER_MISMATCH'],
    [{ ...good, inputs: good.inputs.subarray(1) }, 'ARGUMENT_INVALID'],
    [{ ...good, rows: 1, columns: 16 }, 'ARGUMENT_INVALID'],
  ] as const
  for (const [batch, code] of bad) {
    await expect(engine.step([batch], 1e-2)).rejects.toMatchObject({ code })
    await expect(engine.evaluate(batch)).rejects.toMatchObject({ code })
  }
  await expect(engine.nextTokenLogits(Int32Array.of(12))).rejects.toMatchObject({ code: 'TOKENIZER_MISMATCH' })
  await expect(engine.nextTokenLogits(new Int32Array(9))).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
  await engine.close()
})

describe('AdamW', () => {
  /** Textbook formula in double precision, with gradients derived from the engine's first moments. */
  test('updates, decays and clips as documented by torch', async () => {
    const optimizer = { betas: [0.8, 0.9] as [number, number], eps: 1e-8, weight_decay: 0.3 }
    const engine = await openTiny({}, { optimizer, gradient_clip: 0.01 })
    const before = await engine.exportState()
    const { gradientNorm } = await engine.step([countingTrainingBatch(0, 4)], 0.05)
    const after = await engine.exportState()
    expect(gradientNorm).toBeGreaterThan(0.1)
    let square = 0
    for (const [name, mean] of after.means) {
      const decays = !name.includes('embed') && !name.includes('norm')
      mean.values.forEach((value, index) => {
        const gradient = value / (1 - 0.8)
        square += gradient ** 2
        const old = before.weights.get(name)!.values[index]!
        const step = (0.05 * gradient) / (Math.abs(gradient) + 1e-8)
        const expected = old * (decays ? 1 - 0.05 * 0.3 : 1) - step
        // With a gradient around eps, rounding dominates the result.
        if (Math.abs(gradient) > 1e-6) {
          expect(after.weights.get(name)!.values[index]!).toBeCloseTo(expected, 5)
        }
      })
    }
    expect(Math.sqrt(square)).toBeCloseTo(0.01, 5)
    await engine.close()
  })
})

describe('the replaced wasm kernels', () => {
  const cases: [number[], number[], boolean, boolean][] = [
    [[64, 32], [32, 48], false, false],
    [[64, 32], [48, 32], false, true],
    [[32, 64], [32, 48], true, false],
    [[32, 64], [48, 32], true, true],
    [[6, 17, 33], [6, 33, 19], false, false],
    [[2, 3, 17, 33], [2, 3, 19, 33], false, true],
    [[2, 3, 33, 17], [2, 3, 33, 19], true, false],
    [[3, 5, 7], [1, 7, 4], false, false],
  ]

  test('multiply with the same bits as the stock kernel', () => {
    const fast = products()
    registerWasmKernels()()
    const stock = products()
    registerWasmKernels()
    expect(fast).toEqual(stock)
    expect(fast[0]!.some(value => value !== 0)).toBe(true)

    function products(): Float32Array[] {
      return cases.map(([a, b, transposeA, transposeB], index) =>
        tf.tidy(
          () =>
            tf
              .matMul(
                tf.randomNormal(a, 0, 1, 'float32', index + 1),
                tf.randomNormal(b, 0, 1, 'float32', index + 9),
                transposeA,
                transposeB,
              )
              .dataSync() as Float32Array,
        ),
      )
    }
  })

  test('sum segments', () => {
    const sums = tf.tidy(() =>
      tf.unsortedSegmentSum(tf.tensor2d([1, 2, 3, 4, 5, 6], [3, 2]), tf.tensor1d([2, 0, 2], 'int32'), 4).arraySync(),
    )
    expect(sums).toEqual([
      [3, 4],
      [0, 0],
      [6, 8],
      [0, 0],
    ])
  })
})

test('an allocation beyond the heap fails, and the backend still works', () => {
  const tooBig = () => tf.fill([2 ** 30 + 1], 1)
  expect(tooBig).toThrow(expect.objectContaining({ code: 'ENGINE_FAILED' }) as Error)
  expect(tf.tidy(() => tf.add(1, 2).dataSync()[0])).toBe(3)
})

test('the wasm backend leaves no handlers for uncaught errors', () => {
  const installed = process.listeners('uncaughtException').filter(listener => String(listener).includes('ExitStatus'))
  expect(installed).toEqual([])
})

test('batches are split into inputs and targets shifted by one token', () => {
  const { tokens } = countingBatch(0, 2)
  const { inputs, targets } = countingTrainingBatch(0, 2)
  expect([...inputs.subarray(1, 8)]).toEqual([...targets.subarray(0, 7)])
  expect(targets[7]).toBe(tokens[8])
  expect(inputs[8]).toBe(tokens[9])
})
