import fc from 'fast-check'
import { expect, test } from 'vitest'
import { MergeQueue } from '#src/tokenizer/train/merge-queue'
import { leftOf, PairCounts, pairKey, rightOf } from '#src/tokenizer/train/pair-counts'

test('the queue returns the most frequent pair, the smallest among equals, with its positions', () => {
  const entries = fc.array(fc.tuple(fc.nat(5), fc.nat(9), fc.nat(9)), { maxLength: 200 })
  fc.assert(
    fc.property(entries, fc.nat(3), (list, lowered) => {
      const queue = new MergeQueue()
      const expected = list.map(([count, left, right], i) => ({ count, key: pairKey(left, right), place: i }))
      for (const { count, key, place } of expected) queue.push(key, count, Int32Array.of(place, place))
      const order = () => expected.sort((x, y) => y.count - x.count || x.key - y.key)
      for (let step = 0; expected.length > 0; step++) {
        const top = order()[0]!
        expect([queue.topCount, queue.topKey]).toEqual([top.count, top.key])
        if (step % 3 === lowered && top.count > 1) {
          const same = expected.filter(({ count, key }) => count === top.count && key === top.key)
          // Entries with equal count and pair cannot be distinguished before they are removed.
          if (same.length > 1) break
          top.count = 1
          queue.updateTop(1)
          continue
        }
        const [place] = queue.takeTop()
        const taken = expected.findIndex(entry => entry.place === place)
        expect(expected[taken]).toMatchObject({ count: top.count, key: top.key })
        expected.splice(taken, 1)
      }
      if (expected.length === 0) expect(queue.isEmpty).toBe(true)
    }),
  )
})

test('the queue keeps the positions of all entries during compaction', () => {
  const queue = new MergeQueue()
  for (let round = 0; round < 50; round++) {
    for (let i = 0; i < 40; i++) queue.push(pairKey(round, i), round * 40 + i, new Int32Array(100).fill(round * 40 + i))
    for (let i = 0; i < 20; i++) {
      const count = queue.topCount
      expect(queue.takeTop()).toEqual(new Int32Array(100).fill(count))
    }
  }
  for (let rest = 1000; rest > 0; rest--) {
    const count = queue.topCount
    expect(queue.takeTop()).toEqual(new Int32Array(100).fill(count))
  }
  expect(queue.isEmpty).toBe(true)
})

test('pairs are counted beyond the initial capacity', () => {
  const counts = new PairCounts()
  const expected = new Map<number, number>()
  for (let i = 0; i < 200_000; i++) {
    const [left, right, change] = [i % 701, (i * 31) % 997, (i % 5) - 2]
    counts.add(left, right, change)
    expected.set(pairKey(left, right), (expected.get(pairKey(left, right)) ?? 0) + change)
  }
  const wrong = [...expected].filter(([key, count]) => counts.get(leftOf(key), rightOf(key)) !== count)
  expect(wrong).toEqual([])
  expect(counts.get(5000, 5000)).toBe(0)
})
