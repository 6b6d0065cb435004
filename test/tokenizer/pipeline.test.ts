import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { emptyJson } from './fixtures.js'

const script = fileURLToPath(new URL('../../scripts/fuzz-tokenizers.mjs', import.meta.url))

it('gives the ids and texts of the Rust library for random tokenizers', () => {
  const options = ['--count', '60', '--seed', '10430', '--processes', '1']
  const { status, stdout } = spawnSync(process.execPath, [script, ...options], { encoding: 'utf8' })
  expect(stdout).toMatch(/"tokenizers":[56]\d,/)
  expect(status, stdout).toBe(0)
}, 120_000)

const wordLevel = {
  ...emptyJson({ type: 'Whitespace' }),
  model: { type: 'WordLevel', unk_token: '<unk>', vocab: { a: 0, b: 1 } },
}

it('fails for text that needs an unknown token which the vocabulary lacks', () => {
  const tokenizer = loadTokenizer(wordLevel)
  expect([...tokenizer.encode('a b')]).toEqual([0, 1])
  expect(() => tokenizer.encode('a c')).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
})

it('gives the ids of cached words in long texts', () => {
  const tokenizer = loadTokenizer(wordLevel)
  const ids = Array.from({ length: 3000 }, (_, at) => (at * 7) % 2)
  expect([...tokenizer.encode(ids.map(id => (id === 0 ? 'a' : 'b')).join(' '))]).toEqual(ids)
})

it('needs no unknown token for characters that a better path covers', () => {
  const vocab = [
    ['5', -6.5],
    ['6', -4],
    ['567', -3],
  ]
  const model = { type: 'Unigram', unk_id: null, byte_fallback: false, vocab }
  const tokenizer = loadTokenizer({ ...emptyJson(null), model })
  expect([...tokenizer.encode('567')]).toEqual([2])
  expect(() => tokenizer.encode('5678')).toThrow(expect.objectContaining({ code: 'TOKENIZER_INVALID' }))
})

it('rejects an added token that is empty after normalization but takes white space', () => {
  const added = { content: 'é', single_word: false, lstrip: true, rstrip: false, normalized: true, special: false }
  const normalizer = { type: 'Replace', pattern: { String: 'é' }, content: '' }
  const message = expect.stringContaining('added_tokens[0]')
  expect(() => loadTokenizer({ ...wordLevel, normalizer, added_tokens: [added] })).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message }),
  )
})

it('decodes tokens that occur again in the list of a Unigram model', () => {
  const vocab = [
    ['<unk>', 0],
    ['a', -1],
    ['b', -2],
    ['a', -3],
  ]
  const model = { type: 'Unigram', unk_id: 0, byte_fallback: false, vocab }
  const tokenizer = loadTokenizer({ ...emptyJson(null), model, decoder: { type: 'Fuse' } })
  expect([...tokenizer.encode('ab')]).toEqual([3, 2])
  expect(tokenizer.decode([1, 2, 3])).toBe('aba')
  expect(loadTokenizer({ ...emptyJson(null), model: { ...model, vocab: vocab.toReversed() } }).totalSize).toBe(4)
})

it('replaces an empty suffix around characters, not around halves of them', () => {
  const model = { type: 'WordLevel', unk_token: 'a', vocab: { a: 0, '\u{20000}b': 1 } }
  const tokenizer = loadTokenizer({ ...emptyJson(null), model, decoder: { type: 'BPEDecoder', suffix: '' } })
  expect(tokenizer.decode([1, 0])).toBe(' \u{20000} b a')
})

it('keeps all tokens of a last word that has more than any before', () => {
  const model = { type: 'WordLevel', unk_token: 'a', vocab: { a: 0, b: 1 } }
  const preTokenizers = [{ type: 'WhitespaceSplit' }, { type: 'Punctuation', behavior: 'Isolated' }]
  const normalizer = { type: 'Strip', strip_left: true, strip_right: true }
  const json = { ...emptyJson({ type: 'Sequence', pretokenizers: preTokenizers }), normalizer, model }
  const ids = [...loadTokenizer(json).encode(`b ${'b.'.repeat(1500)}`)]
  expect(ids).toEqual([1, ...Array.from({ length: 3000 }, (_, at) => (at % 2 === 0 ? 1 : 0))])
})
