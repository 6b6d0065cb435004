import { spawnSync } from 'node:child_process'
import fc from 'fast-check'
import { Tokenizer } from 'tokenizers'
import { describe, expect, test } from 'vitest'
import { splitterFor } from '#src/tokenizer/patterns/pretokenize'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import {
  countWords,
  type TrainedBpe,
  type TrainOptions,
  toTokenizerJson,
  trainMerges,
  WordCounts,
} from '#src/tokenizer/train/index'
import { linesOf, RUST_VOCAB_SIZE, trainWithRust } from './judge.js'

const gpt2 = splitterFor([{ kind: 'gpt2' }])

function train(texts: readonly string[], options: TrainOptions): TrainedBpe {
  const counts = new WordCounts()
  for (const text of texts) {
    const bytes = new TextEncoder().encode(text)
    countWords(gpt2, bytes, Uint32Array.of(0, bytes.length), counts)
  }
  return trainMerges(counts.data(), options)
}

function mergeTexts({ vocab, merges }: TrainedBpe): string[][] {
  return merges.map(pair => pair.map(id => vocab[id]!))
}

/** Reference implementation: recounts all pairs of all words for each merge. */
function trainSlowly(words: ReadonlyMap<string, number>, mergeCount: number, minFrequency: number): string[][] {
  const vocab = [...new Set([...words.keys()].join(''))].sort()
  const segmented = [...words].map(([word, count]) => ({
    tokens: [...word].map(letter => vocab.indexOf(letter)),
    count,
  }))
  const merges: string[][] = []
  while (merges.length < mergeCount) {
    const pairs = new Map<string, { pair: number[]; count: number }>()
    for (const { tokens, count } of segmented) {
      for (let i = 1; i < tokens.length; i++) {
        const pair = [tokens[i - 1]!, tokens[i]!]
        pairs.set(`${pair}`, { pair, count: (pairs.get(`${pair}`)?.count ?? 0) + count })
      }
    }
    const order = [...pairs.values()].sort(
      (x, y) => y.count - x.count || x.pair[0]! - y.pair[0]! || x.pair[1]! - y.pair[1]!,
    )
    const best = order[0]
    if (best === undefined || best.count < minFrequency) break
    const [left, right] = best.pair as [number, number]
    merges.push([vocab[left]!, vocab[right]!])
    vocab.push(vocab[left]! + vocab[right]!)
    for (const { tokens } of segmented) {
      for (let i = 0; i + 1 < tokens.length; i++) {
        if (tokens[i] === left && tokens[i + 1] === right) tokens.splice(i, 2, vocab.length - 1)
      }
    }
  }
  return merges
}

/** Few letters, long runs and many ties, where merge orders could differ. */
const letters = fc.constantFrom('a', 'a', 'b', 'c')
const oddTexts = fc
  .array(fc.oneof(letters, fc.constantFrom(' ', ' a', 'ab', 'aaaa', 'é', '\n')), { maxLength: 200 })
  .map(parts => parts.join(''))

describe('merges', () => {
  test('equal those of the reference implementation', () => {
    const words = fc.dictionary(
      fc.array(letters, { minLength: 1, maxLength: 12 }).map(word => word.join('')),
      fc.integer({ min: 1, max: 9 }),
    )
    fc.assert(
      fc.property(words, fc.constantFrom(1, 2, 5), (dictionary, minFrequency) => {
        const counts = new WordCounts()
        for (const [word, count] of Object.entries(dictionary))
          counts.add(new TextEncoder().encode(word), 0, word.length, count)
        const trained = trainMerges(counts.data(), { vocabSize: 256 + 30, minFrequency })
        expect(mergeTexts(trained)).toEqual(trainSlowly(new Map(Object.entries(dictionary)), 30, minFrequency))
      }),
      { numRuns: 300 },
    )
  })

  test('are those of the Rust library, ties included', () => {
    const texts = fc.sample(oddTexts, { numRuns: 40, seed: 7 })
    let words = ''
    for (let i = 0; i < 3000; i++)
      words += `${(i * 2654435761) % 4096 < 2048 ? ' ' : ' the '}${((i * 40503) % 7919).toString(19)}`
    for (const text of [words, ...texts]) {
      const expected = trainWithRust(text)
      const { bytes, offsets } = linesOf(text)
      const counts = new WordCounts()
      countWords(gpt2, bytes, offsets, counts)
      const trained = trainMerges(counts.data(), { vocabSize: RUST_VOCAB_SIZE + 256 - expected.alphabetSize })
      expect(mergeTexts(trained)).toEqual(expected.merges)
    }
  })

  test('do not depend on the order of the words', () => {
    fc.assert(
      fc.property(fc.array(oddTexts, { minLength: 2, maxLength: 6 }), texts => {
        expect(train(texts.toReversed(), { vocabSize: 300 })).toEqual(train(texts, { vocabSize: 300 }))
      }),
    )
  })

  test('take no longer for one long word than for many short ones', () => {
    const run = 'abcdefghij'.repeat(20_000)
    const trained = train([run], { vocabSize: 400 })
    expect(trained.vocab.at(-1)!.length).toBeGreaterThan(1000)
  })
})

describe('vocabulary', () => {
  test('has special tokens, then bytes, then merges', () => {
    const { vocab, merges } = train(['aa aa'], { vocabSize: 1000, specialTokens: ['<s>', '</s>', '<s>'] })
    expect(vocab.slice(0, 4)).toEqual(['<s>', '</s>', '!', '"'])
    expect(vocab.slice(258)).toEqual(['aa', 'Ġaa'])
    expect(merges.map(([left, right]) => vocab[left]! + vocab[right]!)).toEqual(['aa', 'Ġaa'])
  })

  test('ends at its size, or when no pair is frequent enough', () => {
    expect(train(['one two one two'], { vocabSize: 258 }).vocab).toHaveLength(258)
    expect(mergeTexts(train(['ab ab ab cd'], { vocabSize: 1000, minFrequency: 3 }))).toEqual([['a', 'b']])
    expect(train([], { vocabSize: 1000 }).vocab).toHaveLength(256)
  })

  test('a special token that is also a word keeps its id', () => {
    const { vocab, merges } = train(['ab ab ab'], { vocabSize: 1000, specialTokens: ['ab', 'Ġ'] })
    expect(vocab.slice(0, 2)).toEqual(['ab', 'Ġ'])
    expect(vocab.filter(token => token === 'Ġ')).toHaveLength(1)
    expect(merges).toEqual([
      [vocab.indexOf('a'), vocab.indexOf('b')],
      [1, 0],
    ])
  })

  test('keeps tokens below the length limit', () => {
    const { vocab } = train(['abcdefgh abcdefgh'], { vocabSize: 1000, maxTokenLength: 4 })
    expect(Math.max(...vocab.map(token => token.length))).toBe(3)
  })

  test.each([255, 256.5, 2 ** 27, Number.NaN])('rejects a size of %d', vocabSize => {
    expect(() => train(['a'], { vocabSize })).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })

  test.each<TrainOptions>([
    { vocabSize: 256, specialTokens: ['<s>'] },
    { vocabSize: 300, specialTokens: [''] },
    { vocabSize: 300, minFrequency: Number.NaN },
    { vocabSize: 300, maxTokenLength: 1 },
  ])('refuses %o', options => {
    expect(() => train(['a'], options)).toThrow(expect.objectContaining({ code: 'OPTION_INVALID' }))
  })
})

test('progress is reported, and an error thrown there stops the training', () => {
  const counts = new WordCounts()
  const bytes = new TextEncoder().encode(Array.from({ length: 4000 }, (_, i) => i.toString(36)).join(' '))
  countWords(gpt2, bytes, Uint32Array.of(0, bytes.length), counts)
  const reports: number[] = []
  const { vocab } = trainMerges(counts.data(), { vocabSize: 1000 }, ({ tokenCount }) => reports.push(tokenCount))
  expect(reports).toEqual([512, 768, 1000])
  expect(vocab).toHaveLength(1000)
  const stop = () => {
    throw new Error('stop')
  }
  expect(() => trainMerges(counts.data(), { vocabSize: 1000 }, stop)).toThrow('stop')
})

describe('tokenizer.json', () => {
  test('is loaded by the Rust library with the trained ids', async () => {
    const text = 'The cat sat on the mat. The mat sat on 12 cats, and 3 cäts.\n'.repeat(3)
    const trained = train([text], { vocabSize: 300, specialTokens: ['<|endoftext|>'] })
    const tokenizer = Tokenizer.fromString(toTokenizerJson(trained))
    expect(tokenizer.getVocab(true)).toEqual(Object.fromEntries(trained.vocab.map((token, id) => [token, id])))
    const ids = (await tokenizer.encode(`${text}<|endoftext|>`)).getIds()
    expect(ids.at(-1)).toBe(0)
    expect(ids.length).toBeLessThan(text.length / 2)
    expect(await tokenizer.decode(ids, true)).toBe(text)
  })

  test('is loaded by our tokenizer with the same ids', async () => {
    const texts = ['The cat sat on the mat.\n', 'Ünder   12 “cats”', ' 🐈 ', 'aaaa<|endoftext|>']
    const json = toTokenizerJson(train(texts, { vocabSize: 300, specialTokens: ['<|endoftext|>'] }))
    const ours = loadTokenizer(json)
    const theirs = Tokenizer.fromString(json)
    for (const text of texts) {
      expect([...ours.encode(text)]).toEqual((await theirs.encode(text)).getIds())
      expect(ours.decode(ours.encode(text), { skipSpecialTokens: false })).toBe(text)
    }
    expect(ours.engineInfo.fast).toBe(true)
  })

  test('keeps the id order of numeric tokens', () => {
    const json = toTokenizerJson(train(['10 10 10'], { vocabSize: 258 }))
    expect(json).toMatch(/"0": 15,\s+"1": 16,/)
    expect(json.indexOf('"10": 256')).toBeGreaterThan(json.indexOf('"~"'))
  })
})

const python = process.env.PENSTOCK_PYTHON ?? 'python3'
const hasLibrary = spawnSync(python, ['-c', 'import tokenizers']).status === 0

describe.skipIf(!hasLibrary)('compared with the Rust library from Python (needs tokenizers in PENSTOCK_PYTHON)', () => {
  const program = `
import json, sys
from tokenizers import Tokenizer, models, pre_tokenizers, decoders, trainers
for case in json.load(sys.stdin):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(case['texts'], trainers.BpeTrainer(
        initial_alphabet=alphabet, show_progress=False, vocab_size=case['vocabSize'], min_frequency=case['minFrequency'],
        special_tokens=case['specialTokens'], max_token_length=case.get('maxTokenLength')))
    print(json.dumps(tokenizer.to_str(pretty=True)))`

  test('every option gives an identical file', () => {
    const cases = fc.sample(
      fc.record(
        {
          texts: fc.array(oddTexts, { minLength: 1, maxLength: 5 }),
          vocabSize: fc.integer({ min: 262, max: 400 }),
          minFrequency: fc.constantFrom(0, 1, 2, 5),
          specialTokens: fc.constantFrom(['<|endoftext|>'], [], ['ab', '<s>'], ['a', 'aaa', 'a'], ['Ġa', '0']),
          maxTokenLength: fc.constantFrom(2, 3, 4, 7),
        },
        { requiredKeys: ['texts', 'vocabSize', 'minFrequency', 'specialTokens'] },
      ),
      200,
    )
    const { stdout, stderr } = spawnSync(python, ['-c', program], { input: JSON.stringify(cases), maxBuffer: 1 << 28 })
    expect(stderr.toString()).toBe('')
    const expected = stdout
      .toString()
      .trim()
      .split('\n')
      .map(line => JSON.parse(line))
    for (const [i, { texts, ...options }] of cases.entries())
      expect(toTokenizerJson(train(texts, options))).toBe(expected[i])
  })
})
