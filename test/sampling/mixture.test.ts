import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { integerWeights, mixture, positionsWithin } from '#src/sampling/mixture'

const sequence = (weights: readonly number[], length: number): string => {
  const { at } = mixture([{ start: 0, weights }])
  return Array.from({ length }, (_, position) => 'abcdefgh'[at(position).source]).join('')
}

/** Counts of each source in every prefix. */
function* prefixes(sources: readonly number[], kinds: number): Generator<number[]> {
  const counts = Array.from({ length: kinds }, () => 0)
  for (const source of sources) {
    counts[source]!++
    yield [...counts]
  }
}

/** Largest difference between the counts of a prefix and the shares of the weights. */
function deviation(weights: readonly number[], length: number): number {
  const total = weights.reduce((sum, weight) => sum + weight, 0)
  const { countsBefore } = mixture([{ start: 0, weights }])
  let worst = 0
  for (let position = 1; position <= length; position++) {
    const counts = countsBefore(position)
    for (const [source, weight] of weights.entries()) {
      worst = Math.max(worst, Math.abs(counts[source]! - (position * weight) / total))
    }
  }
  return worst
}

describe('a mixture', () => {
  // A changed sequence trains resumed runs on other samples than those that their checkpoint expects.
  it('has a fixed sequence', () => {
    expect(sequence([0.5, 0.3, 0.2], 20)).toBe('abacabacababacabacab')
    expect(sequence([1, 2], 12)).toBe('babbabbabbab')
    expect(sequence([7, 5, 3, 1, 1], 20)).toBe('acbabdaacbaebabcaacb')
  })

  it.each([
    ['a tree', [0.41, 0.25, 0.2, 0.14]],
    ['a stored period', [47, 1, 2, 184, 2, 1, 657, 1, 15, 311, 1, 14, 8, 88, 1]],
  ])('takes each index of each source once, in order: %s', (_, weights) => {
    const { at, countsBefore } = mixture([{ start: 0, weights }])
    const next = weights.map(() => 0)
    for (let position = 0; position < 5000; position++) {
      expect(countsBefore(position)).toEqual(next)
      const { source, index } = at(position)
      expect(index).toBe(next[source]!++)
    }
  })

  it('has counts in closed form that equal those of a loop over a million positions', () => {
    const { at, countsBefore } = mixture([{ start: 0, weights: [0.5, 0.3, 0.2] }])
    const counts = [0, 0, 0]
    for (let position = 0; position < 1_000_000; position++) counts[at(position).source]!++
    expect(countsBefore(1_000_000)).toEqual(counts)
    expect(countsBefore(1_000_000_000)).toEqual([500_000_000, 300_000_000, 200_000_000])
  })

  it.each([
    [[0.5, 0.3, 0.2]],
    [[1, 2]],
    [[0.34, 0.33, 0.33]],
    [[1, 0.5, 0.5, 0.001]],
    [[0.61, 0.22, 0.13, 0.04]],
    [Array.from({ length: 16 }, () => 1)],
    [[0.4, 0.2, 0.15, 0.1, 0.08, 0.05, 0.02]],
    [[1, 1519, 934, 362, 1137, 23, 16, 2, 852, 12, 1147, 17, 4, 250]],
    [[47, 1, 2, 184, 2, 1, 657, 1, 15, 311, 1, 14, 8, 88, 1]],
  ])('stays within one sample of the weights %j in every prefix', weights => {
    expect(deviation(weights, 20_000)).toBeLessThanOrEqual(1)
  })

  it('stays within one sample of random weights of up to 24 sources', () => {
    const weight = fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 3000 }))
    const weights = fc.array(weight, { minLength: 1, maxLength: 24 })
    fc.assert(
      fc.property(weights, found => deviation(found, 800) <= 1 + 1e-9),
      { numRuns: 60 },
    )
  })

  it('keeps its counts within one of those of Megatron (blended, exhaustive) and grain', () => {
    const golden: [number[], string][] = [
      [[0.5, 0.3, 0.2], '01201020100120102010'],
      [[1, 2], '101011011011'],
      [[5, 3, 2], '0120102010'],
      [[0.5, 0.3, 0.2], '01010201020101020102'],
    ]
    for (const [weights, text] of golden) {
      const { countsBefore } = mixture([{ start: 0, weights }])
      for (const [position, counts] of [...prefixes([...text].map(Number), weights.length)].entries()) {
        const own = countsBefore(position + 1)
        for (const [source, count] of counts.entries()) expect(Math.abs(own[source]! - count)).toBeLessThanOrEqual(1)
      }
    }
  })

  it('changes its weights at the start of a phase and keeps the counts before it', () => {
    const phases = [
      { start: 0, weights: [3, 1, 0] },
      { start: 1000, weights: [0, 1, 1] },
    ]
    const { at, countsBefore } = mixture(phases)
    expect(countsBefore(1000)).toEqual([750, 250, 0])
    expect(countsBefore(3000)).toEqual([750, 1250, 1000])
    const first = mixture(phases.slice(0, 1))
    for (let position = 0; position < 1000; position++) expect(at(position)).toEqual(first.at(position))
    expect([at(1000), at(1001)]).toEqual([
      { source: 1, index: 250 },
      { source: 2, index: 0 },
    ])
  })

  it('uses weights exactly, beyond the precision of floating point', () => {
    const { countsBefore } = mixture([{ start: 0, weights: [0.1, 0.2, 1e-12] }])
    expect(integerWeights([0.1, 0.2, 1e-12])).toEqual([100_000_000_000n, 200_000_000_000n, 1n])
    expect(countsBefore(300_000_000_001)).toEqual([100_000_000_000, 200_000_000_000, 1])
    expect(integerWeights([2.5e21, 5e21])).toEqual([1n, 2n])
  })

  it('ends where a source exceeds its limit', () => {
    const mixed = mixture([{ start: 0, weights: [1, 3] }])
    const length = positionsWithin(mixed, [1000, 100])
    expect(mixed.countsBefore(length)[1]).toBe(100)
    expect(mixed.countsBefore(length + 1)[1]).toBe(101)
    expect(positionsWithin(mixture([{ start: 0, weights: [1, 0] }]), [Number.POSITIVE_INFINITY, 0])).toBe(Infinity)
  })

  it('rejects weights and phases without a meaning', () => {
    const invalid = expect.objectContaining({ code: 'OPTION_INVALID' })
    expect(() => mixture([{ start: 0, weights: [0, 0] }])).toThrow(invalid)
    expect(() => mixture([{ start: 0, weights: [1, -1] }])).toThrow(invalid)
    expect(() => mixture([{ start: 1, weights: [1] }])).toThrow(invalid)
    const phase = { start: 0, weights: [1] }
    expect(() => mixture([phase, phase])).toThrow(invalid)
  })
})
