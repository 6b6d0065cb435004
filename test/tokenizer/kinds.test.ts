import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { bytesOfToken } from '#src/tokenizer/engine/byte-level'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { PRE_TOKENIZERS, randomFrom, randomText, type TokenizerJson } from './fixtures.js'
import { firstDifference, fuzz } from './judge.js'
import {
  added,
  BYTE_TOKENS,
  llama2Json,
  METASPACE,
  startingWith,
  trainedJson,
  withAllBytes,
  withTokens,
} from './trained.js'

/** Trained on this package's neighbours and on hard texts. */
function train(preTokenizer: object): TokenizerJson {
  const random = randomFrom(1)
  const readme = readFileSync(
    join(dirname(createRequire(import.meta.url).resolve('yaml/package.json')), 'README.md'),
    'utf8',
  )
  return trainedJson(preTokenizer, readme + Array.from({ length: 300 }, () => randomText(random)).join('\n'))
}

const spaced = train(METASPACE)
const byteLevel = withAllBytes(train(PRE_TOKENIZERS.gpt2!))

describe('character models', () => {
  const llama2 = llama2Json(spaced)
  const metaspaceDecoder = METASPACE
  const kinds: Record<string, TokenizerJson> = {
    'of Llama 2': { ...llama2, post_processor: startingWith('<s>', llama2) },
    'of Mistral': {
      ...llama2,
      normalizer: null,
      pre_tokenizer: { ...METASPACE, prepend_scheme: 'first', split: false },
      decoder: { ...metaspaceDecoder, prepend_scheme: 'first' },
    },
    'with split words and an unknown token': {
      ...withTokens(spaced, ['<unk>'], { unk_token: '<unk>' }),
      decoder: metaspaceDecoder,
    },
    'with fused unknown tokens': {
      ...withTokens(spaced, ['<unk>'], { unk_token: '<unk>', fuse_unk: true }),
      decoder: metaspaceDecoder,
    },
    'without an unknown token': { ...spaced, decoder: metaspaceDecoder },
    'with only some of the bytes': {
      ...withTokens(spaced, ['<unk>', ...BYTE_TOKENS.slice(0, 0xe0)], { byte_fallback: true, unk_token: '<unk>' }),
      decoder: metaspaceDecoder,
    },
    'without spaces in front': {
      ...spaced,
      pre_tokenizer: { ...METASPACE, prepend_scheme: 'never' },
      decoder: { ...metaspaceDecoder, prepend_scheme: 'never' },
    },
  }
  for (const [name, json] of Object.entries(kinds)) {
    it(`gives the ids and texts of the Rust library: ${name}`, async () => {
      expect(await firstDifference(json, fuzz(21, 1000))).toBeUndefined()
    })
  }
})

describe('byte-level models without all bytes', () => {
  const variants: Record<string, TokenizerJson> = {
    'drop them': byteLevel,
    'have an unknown token': withTokens(byteLevel, ['<unk>'], { unk_token: '<unk>' }),
    'fuse unknown tokens': withTokens(byteLevel, ['<unk>'], { unk_token: '<unk>', fuse_unk: true }),
  }
  for (const [name, json] of Object.entries(variants)) {
    it(`give the ids of the Rust library if they ${name}`, async () => {
      const vocab = Object.fromEntries(
        Object.entries(json.model.vocab).filter(([token]) => token !== '!' && token !== 'Z'),
      )
      const merges = json.model.merges.filter(merge => !/[!Z]/.test(merge.toString()))
      const kept = { ...json, model: { ...json.model, vocab, merges } }
      for (const token of Object.keys(vocab)) if (/[!Z]/.test(token)) delete vocab[token]
      expect(await firstDifference(kept, ['Zebra!!Z!a', '!', ...fuzz(22, 500)])).toBeUndefined()
    })
  }
})

describe('added tokens', () => {
  const texts = (tokens: readonly string[]): string[] => {
    const random = randomFrom(23)
    const glue = [' ', '  ', '\n', 'a', '_', '1', '.', '\u00e9', '\u3000', '', '', 'word', '\u0301', '\u200d']
    return Array.from({ length: 1500 }, () =>
      Array.from({ length: 1 + random(9) }, () =>
        random(2) === 0 ? tokens[random(tokens.length)]! : glue[random(glue.length)]!,
      ).join(''),
    )
  }
  const flagged: Record<string, object[]> = {
    'of every flag': [
      added('<l>', { lstrip: true }),
      added('<r>', { rstrip: true }),
      added('<b>', { lstrip: true, rstrip: true }),
      added('word', { single_word: true }),
      added('<w>', { single_word: true, lstrip: true }),
    ],
    'with a common prefix': [added('<a'), added('<a>'), added('<a>b'), added('b<'), added('>')],
    'found after normalization': [
      added('\ufb01x', { normalized: true }),
      added('e\u0301', { normalized: true }),
      added('<n>'),
    ],
    'with many first characters': ['<a>', '[b]', '{c}', '(d)', '|e|', '#'].map(content => added(content)),
    'that are not special': [added('abc', { special: false }), added('<n>', { special: false, normalized: true })],
  }
  for (const [name, tokens] of Object.entries(flagged)) {
    for (const form of [null, 'NFKC', 'NFC']) {
      it(`${name} match as in the Rust library, normalizer ${form}`, async () => {
        const json = { ...byteLevel, added_tokens: tokens, normalizer: form === null ? null : { type: form } }
        const contents = tokens.map(token => (token as { content: string }).content)
        expect(await firstDifference(json, texts([...contents, 'fix', '\u00e9', '<', 'b']))).toBeUndefined()
      })
    }
  }

  it('are omitted from decoded text only if special and requested', async () => {
    const json = { ...byteLevel, added_tokens: [added('<s>'), added('<n>', { special: false })] }
    const ours = loadTokenizer(json)
    const ids = ours.encode('a<s>b<n>c')
    expect(ours.decode(ids)).toBe('a<s>b<n>c')
    expect(ours.decode(ids, { skipSpecialTokens: true })).toBe('ab<n>c')
    expect(await RustTokenizer.fromString(JSON.stringify(json)).decode([...ids], true)).toBe('ab<n>c')
  })
})

describe('split rules', () => {
  for (const behavior of ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']) {
    for (const invert of [false, true]) {
      it(`${behavior}${invert ? ', inverted,' : ''} splits as the Rust library does`, async () => {
        const split = (pattern: object): object => ({ type: 'Split', pattern, behavior, invert })
        for (const pattern of [{ String: 'a' }, { Regex: '\\s+' }, { Regex: "[a-z]+|'|\\p{N}{2}" }]) {
          const pre_tokenizer = {
            type: 'Sequence',
            pretokenizers: [split(pattern), ...[PRE_TOKENIZERS.llama3!].flat()],
          }
          const json = { ...byteLevel, pre_tokenizer }
          expect(await firstDifference(json, ['banana', 'aa', ...fuzz(24, 200)])).toBeUndefined()
        }
      })
    }
  }

  it('Digits and WhitespaceSplit split as in the Rust library', async () => {
    const last = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: false }
    for (const first of [
      { type: 'Digits', individual_digits: false },
      { type: 'WhitespaceSplit' },
      { type: 'Whitespace' },
    ]) {
      const json = { ...byteLevel, pre_tokenizer: { type: 'Sequence', pretokenizers: [first, last] } }
      expect(await firstDifference(json, fuzz(25, 500)), JSON.stringify(first)).toBeUndefined()
    }
  })
})

describe('ignore_merges', () => {
  it('uses a word of the vocabulary even if no merges produce it', async () => {
    const words = ['\u0120hello', 'hello', '\u0120therefore\u0120', '----------------', 'xyzxyzxyzxyzxyzxyzxyz']
    const json = withTokens(byteLevel, words, { ignore_merges: true })
    const texts = ['hello hello', ' therefore ', '-'.repeat(16), '-'.repeat(17), 'xyz'.repeat(7), ...fuzz(26, 500)]
    expect(await firstDifference(json, texts)).toBeUndefined()
    expect(Object.keys(json.model.vocab).every(token => bytesOfToken(token) !== undefined)).toBe(true)
    expect(loadTokenizer(json, { wasm: kernelModule() }).encode('hello')).toEqual(
      Uint32Array.of(json.model.vocab.hello!),
    )
  })
})
