import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ignoredTarget, type TrainingBatch, toTrainingBatch } from '#src/training/engine'
import { type LossMask, maskStep, maskTargets } from '#src/training/loss-mask'
import { openTiny } from './fixtures.js'

const [BEGIN, END] = [1, 2]
const tokens = { beginId: BEGIN, endId: END }
const none = ignoredTarget

const masked = (...rows: number[][]): number[][] => {
  const targets = rows.map(row => Int32Array.from(row))
  maskTargets(targets, tokens)
  return targets.map(row => [...row])
}

describe('a mask', () => {
  test('keeps the targets between the tokens, without the tokens', () => {
    expect(masked([5, 1, 6, 7, 2, 8])).toEqual([[none, none, 6, 7, none, none]])
    expect(masked([1, 6, 2, 1, 7, 8])).toEqual([[none, 6, none, none, 7, 8]])
    expect(masked([5, 1, 2, 6])).toEqual([[none, none, none, none]])
  })

  test('ignores a micro batch only if one of the tokens is missing from it', () => {
    expect(masked([5, 1, 6, 7])).toEqual([[none, none, none, none]])
    expect(masked([5, 6, 1, 2])).toEqual([[none, none, none, none]])
    expect(masked([5, 1, 6, 7], [5, 1, 6, 2])).toEqual([
      [none, none, 6, 7],
      [none, none, 6, none],
    ])
  })

  test.each([
    ['an end before its begin', [5, 2, 6, 1]],
    ['two ends', [1, 6, 2, 2]],
    ['two begins', [1, 6, 1, 7, 2]],
  ])('rejects %s', (_, row) => {
    expect(() => masked(row)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})

/** Row i holds conversations whose answers have `answers[i]` tokens. */
function conversations(answers: readonly number[]): TrainingBatch {
  const block = 9
  const rows = answers.map((length, row) => {
    const talk = [3, BEGIN, ...Array.from({ length }, (_, at) => 4 + ((row + at) % 7)), END]
    return [...talk, ...new Array<number>(block - talk.length).fill(11)]
  })
  return toTrainingBatch(Int32Array.from(rows.flat()), rows.length, block)
}

const weightsOf = (batches: readonly TrainingBatch[]): number[] => batches.flatMap(({ weights }) => [...weights!])

describe('the micro batches of a step', () => {
  const mask = (rows: number, ranks: number): LossMask => ({ ...tokens, rows, ranks })

  test('have equal weights regardless of their number of targets', () => {
    const batches = [conversations([1, 3]), conversations([5, 5])]
    expect(weightsOf(maskStep(batches, mask(2, 1)))).toEqual([1 / 8, 1 / 8, 1 / 20, 1 / 20])
    expect(weightsOf(maskStep(batches, mask(1, 1)))).toEqual([1 / 4, 1 / 12, 1 / 20, 1 / 20])
    expect(weightsOf(maskStep(batches, mask(4, 1)))).toEqual([1 / 14, 1 / 14, 1 / 14, 1 / 14])
    // Two ranks get the rows round-robin.
    expect(weightsOf(maskStep(batches, mask(2, 2)))).toEqual([1 / 12, 1 / 16, 1 / 12, 1 / 16])
    expect(weightsOf(maskStep(batches, mask(1, 2)))).toEqual([1 / 4, 1 / 12, 1 / 20, 1 / 20])
  })

  test('do not depend on how the rows were split for memory', () => {
    const answers = fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 8, maxLength: 8 })
    fc.assert(
      fc.property(answers, fc.constantFrom(1, 2, 4), fc.constantFrom(1, 2), (lengths, rows, ranks) => {
        const whole = maskStep([conversations(lengths)], mask(rows, ranks))
        const cut = maskStep(
          lengths.map(length => conversations([length])),
          mask(rows, ranks),
        )
        expect(weightsOf(cut)).toEqual(weightsOf(whole))
      }),
    )
  })

  test('do not modify the input batches', () => {
    const batch = conversations([2])
    const before = [...batch.targets]
    maskStep([batch], mask(1, 1))
    expect([...batch.targets]).toEqual(before)
  })

  test('give the mean of their means as the loss, and a zero gradient if all targets are masked', async () => {
    const batches = [conversations([1, 3]), conversations([6, 2])]
    const engine = await openTiny()
    try {
      const groups = maskStep(batches, mask(2, 1))
      const means: number[] = []
      for (const group of groups) {
        const { lossSum, tokens } = await engine.evaluate(group)
        means.push(lossSum / tokens)
      }
      const { loss } = await engine.step(groups, 1e-9)
      expect(loss).toBeCloseTo((means[0]! + means[1]!) / 2, 5)
      expect(means[0]).not.toBeCloseTo(means[1]!, 3)
      const nothing = maskStep([toTrainingBatch(Int32Array.from([3, 4, 5, 6, 7, 8, 9, 10, 11]), 1, 9)], mask(1, 1))
      expect(await engine.step(nothing, 1e-9)).toEqual({ loss: 0, gradientNorm: 0 })
    } finally {
      await engine.close()
    }
  })

  test('without a mask give the same bits as before', async () => {
    const batch = conversations([4, 4])
    const run = async (weights?: Float64Array) => {
      const engine = await openTiny()
      const result = await engine.step([{ ...batch, ...(weights && { weights }) }], 0.1)
      await engine.close()
      return result
    }
    expect(await run(new Float64Array(2).fill(1 / 16))).toEqual(await run())
  })
})
