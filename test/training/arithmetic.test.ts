import { describe, expect, test } from 'vitest'
import { parseTraining, resolveModel, trainingSchemas } from '#src/training/options'
import { learningRateAt } from '#src/training/schedule'
import { parameterCount, uniformGenerator, weightSpecs } from '#src/training/weights'
import { initialValues, tiny } from './fixtures.js'

describe('the learning rate', () => {
  const rates = (schedule: object, steps: number) =>
    Array.from({ length: steps }, (_, step) =>
      learningRateAt(trainingSchemas().schedule.parse(schedule), step, { totalSteps: steps, tokensPerStep: 100 }, 1),
    )

  test('warms up linearly and decays to its minimum along a cosine', () => {
    const cosine = rates({ decay: 'cosine', warmup_steps: 4, min_ratio: 0.1 }, 104)
    expect(cosine.slice(0, 5)).toEqual([0.25, 0.5, 0.75, 1, 1])
    expect(cosine[54]).toBeCloseTo(0.55)
    expect(cosine[103]).toBeCloseTo(0.1, 3)
  })

  test('decays linearly, or stays constant', () => {
    expect(rates({ decay: 'linear', min_ratio: 0 }, 4)).toEqual([1, 0.75, 0.5, 0.25])
    expect(rates({ decay: 'constant', warmup_steps: 2 }, 4)).toEqual([0.5, 1, 1, 1])
  })

  test.each<[string, (progress: number) => number]>([
    ['linear', progress => 1 - progress],
    ['sqrt', progress => 1 - Math.sqrt(progress)],
    ['cosine', progress => (1 + Math.cos(Math.PI * progress)) / 2],
  ])('stays at its peak and decays at the end (wsd, %s)', (shape, remaining) => {
    const wsd = rates({ decay: 'wsd', warmup_steps: 2, decay_steps: 4, shape, min_ratio: 0.2 }, 12)
    expect(wsd.slice(0, 9)).toEqual([0.5, 1, 1, 1, 1, 1, 1, 1, 1])
    for (const [step, rate] of wsd.slice(8).entries()) expect(rate).toBeCloseTo(0.2 + 0.8 * remaining(step / 4))
    expect(rates({ decay: 'wsd', min_ratio: 0 }, 100).filter(rate => rate < 1)).toHaveLength(9)
  })

  test('decays with the inverse square root of the step', () => {
    const inverse = rates({ decay: 'inverse_sqrt', warmup_steps: 4 }, 64)
    expect(inverse.slice(0, 4)).toEqual([0.25, 0.5, 0.75, 1])
    expect([inverse[15], inverse[63]]).toEqual([0.5, 0.25])
  })

  test('restarts its cosine, in cycles of the same or growing length', () => {
    const cycle = (length: number) =>
      Array.from({ length }, (_, step) => 0.1 + 0.45 * (1 + Math.cos((Math.PI * step) / length)))
    const expectRates = (found: number[], expected: number[]) => {
      expect(found).toHaveLength(expected.length)
      for (const [step, rate] of expected.entries()) expect(found[step]).toBeCloseTo(rate)
    }
    expectRates(rates({ decay: 'cosine_restarts', cycle_steps: 5 }, 15), [...cycle(5), ...cycle(5), ...cycle(5)])
    const growing = rates({ decay: 'cosine_restarts', cycle_steps: 3, cycle_factor: 2, warmup_steps: 1 }, 22)
    expectRates(growing, [1, ...cycle(3), ...cycle(6), ...cycle(12)])
    expectRates(rates({ decay: 'cosine_restarts', min_ratio: 0.1 }, 8), rates({ decay: 'cosine' }, 8))
  })

  test('can be given in tokens', () => {
    const inTokens = { decay: 'wsd', warmup_tokens: 200, decay_tokens: 420 }
    expect(rates(inTokens, 12)).toEqual(rates({ decay: 'wsd', warmup_steps: 2, decay_steps: 4 }, 12))
    const cycles = { decay: 'cosine_restarts', cycle_tokens: 500 }
    expect(rates(cycles, 12)).toEqual(rates({ decay: 'cosine_restarts', cycle_steps: 5 }, 12))
    expect(() => parseTraining({ schedule: { decay: 'cosine', warmup_steps: 2, warmup_tokens: 100 } })).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID' }),
    )
  })

  test('follows torch.optim.lr_scheduler.OneCycleLR', () => {
    // The formula of torch 2.6 for max_lr=1, total_steps=10, pct_start=0.3, div_factor=10, final_div_factor=1:
    // 0.1 at step 0, the peak at 0.3 * 10 - 1 = 2, 0.1 again at step 9.
    const oneCycle = rates({ decay: 'onecycle', pct_start: 0.3, div_factor: 10, final_div_factor: 1 }, 10)
    expect(oneCycle[0]).toBeCloseTo(0.1)
    expect(oneCycle[1]).toBeCloseTo(0.55)
    expect(oneCycle[2]).toBeCloseTo(1)
    expect(oneCycle[5]).toBeCloseTo(0.1 + 0.45 * (1 + Math.cos((Math.PI * 3) / 7)))
    expect(oneCycle[9]).toBeCloseTo(0.1)
  })
})

describe('options', () => {
  test('have defaults, except for the vocabulary', () => {
    const training = parseTraining({})
    expect(training).toMatchObject({ backend: 'wasm', batch_size: 8, gradient_clip: 1 })
    expect(resolveModel(training.model, { vocabSize: 50_257, totalSize: 50_257 })).toMatchObject({
      vocab_size: 50_304,
      kv_heads: 4,
      ffn_width: 352,
    })
  })

  test('the default vocabulary includes added tokens beyond the base vocabulary', () => {
    expect(resolveModel({}, { vocabSize: 256, totalSize: 257 })).toMatchObject({ vocab_size: 384 })
    expect(resolveModel({ vocab_size: 256 }, { vocabSize: 256, totalSize: 257 })).toMatchObject({ vocab_size: 256 })
  })

  test.each([
    [{ model: { witdh: 3 } }, 'model.witdh'],
    [{ model: { width: 10, heads: 4 } }, 'model.heads'],
    [{ model: { heads: 4, kv_heads: 3 } }, 'model.kv_heads'],
    [{ model: { width: 12, heads: 4 } }, 'model.heads'],
    [{ model: { dropout: 0.1 } }, 'model.dropout'],
    [{ optimizer: { betas: [0.9, 2] } }, 'optimizer.betas.1'],
    [{ schedule: { decay: 'onecycle', warmup_steps: 3 } }, 'schedule.warmup_steps'],
    [{ steps: 3, epochs: 1 }, 'epochs'],
    [{ steps: 1.5 }, 'steps'],
  ])('with an error are rejected with their path: %j', (input, path) => {
    expect(() => parseTraining(input)).toThrow(
      expect.objectContaining({ code: 'OPTION_INVALID', where: { path } }) as Error,
    )
  })

  test('a model with a vocabulary smaller than the tokenizer, or without one, is rejected', () => {
    expect(() => resolveModel({ vocab_size: 100 }, { vocabSize: 101, totalSize: 101 })).toThrow(
      expect.objectContaining({ code: 'TOKENIZER_MISMATCH' }) as Error,
    )
    expect(() => resolveModel({})).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }) as Error)
  })
})

describe('initial weights', () => {
  test('depend on seed and name only', () => {
    const [embedding, norm, query] = weightSpecs(tiny())
    expect(initialValues(embedding!, 1)).toEqual(initialValues(embedding!, 1))
    expect(initialValues(embedding!, 1)).not.toEqual(initialValues(embedding!, 2))
    expect(new Set(initialValues(norm!, 1))).toEqual(new Set([1]))
    expect([...initialValues(query!, 1).slice(0, 4)]).not.toEqual([...initialValues(embedding!, 1).slice(0, 4)])
  })

  test('are normally distributed with the given standard deviation', () => {
    const spec = { name: 'x', shape: [100, 1000], group: 'linear', std: 0.02, fill: 0 } as const
    const values = initialValues(spec, 0)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    expect(Math.abs(mean)).toBeLessThan(2e-4)
    expect(Math.sqrt(variance)).toBeCloseTo(0.02, 3)
    const inside = values.filter(value => Math.abs(value) < 0.02).length / values.length
    expect(inside).toBeCloseTo(0.6827, 2)
  })

  test('do not change between versions, so that experiments stay reproducible', () => {
    const draw = uniformGenerator('golden')
    expect([draw(), draw(), draw()]).toEqual([0.6016139404382557, 0.932786718243733, 0.3596771319862455])
  })

  test('match the parameter count derived from the widths', () => {
    const model = resolveModel({ vocab_size: 512, sequence_length: 128, width: 128, ffn_width: 256, layers: 2 })
    expect(parameterCount(model)).toBe(2 * 512 * 128 + 2 * (4 * 128 * 128 + 3 * 128 * 256 + 2 * 128) + 128)
  })
})
