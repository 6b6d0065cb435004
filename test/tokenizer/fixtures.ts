/**
 * Tokenizer files of different kinds for the tests, and texts that are hard to split. The vocabularies come from installed
 * packages or are trained during the test; the reference is always the Rust library (npm `tokenizers`).
 */

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { describe, it } from 'vitest'
import { tokenOfBytes } from '#src/tokenizer/engine/byte-level'

const require = createRequire(import.meta.url)

export const GPT2_FILE = new URL('../../../shared/reference/hf_gpt2/tokenizer.json', import.meta.url)
export const hasGpt2 = existsSync(GPT2_FILE)

/** Tests that load the GPT-2 vocabulary during collection: one skipped entry if it is absent. */
export function describeWithGpt2(name: string, body: () => void): void {
  if (hasGpt2) describe(name, body)
  else describe.skip(`${name} (needs ../shared/reference)`, () => it('is skipped', () => {}))
}

export function gpt2Json(): TokenizerJson {
  return JSON.parse(readFileSync(GPT2_FILE, 'utf8'))
}

export interface TokenizerJson {
  version: string
  truncation: null
  padding: null
  added_tokens: object[]
  normalizer: object | null
  pre_tokenizer: object | null
  post_processor: object | null
  decoder: object | null
  model: {
    type: string
    vocab: Record<string, number>
    merges: (string | [string, string])[]
    [option: string]: unknown
  }
}

export const PATTERNS = {
  cl100k: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  qwen2: String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  o200k: String.raw`[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  deepseek: String.raw`[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_${'`'}{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
}

const isolated = (pattern: string): object => ({
  type: 'Split',
  pattern: { Regex: pattern },
  behavior: 'Isolated',
  invert: false,
})
const byteLevel = (options: object = {}): object => ({
  type: 'ByteLevel',
  add_prefix_space: false,
  trim_offsets: true,
  use_regex: false,
  ...options,
})

/** Pre-tokenizers of well-known models, by model. */
export const PRE_TOKENIZERS: Record<string, object> = {
  gpt2: byteLevel({ use_regex: true }),
  roberta: byteLevel({ use_regex: true, add_prefix_space: true }),
  llama3: { type: 'Sequence', pretokenizers: [isolated(PATTERNS.cl100k), byteLevel()] },
  qwen2: { type: 'Sequence', pretokenizers: [isolated(PATTERNS.qwen2), byteLevel()] },
  o200k: { type: 'Sequence', pretokenizers: [isolated(PATTERNS.o200k), byteLevel()] },
  deepseek: {
    type: 'Sequence',
    pretokenizers: [
      isolated('\\p{N}{1,3}'),
      isolated('[一-龥\u3040-ゟ゠-ヿ]+'),
      isolated(PATTERNS.deepseek),
      byteLevel(),
    ],
  },
  starcoder: {
    type: 'Sequence',
    pretokenizers: [{ type: 'Digits', individual_digits: true }, byteLevel({ use_regex: true })],
  },
}

/** A tokenizer.json as Hugging Face converts tiktoken's ranks: every split of a token into two known ones is a merge. */
export function jsonFromTiktoken(name: 'cl100k_base' | 'o200k_base', preTokenizer: object): TokenizerJson {
  const { bpe_ranks: ranks } = require(`tiktoken/encoders/${name}.json`) as { bpe_ranks: string }
  const idOf = new Map<string, number>()
  const bytesOf: string[] = []
  for (const line of ranks.split('\n')) {
    const [, offset, ...tokens] = line.split(' ')
    for (const [index, token] of tokens.entries()) {
      const id = Number(offset) + index
      bytesOf[id] = tokenOfBytes(Buffer.from(token, 'base64'))
      idOf.set(bytesOf[id], id)
    }
  }
  const merges = bytesOf.flatMap(token => {
    const pairs: [string, string][] = []
    for (let cut = 1; cut < token.length; cut++) {
      const left = token.slice(0, cut)
      const right = token.slice(cut)
      if (idOf.has(left) && idOf.has(right)) pairs.push([left, right])
    }
    return pairs.sort((a, b) => idOf.get(a[0])! - idOf.get(b[0])! || idOf.get(a[1])! - idOf.get(b[1])!)
  })
  return {
    ...emptyJson(preTokenizer),
    model: { ...emptyJson(preTokenizer).model, vocab: Object.fromEntries(idOf), merges, ignore_merges: true },
  }
}

export function emptyJson(preTokenizer: object | null): TokenizerJson {
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: {},
      merges: [],
    },
  }
}

const FRAGMENTS = [
  ...[
    ' ',
    '  ',
    '   ',
    '\n',
    '\n\n',
    '\r\n',
    '\t',
    '\u00a0',
    '\u0085',
    '\u3000',
    '\u2003',
    '\u200b',
    '\ufeff',
    '\u1680',
    '\u2028',
  ],
  ...[
    '\x0b',
    '\x0c',
    '\x1c',
    '\x1f',
    '\u180e',
    "'s",
    "'t",
    "'re",
    "'ve",
    "'m",
    "'ll",
    "'d",
    "'S",
    "'LL",
    "'",
    "''",
    '\u2019s',
  ],
  ...[
    'a',
    'b',
    'the',
    ' the',
    'Word',
    'CamelCase',
    'HTTPServer',
    '\u00e9',
    '\u00df',
    '漢字',
    'ひら',
    'カナ',
    '한글',
    'العربية',
    'ไทย',
    'нет',
  ],
  ...[
    '1',
    '23',
    '4567',
    '\u0663',
    '\u2167',
    '\u00bd',
    '\u00b2',
    '\u{1d7d8}',
    '.',
    '!!',
    '--',
    '=====',
    '_',
    '\u20ac',
    '😀',
    '👨\u200d👩\u200d👧',
  ],
  ...[
    '\u0301',
    'e\u0301',
    '\u{1F1E6}',
    '\u{1d4b3}',
    '\u01c5',
    '\u02b0',
    '\u00aa',
    '\u0300',
    '\u16ee',
    '\u{10ffff}',
    '\ue000',
    '\u0000',
  ],
  ...[
    '\u007f',
    '\u0660',
    '<|endoftext|>',
    '\u017f',
    '\u212a',
    "'\u017f",
    'xyz'.repeat(30),
    '-'.repeat(70),
    'ab1'.repeat(5),
    '/*',
    '//\n',
  ],
  ...['\ufb01', '\u1e9e', '\u0130', '\u0345', '\u1100\u1161\u11a8', '\u3099', '\uac00', '\ufdfa'],
]

/** A small deterministic generator, so that failures are reproducible. */
export function randomFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0
  return limit => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

export function randomText(random: (limit: number) => number, pieces = 60): string {
  let text = ''
  for (let count = 1 + random(pieces); count > 0; count--) {
    text += random(100) < 85 ? FRAGMENTS[random(FRAGMENTS.length)]! : randomCharacter(random)
  }
  return text
}

function randomCharacter(random: (limit: number) => number): string {
  const codePoint = random(random(2) === 0 ? 0x3000 : 0x20000)
  return codePoint >= 0xd800 && codePoint < 0xe000 ? ' ' : String.fromCodePoint(codePoint)
}
