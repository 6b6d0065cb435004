/** Random tokenizer.json files of every model, with vocabularies made of pieces that their own pre-tokenizer gives. */
import { Tokenizer } from 'tokenizers'
import { BYTE_CHARACTERS } from '../../dist/tokenizer/engine/byte-level.js'
import {
  randomAddedTokens,
  randomDecoder,
  randomNormalizer,
  randomPostProcessor,
  randomPreTokenizer,
} from './random-steps.mjs'
import { randomText } from './random-text.mjs'

const MODELS = ['BPE', 'BPE', 'WordPiece', 'WordLevel', 'Unigram']
const BYTE_TOKENS = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`)

const TRUNCATION = { direction: 'Right', max_length: 3, strategy: 'LongestFirst', stride: 0 }
const PADDING = {
  strategy: { Fixed: 9 },
  direction: 'Right',
  pad_to_multiple_of: null,
  pad_id: 0,
  pad_type_id: 0,
  pad_token: 'a',
}

/** Seldom without the type or without an option. */
function asInOlderFiles(random, model) {
  const omitted = random.chance(0.05) ? random.pick(Object.keys(model)) : undefined
  return Object.fromEntries(Object.entries(model).filter(([key]) => key !== omitted))
}

/** @returns the file, and texts for it; `undefined` when the Rust library rejects its steps */
export function randomTokenizer(random) {
  const steps = randomShape(random)
  const words = wordsOf(steps, random)
  if (words === undefined) return undefined
  const type = random.pick(MODELS)
  const model = MAKERS[type](random, words)
  const tokens = Array.isArray(model.vocab) ? model.vocab.map(([token]) => token) : Object.keys(model.vocab)
  const some = random.pick(tokens)
  const id = Array.isArray(model.vocab) ? tokens.indexOf(some) : model.vocab[some]
  const added = distinctWhenNormalized(randomAddedTokens(random, tokens), steps)
  const json = {
    version: '1.0',
    truncation: random.chance(0.05) ? TRUNCATION : null,
    padding: random.chance(0.05) ? PADDING : null,
    added_tokens: added,
    ...steps,
    post_processor: randomPostProcessor(random, some, id),
    decoder: randomDecoder(random),
    model: asInOlderFiles(random, model),
  }
  const pieces = [...added.map(({ content }) => content), ...random.list(5, () => random.pick(words)), some]
  return { json, pieces, tokenCount: tokens.length + added.length }
}

/** Steps chosen freely or, often, as byte-level and other well-known tokenizers have them. */
function randomShape(random) {
  const byteLevel = { type: 'ByteLevel', add_prefix_space: random.chance(0.3), trim_offsets: true, use_regex: true }
  const kind = random.next()
  if (kind < 0.15) {
    const normalizer = random.chance(0.5) ? null : { type: random.pick(['NFC', 'NFD', 'NFKC', 'NFKD']) }
    return { normalizer, pre_tokenizer: byteLevel }
  }
  if (kind < 0.22) {
    const pretokenizers = [
      randomPreTokenizer(random) ?? { type: 'Whitespace' },
      { ...byteLevel, use_regex: random.chance(0.5) },
    ]
    return { normalizer: null, pre_tokenizer: { type: 'Sequence', pretokenizers } }
  }
  if (kind < 0.25) {
    const prepend_scheme = random.pick(['always', 'first', 'never'])
    return {
      normalizer: null,
      pre_tokenizer: { type: 'Metaspace', replacement: '\u2581', prepend_scheme, split: random.chance(0.5) },
    }
  }
  if (kind < 0.29) {
    const normalizers = [
      { type: 'Prepend', prepend: '\u2581' },
      { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
    ]
    return { normalizer: { type: 'Sequence', normalizers }, pre_tokenizer: null }
  }
  return { normalizer: randomNormalizer(random), pre_tokenizer: randomPreTokenizer(random) }
}

function withSteps(steps, extra = {}) {
  const model = { type: 'WordLevel', unk_token: '<unk>', vocab: { '<unk>': 0 } }
  return JSON.stringify({
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    post_processor: null,
    decoder: null,
    ...steps,
    model,
    ...extra,
  })
}

function wordsOf(steps, random) {
  try {
    const tokenizer = Tokenizer.fromString(withSteps(steps))
    const [normalizer, preTokenizer] = [tokenizer.getNormalizer(), tokenizer.getPreTokenizer()]
    const words = new Set()
    for (let count = 0; count < 12; count++) {
      const text = randomText(random).toWellFormed()
      const normalized = steps.normalizer === null ? text : normalizer.normalizeString(text)
      const pieces =
        steps.pre_tokenizer === null || normalized === '' ? [[normalized]] : preTokenizer.preTokenizeString(normalized)
      for (const [piece] of pieces) if (piece !== '') words.add(piece)
    }
    return words.size === 0 ? ['a'] : [...words]
  } catch {
    return undefined
  }
}

/** The Rust library chooses at random between tokens that normalize to the same text. */
function distinctWhenNormalized(tokens, steps) {
  const normalizer = steps.normalizer === null ? undefined : Tokenizer.fromString(withSteps(steps)).getNormalizer()
  const seen = new Map()
  return tokens.filter(({ content }) => {
    const text = normalizer === undefined ? content : normalizer.normalizeString(content)
    if (seen.has(text) && seen.get(text) !== content) return false
    seen.set(text, content)
    return true
  })
}

/** Ids in order or with gaps. */
function numbered(random, tokens) {
  const gap = random.chance(0.1) ? 3 : 1
  const ids = {}
  let id = 0
  for (const token of new Set(tokens)) {
    ids[token] = id
    id += 1 + random.below(gap)
  }
  return ids
}

const charactersOf = words => [...new Set(words.flatMap(word => [...word]))]

function randomBpe(random, words) {
  const prefix = random.chance(0.2) ? random.pick(['##', '_', '\u2581']) : null
  const suffix = random.chance(0.2) ? random.pick(['</w>', '@']) : null
  const symbolsOf = word =>
    [...word].map(
      (character, at, all) =>
        (at > 0 ? (prefix ?? '') : '') + character + (at === all.length - 1 ? (suffix ?? '') : ''),
    )
  const complete = random.chance(0.5)
  const tokens = new Set(words.flatMap(symbolsOf).filter(() => complete || random.chance(0.85)))
  for (const character of charactersOf(words)) if (random.chance(0.5)) tokens.add(character)
  const segmented = words.map(symbolsOf)
  const merges = []
  for (let count = random.below(60); count > 0; count--) {
    const word = random.pick(segmented)
    if (word.length < 2) continue
    const at = random.below(word.length - 1)
    const [left, right] = [word[at], word[at + 1]]
    if (!tokens.has(left) || !tokens.has(right)) continue
    const joined = left + (prefix !== null && right.startsWith(prefix) ? right.slice(prefix.length) : right)
    if (prefix !== null && !right.startsWith(prefix)) continue
    tokens.add(joined)
    merges.splice(random.chance(0.8) ? merges.length : random.below(merges.length + 1), 0, [left, right])
    for (const parts of segmented) {
      for (let i = 0; i + 1 < parts.length; i++)
        if (parts[i] === left && parts[i + 1] === right) parts.splice(i, 2, joined)
    }
  }
  if (random.chance(0.1) && merges.length > 0) merges.push(random.pick(merges))
  const byteFallback = random.chance(0.25)
  if (byteFallback) for (const token of BYTE_TOKENS) if (complete || random.chance(0.9)) tokens.add(token)
  if (complete && random.chance(0.3)) for (const character of BYTE_CHARACTERS) tokens.add(character)
  if (random.chance(0.5)) tokens.add('\u2581')
  const unknown = random.chance(0.5) ? '<unk>' : null
  const isListed = unknown !== null && random.chance(0.9)
  const spaced = merges.some(pair => pair.some(token => token.includes(' ')))
  return {
    type: 'BPE',
    dropout: null,
    unk_token: unknown,
    continuing_subword_prefix: prefix,
    end_of_word_suffix: suffix,
    fuse_unk: random.chance(0.4),
    byte_fallback: byteFallback,
    ignore_merges: random.chance(0.25),
    vocab: numbered(random, [
      ...(isListed ? ['<unk>'] : []),
      ...tokens,
      ...(random.chance(0.3) ? words.slice(0, 5) : []),
    ]),
    merges: spaced || random.chance(0.5) ? merges : merges.map(pair => pair.join(' ')),
  }
}

function substring(random, word) {
  const characters = [...word]
  const start = random.below(characters.length)
  return { start, text: characters.slice(start, start + 1 + random.below(5)).join('') }
}

function randomWordPiece(random, words) {
  const prefix = random.pick(['##', '##', '', '_'])
  const tokens = []
  for (const character of charactersOf(words)) {
    if (random.chance(0.9)) tokens.push(character)
    if (random.chance(0.9)) tokens.push(prefix + character)
  }
  for (let count = random.below(80); count > 0; count--) {
    const { start, text } = substring(random, random.pick(words))
    tokens.push(start === 0 ? text : prefix + text)
  }
  const isListed = random.chance(0.95)
  return {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: prefix,
    max_input_chars_per_word: random.pick([100, 100, 10, 3, 1, 0]),
    vocab: numbered(random, [...(isListed ? ['[UNK]'] : []), ...tokens, 'a']),
  }
}

function randomWordLevel(random, words) {
  const tokens = words.filter(() => random.chance(0.7))
  return {
    type: 'WordLevel',
    unk_token: '<unk>',
    vocab: numbered(random, [...(random.chance(0.95) ? ['<unk>'] : []), ...tokens, 'a']),
  }
}

function randomUnigram(random, words) {
  const score = () => random.pick([-1, -2, -3, -random.next() * 10, random.chance(0.05) ? random.next() * 3 : -4.5])
  const pieces = new Map([['<unk>', 0]])
  for (const character of charactersOf(words)) if (random.chance(0.85)) pieces.set(character, score() - 2)
  for (let count = random.below(120); count > 0; count--)
    pieces.set(substring(random, random.pick(words)).text, score())
  const byteFallback = random.chance(0.3)
  if (byteFallback) for (const token of BYTE_TOKENS) if (random.chance(0.97)) pieces.set(token, -20)
  const vocab = [...pieces]
  if (random.chance(0.05)) vocab.push(random.pick(vocab))
  if (random.chance(0.1)) for (const entry of vocab) entry[1] = random.pick([0, -1e9, 1e9, -1e-9, entry[1]])
  const unknown = random.next()
  return {
    type: 'Unigram',
    unk_id: unknown < 0.85 ? 0 : unknown < 0.93 ? null : random.below(vocab.length),
    byte_fallback: byteFallback,
    vocab,
  }
}

const MAKERS = { BPE: randomBpe, WordPiece: randomWordPiece, WordLevel: randomWordLevel, Unigram: randomUnigram }
