import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { Parser } from 'pickleparser'
import { describe, expect, test } from 'vitest'
import { PenstockError } from '#src/errors'
import { PairListPickler, writePairList } from '#src/formats/pickle'
import { PairListReader, readPairList } from '#src/formats/pickle-reader'

const hasPython = spawnSync('python3', ['--version']).status === 0

/** Runs a Python program that writes bytes to its standard output. */
function python(program: string, input: Uint8Array | string = ''): Uint8Array {
  const { status, stdout, stderr } = spawnSync('python3', ['-c', program], { input, maxBuffer: 1 << 28 })
  if (status !== 0) throw new Error(stderr.toString())
  return stdout
}

const numbers = [
  0,
  1,
  255,
  256,
  65535,
  65536,
  2 ** 31 - 1,
  2 ** 31,
  2 ** 32 - 1,
  2 ** 32,
  2 ** 39 - 1,
  2 ** 39,
  2 ** 53 - 1,
]
const integers = fc.oneof(fc.constantFrom(...numbers), fc.maxSafeNat())
const pairLists = fc.array(fc.tuple(integers, integers), { maxLength: 40 })

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')
const fromHex = (text: string) => new Uint8Array(Buffer.from(text.replaceAll(' ', ''), 'hex'))

function failure(run: () => unknown): PenstockError {
  try {
    run()
  } catch (error) {
    if (error instanceof PenstockError) return error
    throw error
  }
  throw new Error('did not fail')
}

function readInPieces(bytes: Uint8Array, size: number): number[] {
  const pairs: number[] = []
  const reader = new PairListReader(block => pairs.push(...block))
  for (let i = 0; i < bytes.length; i += size) reader.feed(bytes.slice(i, i + size))
  expect(reader.end()).toBe(pairs.length / 2)
  return pairs
}

describe('writer', () => {
  // From pickle.dumps of CPython 3.11; other bytes mean that our files differ from those of Modalities.
  test.each([
    ['no pair: no frame', [], '8004 5d94 2e'],
    ['one pair: APPEND without MARK', [[1, 2]], '8004 95 0a00000000000000 5d94 4b014b028694 61 2e'],
    [
      'every width',
      [
        [0, 256],
        [65536, 2 ** 31],
      ],
      '8004 95 1a00000000000000 5d94 28 4b004d00018694 4a00000100 8a050000008000 8694 65 2e',
    ],
  ] as [string, [number, number][], string][])('%s', (_, pairs, expected) => {
    expect(hex(writePairList(pairs))).toBe(expected.replaceAll(' ', ''))
  })

  test('buffers at most one frame', () => {
    const pickler = new PairListPickler()
    let taken = 0
    for (let i = 0; i < 20_000; i++) {
      pickler.push(i * 100_000, 99_999)
      taken += pickler.take().length
    }
    expect(taken).toBeGreaterThan(150_000)
    expect(pickler.finish().length).toBeLessThan(66_000)
  })

  test.each([-1, 0.5, 2 ** 53, Number.NaN])('rejects %d', value => {
    expect(failure(() => writePairList([[0, value]])).code).toBe('PICKLE_INVALID')
  })

  test('pickleparser reads what it writes', () => {
    const pairs = Array.from({ length: 2001 }, (_, i): [number, number] => [i * 300, i])
    expect(new Parser().parse(writePairList(pairs))).toEqual(pairs)
  })
})

describe.skipIf(!hasPython)('against CPython (needs python3)', () => {
  const steps = [1, 70, 70_000, 3_000_000_000]
  const lengths = [0, 1, 2, 999, 1000, 1001, 1002, 2001]
  const cases = [...lengths.flatMap(n => steps.map(step => [n, step] as const)), [100_000, 1234], [300_000, 7_000_000]]

  test.each(cases as [number, number][])('writes %d pairs, %d bytes apart, byte for byte', (n, step) => {
    const expected = python(
      `import pickle, sys\nsys.stdout.buffer.write(pickle.dumps([(i*${step}, (i*7919)%${step}) for i in range(${n})], 4))`,
    )
    const pairs = Array.from({ length: n }, (_, i): [number, number] => [i * step, (i * 7919) % step])
    expect(Buffer.compare(writePairList(pairs), expected)).toBe(0)
    expect(readPairList(expected)).toEqual(Float64Array.from(pairs.flat()))
  })

  test('writes any pairs byte for byte', () => {
    const lists = fc.sample(pairLists, 300)
    const expected = python(
      'import json, pickle, sys\nfor l in json.load(sys.stdin): sys.stdout.write(pickle.dumps([tuple(p) for p in l], 4).hex() + "\\n")',
      JSON.stringify(lists),
    )
    const ours = lists.map(pairs => `${hex(writePairList(pairs))}\n`).join('')
    expect(ours).toBe(Buffer.from(expected).toString())
  })

  test.each([2, 3, 4, 5])('reads protocol %d with repeated tuples', protocol => {
    const pickle = python(
      `import pickle, sys\nt=(5, 6)\nsys.stdout.buffer.write(pickle.dumps([t, (300, 2**40)] + [(i, i) for i in range(400)] + [t, t], ${protocol}))`,
    )
    const pairs = readPairList(pickle)
    expect([...pairs.slice(0, 4), ...pairs.slice(-6)]).toEqual([5, 6, 300, 2 ** 40, 399, 399, 5, 6, 5, 6])
  })

  test('rejects anything but a list of pairs and executes nothing', () => {
    const pickles = python(`
import pickle, pickletools, collections, os
class Evil:
    def __reduce__(self): return (os.system, ('exit 7',))
for value in [None, 1, 'a', b'a', {}, (1, 2), [1], [(1,)], [(1, 2, 3)], [[1, 2]], [(1, 'a')], [(1, 2.0)], [(-1, 2)], [(0, 2**53)],
              [(0, -2**40)], [(0, 2**2100)], [(True, 1)], Evil(), [Evil()], [(1, Evil())], collections.OrderedDict(), [(1, 2), None]]:
    for protocol in range(6): print(pickle.dumps(value, protocol).hex())`)
    const lines = Buffer.from(pickles).toString().trim().split('\n')
    expect(lines).toHaveLength(22 * 6)
    for (const line of lines) expect(failure(() => readPairList(fromHex(line))).code).toBe('PICKLE_INVALID')
  })
})

describe('resumed writer', () => {
  test('writes the same bytes from the stored state after any pair', () => {
    const pairs = Array.from({ length: 30_000 }, (_, i): [number, number] => [i * 2 ** 20, i % 70_000])
    const whole = writePairList(pairs)
    for (const stops of [[0], [1], [2], [999, 1000, 1001], [4095, 9000, 29_999], [30_000]]) {
      let pickler = new PairListPickler()
      const pieces: Uint8Array[] = []
      for (const [index, [a, b]] of [...pairs.entries(), [pairs.length, []] as const]) {
        if (stops.includes(index)) {
          pieces.push(pickler.take())
          pickler = new PairListPickler(structuredClone(pickler.state()))
        }
        if (a !== undefined) pickler.push(a, b!)
      }
      expect(Buffer.concat([...pieces, pickler.finish()]).equals(whole)).toBe(true)
    }
  })
})

describe('reader', () => {
  test('reads what was written in chunks of any size', () => {
    fc.assert(
      fc.property(pairLists, fc.integer({ min: 1, max: 9 }), (pairs, size) => {
        const bytes = writePairList(pairs)
        expect(readInPieces(bytes, size)).toEqual(pairs.flat())
      }),
    )
  })

  test('reads lists of several batches, frames and blocks', () => {
    const pairs = Array.from({ length: 30_000 }, (_, i): [number, number] => [i * 1_000_000, i])
    const bytes = writePairList(pairs)
    for (const size of [1, 7, 65_536, bytes.length]) expect(readInPieces(bytes, size)).toEqual(pairs.flat())
  })

  test.each([
    ['nothing', '', 0],
    ['no protocol', '5d942e', 0],
    ['protocol 1', '80015d942e', 0],
    ['a class reference', '8004 63', 2],
    ['a global from the stack', '8004 5d 93', 3],
    ['a second list', '8004 5d 5d', 3],
    ['a list in the list', '8004 5d94 6800 61', 4],
    ['an element that was never memoized', '8004 5d94 6809', 4],
    ['a pair of one', '8004 5d94 4b01 86', 6],
    ['three integers', '8004 5d94 4b014b024b03', 8],
    ['two tuples without a mark', '8004 5d94 4b014b0286 4b01', 9],
    ['a negative integer', '8004 5d94 4affffffff', 4],
    ['a negative long', '8004 5d94 8a01ff', 4],
    ['an integer above 2^53', '8004 5d94 8a07ffffffffffff7f', 4],
    ['a long of 255 bytes', '8004 5d94 8aff', 4],
    ['an unclosed mark', '8004 5d94 28 2e', 5],
    ['a frame in a frame', '8004 95ff00000000000000 950400000000000000', 11],
    ['a frame longer than the file', '8004 950400000000000000 5d942e', 13],
    ['a frame that splits an opcode', '8004 950300000000000000 5d944b01', 15],
    ['a frame of 2^63 bytes', '8004 950000000000000080', 2],
    ['bytes after the end', '8004 5d94 2e 00', 5],
    ['no end', '8004 5d94', 4],
    ['an end within an opcode', '8004 5d94 4b', 5],
    ['a huge memo index', '8004 5d 72ffffffff', 3],
  ])('rejects %s at its offset', (_, text, byteOffset) => {
    const bytes = fromHex(text)
    for (const size of [1, 1000]) {
      const error = failure(() => readInPieces(bytes, size))
      expect(error.code).toBe('PICKLE_INVALID')
      expect(error.where.byteOffset).toBe(byteOffset)
    }
  })

  test('a mutated list is read or rejected with a code', () => {
    const bytes = writePairList(Array.from({ length: 50 }, (_, i): [number, number] => [i * 40_000, i]))
    fc.assert(
      fc.property(fc.nat(bytes.length - 1), fc.nat(255), fc.nat(bytes.length), (at, value, length) => {
        const mutated = bytes.slice(0, length)
        if (at < length) mutated[at] = value
        try {
          readPairList(mutated)
        } catch (error) {
          expect(error).toMatchObject({ code: 'PICKLE_INVALID', where: { byteOffset: expect.any(Number) } })
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('every truncation and extension is detected', () => {
    const bytes = writePairList(Array.from({ length: 50 }, (_, i): [number, number] => [i, i]))
    for (let length = 0; length < bytes.length; length++) {
      expect(failure(() => readPairList(bytes.slice(0, length))).code).toBe('PICKLE_INVALID')
    }
    expect(failure(() => readPairList(Uint8Array.from([...bytes, 0]))).code).toBe('PICKLE_INVALID')
  })
})
