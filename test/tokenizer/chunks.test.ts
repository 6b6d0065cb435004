import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { expect, it } from 'vitest'
import { readPlan } from '#src/tokenizer/file/tokenizer-json'
import { createPackKernel } from '#src/tokenizer/pack-lines'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { emptyJson, randomFrom, randomText, type TokenizerJson } from './fixtures.js'
import { firstDifference } from './judge.js'
import { added, llama2Json, METASPACE, trainedJson } from './trained.js'

const readme = readFileSync(
  join(dirname(createRequire(import.meta.url).resolve('yaml/package.json')), 'README.md'),
  'utf8',
)
const spaced = trainedJson(METASPACE, readme)

/** Words that recur between random texts, in other cases and with other signs around them. */
function texts(seed: number, count: number): string[] {
  const random = randomFrom(seed)
  const words = readme.split(/\s+/)
  const word = (): string => {
    const chosen = words[random(words.length)]!
    return [chosen, chosen.toUpperCase(), `"${chosen}"`, `${chosen}.`, `${chosen}'s`, `(${chosen},\n`][random(6)]!
  }
  const spaces = [' ', ' ', ' ', '  ', '\n', '\n    ', '\t', '\r\n', '\u3000', '']
  return Array.from({ length: count }, () =>
    Array.from({ length: 40 }, () =>
      random(12) === 0 ? randomText(random, 4) : word() + spaces[random(spaces.length)]!,
    ).join(''),
  )
}

const SIGNS = Array.from({ length: 94 }, (_, at) => String.fromCharCode(33 + at))

/** Letters, signs and the words of the text, each also with a prefix. */
function wordPieceVocabulary(): Record<string, number> {
  const words = readme.toLowerCase().match(/[a-z]+/g) ?? []
  const pieces = [...SIGNS, ...words.flatMap(word => [word, word.slice(0, 3), word.slice(2)])]
  const tokens = ['[UNK]', '[CLS]', ...pieces.flatMap(piece => [piece, `##${piece}`])]
  return Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]))
}

const bert = {
  ...emptyJson({ type: 'BertPreTokenizer' }),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 20,
    vocab: wordPieceVocabulary(),
  },
  added_tokens: [added('[CLS]')],
} as unknown as TokenizerJson

const unigramModel = {
  type: 'Unigram',
  unk_id: 0,
  byte_fallback: false,
  vocab: ['<unk>', ...Object.keys(spaced.model.vocab)].map((piece, at) => [piece, -Math.log(at + 2) - (at % 7) / 8]),
}
const unigram = (normalizer: object | null, preTokenizer: object | null): TokenizerJson =>
  ({ ...emptyJson(preTokenizer), normalizer, model: unigramModel }) as unknown as TokenizerJson

/** The vocabulary of the bytes and of the words that the text has, all ended by a suffix or not. */
function clipJson(): TokenizerJson {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const trained = trainedJson(byteLevel, readme.toLowerCase().replaceAll(/\s+/g, ''))
  const symbols = Object.keys(trained.model.vocab)
  const vocab = Object.fromEntries(
    ['<|end|>', ...symbols, ...symbols.map(symbol => `${symbol}</w>`)].map((token, id) => [token, id]),
  )
  const pairs = (trained.model.merges as (string | string[])[]).map(pair =>
    typeof pair === 'string' ? pair.split(' ') : pair,
  )
  const merges = pairs.flatMap(([left, right]) => [
    [left, right],
    [left, `${right}</w>`],
  ])
  const Regex = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
  const split = { type: 'Split', pattern: { Regex }, behavior: 'Removed', invert: true }
  const steps = [{ type: 'NFC' }, { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }, { type: 'Lowercase' }]
  return {
    ...emptyJson({ type: 'Sequence', pretokenizers: [split, byteLevel] }),
    normalizer: { type: 'Sequence', normalizers: steps },
    model: { ...trained.model, vocab, merges, unk_token: '<|end|>', end_of_word_suffix: '</w>' },
    added_tokens: [added('<|end|>', { normalized: true })],
  } as unknown as TokenizerJson
}

const trimmed = {
  type: 'Sequence',
  normalizers: [
    { type: 'NFKC' },
    { type: 'Replace', pattern: { String: '\n' }, content: ' ' },
    { type: 'Strip', strip_left: true, strip_right: true },
    { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '\u2581' },
  ],
}

const shapes: Record<string, TokenizerJson> = {
  BERT: bert,
  'BERT with tokens that are searched after normalization': {
    ...bert,
    added_tokens: [added('[cls]', { normalized: true }), added('n-t', { normalized: true, single_word: true })],
  } as TokenizerJson,
  WordLevel: {
    ...emptyJson({ type: 'Whitespace' }),
    normalizer: { type: 'Lowercase' },
    model: { type: 'WordLevel', unk_token: '[UNK]', vocab: wordPieceVocabulary() },
  } as unknown as TokenizerJson,
  CLIP: clipJson(),
  T5: unigram(trimmed, METASPACE),
  'XLM-R': unigram({ type: 'NFKC' }, { type: 'Sequence', pretokenizers: [{ type: 'WhitespaceSplit' }, METASPACE] }),
  'Unigram without words': unigram(null, { ...METASPACE, split: false }),
  'Llama 2': llama2Json(spaced),
}

for (const [name, json] of Object.entries(shapes)) {
  it(`gives the ids of the Rust library for new and for cached words: ${name}`, async () => {
    const some = texts(name.length, 60)
    expect(await firstDifference(json, [...some, ...some])).toBeUndefined()
  })
}

it('encodes a text as a whole if a word has many more tokens than bytes', async () => {
  const json = {
    ...emptyJson({ type: 'WhitespaceSplit' }),
    normalizer: { type: 'Replace', pattern: { String: 'a' }, content: 'bc'.repeat(9) },
    model: { ...bert.model, continuing_subword_prefix: '', vocab: { '[UNK]': 0, b: 1, c: 2 } },
  } as unknown as TokenizerJson
  expect(await firstDifference(json, ['b', 'b ca b', 'a '.repeat(40_000), 'c'.repeat(30)])).toBeUndefined()
})

/** Places at which the rules cut a text. */
function cuts(json: TokenizerJson, text: string): string | undefined {
  const plan = readPlan(json)
  if (!('chunks' in plan) || plan.chunks === undefined) return undefined
  const { after, before } = plan.chunks
  return text.replaceAll(/.(?=(.))/gsu, (first, second: string) => {
    const isCut = (after[first.charCodeAt(0)]! & before[second.charCodeAt(0)]!) !== 0
    return isCut ? `${first}|` : first
  })
}

it('cuts where no step looks across', () => {
  const text = 'It\'s a [CLS], "x_y"  end.\n    9 1'
  expect(cuts(shapes.BERT!, text)).toBe('It|\'|s| a| [|CLS|]|,| "|x|_|y|"| | end|.|\n| | | | 9| 1')
  expect(cuts(shapes.CLIP!, text)).toBe('It|\'s| a| [|CLS|],| "|x|_|y|"| | end|.|\n| | | | 9| 1')
  expect(cuts(shapes.T5!, text)).toBe('It\'s| a| [CLS],| "x_y"|  end.|\n    9| 1')
  expect(cuts(shapes['Llama 2']!, text)).toBe('It\'s| a| [CLS],| "x_y"|  end.\n    9| 1')
  expect(cuts(shapes['Unigram without words']!, text)).toBeUndefined()
})

it('cuts no token that is searched after normalization', () => {
  const tokens = shapes['BERT with tokens that are searched after normalization']!
  expect(cuts(tokens, 'an [CLS] or N-T-x')).toBe('an| [CLS]| or| N-T|-|x')
})

it('gives the same ids for documents in a batch as alone', () => {
  const tokenizer = loadTokenizer(JSON.stringify(shapes.T5), { wasm: kernelModule() })
  const documents = texts(5, 50).map(text => Buffer.from(text))
  const offsets = new Uint32Array(documents.length + 1)
  for (const [at, bytes] of documents.entries()) offsets[at + 1] = offsets[at]! + bytes.length
  const { tokens, lengths } = tokenizer.encodeBatch(Buffer.concat(documents), offsets)
  let at = 0
  for (const [number, length] of lengths.entries()) {
    expect([...tokens.subarray(at, at + length)]).toEqual([...tokenizer.encodeBytes(documents[number]!)])
    at += length
  }
  expect(at).toBe(tokens.length)
})

it('packs lines in the kernel as in TypeScript', () => {
  const lines = Buffer.from(
    texts(6, 50)
      .map(text => `${JSON.stringify({ text })}\n`)
      .join(''),
  )
  const json = JSON.stringify(shapes.T5)
  const [found, expected] = [{ wasm: kernelModule() }, {}].map(options => {
    const kernel = createPackKernel({ tokenizer: loadTokenizer(json, options), field: 'text', eodId: 1, width: 4 })
    const { tokens, lengths, statuses } = kernel.pack(lines)
    return { tokens: [...tokens], lengths: [...lengths], statuses: [...statuses] }
  })
  expect(found).toEqual(expected)
})
