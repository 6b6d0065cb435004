import fc from 'fast-check'
import { expect, test } from 'vitest'
import { packBins } from '#src/sampling/bin-packing'

/** The same rule with a scan over all bins. */
function packByScan(lengths: readonly number[], capacity: number): number[][] {
  const bins: { items: number[]; free: number; since: number }[] = []
  const order = [...lengths.keys()].sort((a, b) => lengths[b]! - lengths[a]! || a - b)
  for (const [turn, item] of order.entries()) {
    const length = lengths[item]!
    const fitting = bins.filter(({ free }) => free >= length).sort((a, b) => a.free - b.free || a.since - b.since)
    const bin = fitting[0] ?? { items: [], free: capacity, since: turn }
    if (fitting.length === 0) bins.push(bin)
    bin.items.push(item)
    bin.free -= length
    bin.since = turn
  }
  return bins.map(({ items }) => items)
}

function pack(lengths: readonly number[], capacity: number): number[][] {
  const { items, ends } = packBins(Uint32Array.from(lengths), capacity)
  return [...ends].map((end, bin) => [...items.subarray(bin === 0 ? 0 : ends[bin - 1], end)])
}

test('has the bins of OLMo-core for the lengths of its example', () => {
  const lengths = [7, 3, 5, 2, 8, 1, 4, 6]
  const bins = pack(lengths, 16).map(items => items.map(item => lengths[item]))
  expect(bins).toEqual([
    [8, 7, 1],
    [6, 5, 4],
    [3, 2],
  ])
})

test('has the bins of a scan over all bins, for any capacity', () => {
  const capacity = fc.oneof(fc.integer({ min: 1, max: 70 }), fc.constantFrom(1023, 1024, 1025, 1056, 40_000))
  const cases = capacity.chain(size =>
    fc.record({ capacity: fc.constant(size), lengths: fc.array(fc.integer({ min: 1, max: size }), { maxLength: 60 }) }),
  )
  fc.assert(
    fc.property(cases, ({ capacity, lengths }) => {
      expect(pack(lengths, capacity)).toEqual(packByScan(lengths, capacity))
    }),
    { numRuns: 300 },
  )
})
