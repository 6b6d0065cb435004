import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bijection } from '#src/sampling/bijection'
import { blockGeometry } from '#src/sampling/block'
import { chunkRange, chunkSeed } from '#src/sampling/chunk'
import { ORDER_KINDS, type SampleOrder, sampleOrder } from '#src/sampling/sample-order'
import { positionInEpochs, samplesOfRank, samplesPerRank, shardOf } from '#src/sampling/shard'

const entriesOf = (order: SampleOrder) => Array.from({ length: order.length }, (_, position) => order.at(position))
const sorted = (items: readonly number[]) => [...items].sort((left, right) => left - right)
const sha256 = (text: string) => new Uint8Array(createHash('sha256').update(text).digest())

describe('bijection', () => {
  it('maps the range onto itself without repeats', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 600 }), fc.maxSafeNat(), fc.nat(20), (length, seed, epoch) => {
        const seen = new Set(entriesOf(bijection(length, seed, epoch)))
        expect(seen.size).toBe(length)
        expect([...seen].every(entry => entry >= 0 && entry < length)).toBe(true)
      }),
    )
  })

  it('keeps its golden order, on which resumed runs depend', () => {
    expect(entriesOf(bijection(10, 42))).toEqual([2, 0, 7, 3, 4, 5, 9, 6, 8, 1])
  })

  it('yields all 24 orders of four items about equally often', () => {
    const counts = new Map<string, number>()
    const seeds = 24_000
    for (let seed = 0; seed < seeds; seed++) {
      const order = entriesOf(bijection(4, seed)).join('')
      counts.set(order, (counts.get(order) ?? 0) + 1)
    }
    expect(counts.size).toBe(24)
    const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0)
    expect(chiSquare).toBeLessThan(60) // 23 degrees of freedom: 49.7 is exceeded once in a thousand
  })

  it('decorrelates neighbours and differs between epochs', () => {
    const length = 100_000
    const order = entriesOf(bijection(length, 1))
    const steps = order.slice(1).map((entry, index) => (entry - order[index]! + length) % length)
    const meanStep = steps.reduce((sum, step) => sum + step, 0) / steps.length
    expect(Math.abs(meanStep / length - 0.5)).toBeLessThan(0.01)
    const next = bijection(length, 1, 1)
    expect(order.filter((entry, position) => next.at(position) === entry).length).toBeLessThan(12)
  })

  it('works for lengths beyond any array', () => {
    const order = bijection(2 ** 53 - 1, 7)
    const entries = new Set(Array.from({ length: 1000 }, (_, position) => order.at(position)))
    expect(entries.size).toBe(1000)
    expect([...entries].every(entry => Number.isSafeInteger(entry) && entry >= 0)).toBe(true)
  })
})

describe('sampleOrder', () => {
  it.each(ORDER_KINDS)('%s is a permutation', kind => {
    const order = sampleOrder({ kind, length: 97, seed: 3, epoch: 1 })
    expect(sorted(entriesOf(order))).toEqual(sorted(Array.from({ length: 97 }, (_, index) => index)))
  })

  it('adds the epoch to the seed of a torch order, as Modalities does', () => {
    expect(entriesOf(sampleOrder({ kind: 'torch', length: 10, seed: 40, epoch: 2 }))).toEqual([
      2, 6, 1, 8, 4, 5, 0, 9, 3, 7,
    ])
  })
})

/** Port of Modalities' sampler, which uses lists. */
function modalitiesSampler(order: readonly number[], skip: number, rank: number, ranks: number, dropLast: boolean) {
  let indices = order.slice(skip)
  const uneven = indices.length % ranks !== 0
  const local = dropLast && uneven ? Math.ceil((indices.length - ranks) / ranks) : Math.ceil(indices.length / ranks)
  const total = local * ranks
  if (dropLast) indices = indices.slice(0, total)
  else for (let padding = 0; indices.length < total; padding++) indices.push(order[padding % order.length]!)
  return indices.filter((_, place) => place % ranks === rank)
}

describe('shardOf', () => {
  const cases = fc.record({
    length: fc.integer({ min: 1, max: 60 }),
    done: fc.double({ min: 0, max: 1, noNaN: true }),
    worldSize: fc.integer({ min: 1, max: 70 }),
    dropLast: fc.boolean(),
    seed: fc.nat(1000),
  })

  it('selects the same samples as Modalities on every rank', () => {
    fc.assert(
      fc.property(cases, ({ length, done, worldSize, dropLast, seed }) => {
        const skip = Math.floor(done * length)
        const order = sampleOrder({ kind: 'torch', length, seed, epoch: 0 })
        for (let rank = 0; rank < worldSize; rank++) {
          const taken = [...samplesOfRank(order, { skip, rank, worldSize, dropLast })]
          expect(taken).toEqual(modalitiesSampler(entriesOf(order), skip, rank, worldSize, dropLast))
          expect(taken.length).toBe(samplesPerRank(length - skip, worldSize, dropLast))
        }
      }),
    )
  })

  it('continues after any change of the number of ranks without repeats or gaps', () => {
    const order = sampleOrder({ kind: 'bijective', length: 240, seed: 5, epoch: 0 })
    const globalBatch = 24
    const seen: number[] = []
    for (const [step, worldSize] of [1, 2, 3, 4, 6, 8, 12, 24, 8, 1].entries()) {
      const shards = Array.from({ length: worldSize }, (_, rank) =>
        shardOf(order, { skip: step * globalBatch, rank, worldSize, dropLast: true }),
      )
      for (let place = 0; place < globalBatch / worldSize; place++) seen.push(...shards.map(shard => shard.at(place)))
    }
    expect(seen).toEqual(entriesOf(order))
  })

  it('starts immediately with a billion samples', () => {
    const order = sampleOrder({ kind: 'bijective', length: 1e9, seed: 5, epoch: 3 })
    const shard = shardOf(order, { skip: 123_456_789, rank: 3, worldSize: 8, dropLast: true })
    expect(shard.at(0)).toBe(order.at(123_456_792))
    expect(shard.length).toBe(109_567_901)
  })

  it('rejects an impossible rank, world size or skip', () => {
    const order = sampleOrder({ kind: 'none', length: 10, seed: 0, epoch: 0 })
    const good = { skip: 0, rank: 0, worldSize: 2, dropLast: true }
    for (const bad of [{ rank: 2 }, { rank: -1 }, { worldSize: 0 }, { skip: 11 }, { skip: 0.5 }]) {
      expect(() => shardOf(order, { ...good, ...bad })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
    }
  })

  it('converts a number of samples to an epoch', () => {
    expect(positionInEpochs(25, 10)).toEqual({ epoch: 2, skip: 5 })
    expect(positionInEpochs(20, 10)).toEqual({ epoch: 2, skip: 0 })
  })
})

describe('blockGeometry', () => {
  it('overlaps blocks by the reused target', () => {
    const geometry = blockGeometry(33, 8)
    expect(geometry).toEqual({ block: 9, stride: 8, count: 4 })
    expect(3 * geometry.stride + geometry.block).toBe(33)
    expect(blockGeometry(32, 8).count).toBe(3)
    expect(blockGeometry(32, 8, false)).toEqual({ block: 8, stride: 8, count: 4 })
  })

  it('rejects fewer tokens than one block', () => {
    expect(() => blockGeometry(8, 8)).toThrow(expect.objectContaining({ code: 'DATA_TOO_SMALL' }))
    expect(blockGeometry(8, 8, false).count).toBe(1)
  })
})

describe('chunks', () => {
  it('distribute documents evenly, the remainder to the first chunks', () => {
    expect([0, 1, 2, 3].map(chunk => chunkRange(10, 4, chunk))).toEqual([
      { start: 0, end: 3 },
      { start: 3, end: 6 },
      { start: 6, end: 8 },
      { start: 8, end: 10 },
    ])
    expect(chunkRange(1, 3, 2)).toEqual({ start: 1, end: 1 })
    expect(() => chunkRange(10, 4, 4)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  it('have the same seeds as in Modalities', () => {
    expect(chunkSeed(42, 0, sha256)).toBe(769357083)
    expect(chunkSeed(42, 1, sha256)).toBe(3240006108)
  })
})
