/**
 * Golden values from CPython 3.11, numpy 2.4 and torch 2.15. If one changes, packed files, chunks and sample orders differ
 * from those of Modalities.
 */
import { createHash } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { numpyGenerator } from '#src/sampling/numpy-pcg64'
import { pythonRandom } from '#src/sampling/python-random'
import { torchRandperm } from '#src/sampling/torch-randperm'

const range = (length: number) => Array.from({ length }, (_, index) => index)
const hashOf = (items: ArrayLike<number>) =>
  createHash('sha256')
    .update(new Uint8Array(Uint32Array.from(items).buffer))
    .digest('hex')

describe('torch.randperm', () => {
  it.each([
    [0, [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]],
    [42, [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]],
    [2 ** 32 + 5, [1, 4, 9, 6, 3, 5, 0, 2, 8, 7]],
    [-1, [1, 4, 6, 2, 0, 5, 8, 7, 9, 3]],
  ])('matches torch for ten items with seed %i', (seed, expected) => {
    expect([...torchRandperm(10, seed)]).toEqual(expected)
  })

  it('matches torch for a hundred thousand items', () => {
    expect(hashOf(torchRandperm(100_003, 42))).toBe('d419b6faebc687fac32ffe9ff2a46d1e8e75b634de8667cbe05d7bd34de798bc')
  })

  // torch uses its second algorithm from 214,748,364 items, too many for a test. These numbers come from a Python model of it;
  // the model's permutation of 214,748,364 items, like ours, has the same hash as torch's.
  it('uses 64-bit draws for long lengths', () => {
    const wideLength = 12
    expect([...torchRandperm(12, 43, wideLength)]).toEqual([7, 4, 5, 11, 8, 0, 10, 2, 1, 9, 6, 3])
    expect(hashOf(torchRandperm(100_003, 42, wideLength))).toBe(
      'c59065b4a165f338a7d2efec94f4996096e4af02870bc2d1773114dae1578414',
    )
    expect([...torchRandperm(11, 43, wideLength)]).toEqual([...torchRandperm(11, 43)])
  })

  it('handles zero items and one item', () => {
    expect([...torchRandperm(0, 1)]).toEqual([])
    expect([...torchRandperm(1, 1)]).toEqual([0])
  })

  it('rejects a length whose items exceed 32 bits', () => {
    expect(() => torchRandperm(2 ** 32 + 1, 0)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
  })
})

describe('random.Random', () => {
  it.each([
    [0, [7, 8, 1, 5, 3, 4, 2, 0, 9, 6], 0.3580493746949883, 1000262066040, 6],
    [1, [6, 8, 9, 7, 5, 3, 0, 4, 1, 2], 0.7887233511355132, 532979068556, 0],
    [42, [7, 3, 2, 8, 5, 6, 9, 4, 0, 1], 0.5904925124490397, 30201276659, 2],
    [-42, [7, 3, 2, 8, 5, 6, 9, 4, 0, 1], 0.5904925124490397, 30201276659, 2],
    [2 ** 32, [8, 9, 3, 2, 4, 7, 0, 6, 5, 1], 0.013998308316504615, 897973610560, 30],
    [2n ** 70n + 3n, [6, 7, 4, 0, 1, 9, 8, 3, 5, 2], 0.3178788688696891, 1091884825744, 11],
  ])('shuffles and draws as CPython does with seed %s', (seed, shuffled, float, bits40, bits5) => {
    const random = pythonRandom(seed)
    const items = range(10)
    random.shuffle(items)
    expect(items).toEqual(shuffled)
    expect(random.random()).toBe(float)
    expect(random.getrandbits(40)).toBe(bits40)
    expect(random.getrandbits(5)).toBe(bits5)
  })

  it('shuffles a hundred thousand items', () => {
    const items = range(100_003)
    pythonRandom(42).shuffle(items)
    expect(hashOf(items)).toBe('f35761e2e55ad2af1aeaeb123036bf0c4f7d4d76c9acc2c7357d1577fb0302c1')
  })

  it('draws by weight like random.choices', () => {
    const split = pythonRandom(1234)
    const parts = ['train', 'val', 'test']
    expect(range(12).map(() => parts[split.choose([70, 15, 15])])).toEqual(
      'test train train test test train train train val train train val'.split(' '),
    )
    const uneven = pythonRandom(5)
    expect(range(20).map(() => uneven.choose([1, 0, 2.5, 3]))).toEqual([
      3, 3, 3, 3, 3, 3, 0, 2, 3, 3, 3, 0, 2, 2, 3, 3, 0, 2, 2, 3,
    ])
  })
})

describe('numpy default_rng', () => {
  it.each([
    [0, [4, 6, 2, 7, 3, 5, 9, 0, 8, 1]],
    [1, [8, 4, 7, 0, 1, 2, 5, 9, 6, 3]],
    [42, [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]],
    [2 ** 32 - 2, [5, 0, 3, 4, 2, 1, 6, 7, 8, 9]],
    [2 ** 40 + 7, [6, 2, 8, 7, 9, 3, 4, 1, 5, 0]],
    [2n ** 130n + 5n, [2, 3, 6, 8, 7, 1, 5, 0, 9, 4]],
  ])('shuffles a list of ten with seed %s', (seed, expected) => {
    const items = range(10)
    numpyGenerator(seed).shuffle(items)
    expect(items).toEqual(expected)
  })

  it('shuffles and permutes a hundred thousand items', () => {
    const items = range(100_003)
    numpyGenerator(42).shuffle(items)
    expect(hashOf(items)).toBe('2b6e99bcd166ed93393edfc83f8810e52041a3b2321bc4b1877c1a40aa856bcc')
    expect(hashOf(numpyGenerator(7).permutation(100_003))).toBe(
      'f2b3e193d48b8daf430b70fed4cdad762272414c1adb2ee602370c21c574cc52',
    )
  })
})
