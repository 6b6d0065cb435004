/** Random normalizers, pre-tokenizers, post-processors, decoders and added tokens. */
import { precompiledCharacterMap } from './character-map.mjs'
import { randomExpression } from './random-expression.mjs'

const BEHAVIORS = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']
const PATTERNS = [' ', 'a', 'ab', '\u2581', '.', '\n', "'", 'e\u0301', '漢'].map(text => ({ String: text }))
const EXPRESSIONS = [
  '\\s+',
  ' {2,}',
  '\\p{N}',
  '\\p{N}{1,3}',
  '\\p{L}+',
  '[^\\s]+',
  '\\S+',
  '[a-z]+|\\d',
  '\\p{P}',
  '[\\p{L}\\p{M}]+',
  '.',
  '[^\\r\\n\\p{L}\\p{N}]?\\p{L}+',
  ' ?[^\\s\\p{L}\\p{N}]+',
  '\\s+(?!\\S)|\\s+',
  "(?i:'s|'t|'re)",
  '\\p{Han}+',
  '[\\r\\n]+',
  "<\\|a\\|>|'s|'t|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
].map(expression => ({ Regex: expression }))

function pattern(random) {
  const kind = random.next()
  if (kind < 0.4) return random.pick(PATTERNS)
  return kind < 0.8 ? random.pick(EXPRESSIONS) : { Regex: randomExpression(random) }
}

/** `one` several times in a Sequence, in which others may be nested, once, or not at all. */
function maybeSequence(random, none, list, one) {
  const kind = random.next()
  if (kind < none) return null
  if (kind < none + (1 - none) / 2) return one()
  const sequence = depth => ({
    type: 'Sequence',
    [list]: random.list(random.below(4), () => (depth > 0 && random.chance(0.05) ? sequence(depth - 1) : one())),
  })
  return sequence(2)
}

const MAPPED = 'a|b|é|ﬁ|①|\u00a0|\u3000|\u200b|ガ|e\u0301|\u0301|ﷺ|\u0600|क|\r\n|\n|\t|👍🏽|\u2126|\u1100|ー'.split('|')

function randomMap(random) {
  const rules = new Map()
  for (let count = 1 + random.below(8); count > 0; count--) {
    rules.set(random.pick(MAPPED), random.pick(['', ' ', 'x', 'fi', 'e', '1', '\u2581', 'カ', ' \u0301', 'abc']))
  }
  const map = Buffer.from(precompiledCharacterMap([...rules]), 'base64')
  if (random.chance(0.05)) map[4 + random.below(map.length - 4)] ^= 1 << random.below(8)
  return (random.chance(0.02) ? map.subarray(0, random.below(map.length)) : map).toString('base64')
}

const boolean = random => random.chance(0.5)

const NORMALIZERS = {
  NFC: () => ({}),
  NFD: () => ({}),
  NFKC: () => ({}),
  NFKD: () => ({}),
  Lowercase: () => ({}),
  StripAccents: () => ({}),
  Nmt: () => ({}),
  ByteLevel: () => ({}),
  Strip: random => ({ strip_left: boolean(random), strip_right: boolean(random) }),
  Prepend: random => ({ prepend: random.pick(['\u2581', ' ', 'x', '\u2581\u2581', 'é']) }),
  Replace: random => ({ pattern: pattern(random), content: random.pick(['', ' ', '\u2581', 'x', 'ab', ' a ', 'é']) }),
  BertNormalizer: random => ({
    clean_text: boolean(random),
    handle_chinese_chars: boolean(random),
    strip_accents: random.pick([null, true, false]),
    lowercase: boolean(random),
  }),
  Precompiled: random => ({ precompiled_charsmap: randomMap(random) }),
}

const PRE_TOKENIZERS = {
  BertPreTokenizer: () => ({}),
  Whitespace: () => ({}),
  WhitespaceSplit: () => ({}),
  UnicodeScripts: () => ({}),
  ByteLevel: random => ({ add_prefix_space: boolean(random), trim_offsets: true, use_regex: random.chance(0.7) }),
  Metaspace: random => ({
    replacement: random.pick(['\u2581', '\u2581', '_', '漢']),
    // Older files have add_prefix_space and str_rep instead.
    ...(random.chance(0.8)
      ? { prepend_scheme: random.pick(['always', 'first', 'never']) }
      : { add_prefix_space: boolean(random), str_rep: '\u2581' }),
    split: random.chance(0.7),
  }),
  Punctuation: random => ({ behavior: random.pick(BEHAVIORS) }),
  Digits: random => ({ individual_digits: boolean(random) }),
  CharDelimiterSplit: random => ({ delimiter: random.pick([' ', 'a', '\u2581', '-', '漢']) }),
  FixedLength: random => ({ length: 1 + random.below(6) }),
  Split: random => ({ pattern: pattern(random), behavior: random.pick(BEHAVIORS), invert: boolean(random) }),
}

/** Seldom without one of the fields, which may have a default. */
const make = (random, kinds) => {
  const type = random.pick(Object.keys(kinds))
  const fields = Object.entries(kinds[type](random))
  const omitted = random.chance(0.06) ? random.below(fields.length) : -1
  return { type, ...Object.fromEntries(fields.filter((_, at) => at !== omitted)) }
}

export const randomNormalizer = random => maybeSequence(random, 0.3, 'normalizers', () => make(random, NORMALIZERS))

export const randomPreTokenizer = random =>
  maybeSequence(random, 0.15, 'pretokenizers', () => make(random, PRE_TOKENIZERS))

const DECODERS = {
  ByteLevel: () => ({ add_prefix_space: true, trim_offsets: true, use_regex: true }),
  Fuse: () => ({}),
  ByteFallback: () => ({}),
  Metaspace: random => ({
    replacement: random.pick(['\u2581', '_']),
    prepend_scheme: random.pick(['always', 'first', 'never']),
    split: true,
  }),
  WordPiece: random => ({ prefix: random.pick(['##', '_']), cleanup: boolean(random) }),
  BPEDecoder: random => ({ suffix: random.pick(['</w>', 'a', '']) }),
  CTC: random => ({
    pad_token: random.pick(['a', '<pad>']),
    word_delimiter_token: random.pick(['|', 'b']),
    cleanup: boolean(random),
  }),
  Replace: random => ({ pattern: pattern(random), content: random.pick(['', ' ', 'x']) }),
  Strip: random => ({
    content: random.pick([' ', 'a', '漢']),
    start: random.below(2),
    stop: random.chance(0.1) ? 1 : 0,
  }),
}

export const randomDecoder = random => maybeSequence(random, 0.3, 'decoders', () => make(random, DECODERS))

/** @param token one of the vocabulary, with its id */
export function randomPostProcessor(random, token, id) {
  const ids = random.chance(0.85) ? [id] : random.list(random.below(3), () => id)
  const special = { id: token, ids, tokens: ids.map(() => token) }
  const part = name => ({ SpecialToken: { id: name, type_id: 0 } })
  const text = id => ({ Sequence: { id, type_id: 0 } })
  const kinds = {
    ByteLevel: () => ({ add_prefix_space: true, trim_offsets: boolean(random), use_regex: true }),
    BertProcessing: () => ({ sep: [token, id], cls: [token, id] }),
    RobertaProcessing: () => ({ sep: [token, id], cls: [token, id], trim_offsets: true, add_prefix_space: true }),
    TemplateProcessing: () => ({
      single: random.pick([
        [text('A')],
        [part(token), text('A')],
        [text('A'), part(token)],
        [part(token), text('A'), part(token)],
        [part(token), part(token), text('A'), part(token), part(token)],
      ]),
      pair: random.pick([
        [text('A'), part(token), text('B')],
        [text('A'), text('B')],
        [text('B'), part(token), text('A'), part(token)],
      ]),
      special_tokens: { [token]: special },
    }),
  }
  const last = new Set(['TemplateProcessing'])
  const kind = random.next()
  if (kind < 0.5) return null
  if (kind < 0.8) return make(random, kinds)
  const processors = []
  for (let count = random.below(4); count > 0; count--) {
    processors.push(make(random, kinds))
    if (last.has(processors.at(-1).type)) break
  }
  if (random.chance(0.5)) processors.push({ type: 'ByteLevel', ...kinds.ByteLevel() })
  return { type: 'Sequence', processors }
}

const CONTENTS = [
  '<s>',
  '</s>',
  '<|end|>',
  '<|endoftext|>',
  '<a',
  '<a>',
  'b<',
  ' ',
  '  ',
  'the',
  'The',
  'é',
  'e\u0301',
  '漢',
  '_',
  'x y',
  '.',
  '\n',
  'A',
  'ab',
  '[x]',
  '\u2581',
  '1',
  '\u0130',
  '',
  '<0x41>',
  '##a',
  'ΑΣ',
  '가',
  '\u{20000}',
  "'s",
  '\u00a0x',
  '<|x|>  ',
]

export function randomAddedTokens(random, tokens) {
  if (random.chance(0.3)) return []
  const added = random.list(random.below(random.chance(0.1) ? 30 : 6), () => ({
    id: random.below(tokens.length + 100),
    content: random.chance(0.7) ? random.pick(CONTENTS) : random.pick(tokens),
    single_word: random.chance(0.2),
    lstrip: random.chance(0.25),
    rstrip: random.chance(0.25),
    normalized: random.chance(0.4),
    special: random.chance(0.5),
  })) // The Rust library aborts when white space that one token took begins another that takes white space before it.
  const takesSpaces = added.some(({ rstrip }) => rstrip)
  return added.map(token => (takesSpaces && /^\s/.test(token.content) ? { ...token, lstrip: false } : token))
}
