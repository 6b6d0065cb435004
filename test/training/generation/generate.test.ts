import { describe, expect, test } from 'vitest'
import { type GenerationEnd, generate } from '#src/training/generation/generate'
import { type SamplingOptions, sample } from '#src/training/generation/token-sampler'
import { uniformGenerator } from '#src/training/weights'

async function collect(ids: AsyncIterable<number>): Promise<number[]> {
  const all = []
  for await (const id of ids) {
    all.push(id)
  }
  return all
}

async function endOf(ids: AsyncGenerator<number, GenerationEnd>): Promise<GenerationEnd> {
  let next = await ids.next()
  while (next.done !== true) next = await ids.next()
  return next.value
}

describe('generation', () => {
  const logits = Float32Array.of(0, 3, 1, 2)

  test('takes the most probable token at temperature 0 and only the k most probable with top-k', () => {
    const draw = uniformGenerator('draws')
    expect(sample(logits, { temperature: 0 }, draw)).toBe(1)
    const seen = new Set(Array.from({ length: 200 }, () => sample(logits, { topK: 2 }, draw)))
    expect(seen).toEqual(new Set([1, 3]))
  })

  test('samples from the softmax of logits over temperature', () => {
    const draw = uniformGenerator('draws')
    for (const temperature of [0.7, 1, 2]) {
      const counts = [0, 0, 0, 0]
      for (let i = 0; i < 20_000; i++) {
        counts[sample(logits, { temperature }, draw)]!++
      }
      const weights = [...logits].map(logit => Math.exp(logit / temperature))
      const sum = weights.reduce((total, weight) => total + weight, 0)
      counts.forEach((count, id) => {
        expect(Math.abs(count / 20_000 - weights[id]! / sum)).toBeLessThan(0.015)
      })
    }
  })

  /** The ids that can be drawn: one draw for each thousandth of the probability. */
  const drawable = (options: SamplingOptions, previous: readonly number[] = [], scores = logits) =>
    [
      ...new Set(Array.from({ length: 1000 }, (_, i) => sample(scores, options, () => (i + 0.5) / 1000, previous))),
    ].sort()

  // Probabilities of the logits: 0.032, 0.644, 0.087, 0.237.
  test('top-p keeps the fewest tokens with the share, at least one', () => {
    expect(drawable({ topP: 0.64 })).toEqual([1])
    expect(drawable({ topP: 0.65 })).toEqual([1, 3])
    expect(drawable({ topP: 0.9 })).toEqual([1, 2, 3])
    expect(drawable({ topP: 0.001 })).toEqual([1])
    expect(drawable({ topP: 1 })).toEqual([0, 1, 2, 3])
  })

  test('min-p drops tokens below the share of the most probable one, after the temperature', () => {
    expect(drawable({ minP: 0.36 })).toEqual([1, 3])
    expect(drawable({ minP: 0.37 })).toEqual([1])
    expect(drawable({ minP: 0.37, temperature: 2 })).toEqual([1, 3])
    expect(drawable({ minP: 1 })).toEqual([1])
  })

  test('a repetition penalty divides positive logits of earlier tokens and multiplies negative ones, once each', () => {
    const scores = Float32Array.of(-1, 3, 1.4, 2)
    expect(drawable({ temperature: 0, repetitionPenalty: 2 }, [1, 1], scores)).toEqual([3])
    expect(drawable({ temperature: 0, repetitionPenalty: 2 }, [1, 3], scores)).toEqual([1])
    expect(drawable({ topK: 3, repetitionPenalty: 2 }, [1, 3], Float32Array.of(-1, 3, -1.5, 2))).toEqual([0, 1, 3])
    expect(drawable({ topK: 3, repetitionPenalty: 2 }, [0, 1, 3], Float32Array.of(-1, 3, -1.5, 2))).toEqual([1, 2, 3])
    expect([...scores]).toEqual([...Float32Array.of(-1, 3, 1.4, 2)])
  })

  test('slides its context window, stops at the end token and stays within the vocabulary', async () => {
    const windows: number[][] = []
    const counting = {
      nextTokenLogits: async (ids: Int32Array) => {
        windows.push([...ids])
        const next = new Float32Array(10)
        next[(ids.at(-1)! + 1) % 10] = 50
        return next
      },
    }
    const options = { maxTokens: 20, sequenceLength: 3, temperature: 0, endToken: 9 }
    const ids = await collect(generate(counting, [4, 5], options))
    expect(ids).toEqual([6, 7, 8])
    expect(windows.at(-1)).toEqual([6, 7, 8])
    await expect(endOf(generate(counting, [4, 5], options))).resolves.toBe('end-token')
    await expect(endOf(generate(counting, [4, 5], { ...options, maxTokens: 2 }))).resolves.toBe('max-tokens')
    const bounded = await collect(generate(counting, [4], { ...options, vocabSize: 6, maxTokens: 3 }))
    expect(bounded).toEqual([5, 0, 1])
    await expect(collect(generate(counting, [], options))).rejects.toMatchObject({ code: 'ARGUMENT_INVALID' })
  })
})
