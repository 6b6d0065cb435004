/** Shapes of tokenizer.json as public models have them, and variations that have been reported as bugs of tokenizers. */
import { precompiledCharacterMap } from '../fuzz/character-map.mjs'

const sequence = (list, ...steps) => ({ type: 'Sequence', [list]: steps })
const normalizers = (...steps) => sequence('normalizers', ...steps)
const preTokenizers = (...steps) => sequence('pretokenizers', ...steps)
const decoders = (...steps) => sequence('decoders', ...steps)
const processors = (...steps) => sequence('processors', ...steps)
const step = (type, fields = {}) => ({ type, ...fields })
const split = (Regex, behavior = 'Isolated', invert = false) => step('Split', { pattern: { Regex }, behavior, invert })
const splitText = (text, behavior = 'Isolated') => step('Split', { pattern: { String: text }, behavior, invert: false })
const replace = (pattern, content) => step('Replace', { pattern, content })
const byteLevel = (fields = {}) =>
  step('ByteLevel', { add_prefix_space: false, trim_offsets: true, use_regex: true, ...fields })
const bytesOnly = byteLevel({ use_regex: false })
const digits = individual_digits => step('Digits', { individual_digits })
const metaspace = (prepend_scheme = 'always', fields = {}) =>
  step('Metaspace', { replacement: '\u2581', prepend_scheme, split: true, ...fields })
const bert = (fields = {}) =>
  step('BertNormalizer', {
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
    ...fields,
  })
const wordPieceDecoder = step('WordPiece', { prefix: '##', cleanup: true })
const added = (content, fields = {}) => ({
  id: 0,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...fields,
})
const template = (before, after, ids) => {
  const special = id => ({ SpecialToken: { id, type_id: 0 } })
  const single = [...before.map(special), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(special)]
  const pair = [...single, { Sequence: { id: 'B', type_id: 1 } }]
  const special_tokens = Object.fromEntries(ids.map((id, at) => [id, { id, ids: [at], tokens: [id] }]))
  return step('TemplateProcessing', { single, pair, special_tokens })
}

const bpe = (fields = {}) => ({
  type: 'BPE',
  dropout: null,
  unk_token: null,
  continuing_subword_prefix: null,
  end_of_word_suffix: null,
  fuse_unk: false,
  byte_fallback: false,
  ignore_merges: false,
  ...fields,
})
const wordPiece = (fields = {}) => ({
  type: 'WordPiece',
  unk_token: '[UNK]',
  continuing_subword_prefix: '##',
  max_input_chars_per_word: 100,
  ...fields,
})
const unigram = (fields = {}) => ({ type: 'Unigram', unk_id: 0, byte_fallback: false, ...fields })
const wordLevel = { type: 'WordLevel', unk_token: '[UNK]' }

const NMT_NFKC = step('Precompiled', {
  precompiled_charsmap: precompiledCharacterMap([
    ['\u00a0', ' '],
    ['\u3000', ' '],
    ['\n', ' '],
    ['\t', ' '],
    ['\u200b', ' '],
    ['ﬁ', 'fi'],
    ['①', '1'],
    ['½', '1\u20442'],
    ['ガ', 'ガ'],
    ['e\u0301', 'é'],
    ['\u2167', 'VIII'],
    ['\u0000', ''],
    ['\u00ad', ''],
  ]),
})
const CLS_SEP = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', '[MASK]']
const S_PAD = ['<s>', '<pad>', '</s>', '<unk>', '<mask>']
const bertShape = (fields = {}) => ({
  special: CLS_SEP,
  added_tokens: CLS_SEP.map(token => added(token)),
  normalizer: bert(),
  pre_tokenizer: step('BertPreTokenizer'),
  post_processor: step('BertProcessing', { sep: ['[SEP]', 3], cls: ['[CLS]', 2] }),
  decoder: wordPieceDecoder,
  model: wordPiece(),
  ...fields,
})
const gpt2Shape = (fields = {}) => ({
  allBytes: true,
  special: ['<|endoftext|>'],
  added_tokens: [added('<|endoftext|>')],
  pre_tokenizer: byteLevel(),
  post_processor: byteLevel({ trim_offsets: false }),
  decoder: byteLevel(),
  model: bpe(),
  ...fields,
})
const llamaDecoder = decoders(
  replace({ String: '\u2581' }, ' '),
  step('ByteFallback'),
  step('Fuse'),
  step('Strip', { content: ' ', start: 1, stop: 0 }),
)
const llamaShape = (fields = {}) => ({
  special: ['<unk>', '<s>', '</s>'],
  added_tokens: ['<unk>', '<s>', '</s>'].map(token => added(token)),
  normalizer: normalizers(step('Prepend', { prepend: '\u2581' }), replace({ String: ' ' }, '\u2581')),
  post_processor: template(['<s>'], [], ['<unk>', '<s>']),
  decoder: llamaDecoder,
  model: bpe({ unk_token: '<unk>', fuse_unk: true, byte_fallback: true }),
  ...fields,
})
const t5Shape = (fields = {}) => ({
  special: ['<unk>', '<pad>', '</s>'],
  added_tokens: ['<unk>', '<pad>', '</s>', '<extra_id_0>', '<extra_id_1>'].map(token => added(token)),
  normalizer: NMT_NFKC,
  pre_tokenizer: preTokenizers(step('WhitespaceSplit'), metaspace()),
  post_processor: template([], ['</s>'], ['<unk>', '<pad>', '</s>']),
  decoder: metaspace(),
  model: unigram(),
  ...fields,
})
const robertaShape = (fields = {}) =>
  gpt2Shape({
    special: S_PAD,
    added_tokens: S_PAD.map(token => added(token, token === '<mask>' ? { lstrip: true } : {})),
    post_processor: step('RobertaProcessing', {
      sep: ['</s>', 2],
      cls: ['<s>', 0],
      trim_offsets: true,
      add_prefix_space: false,
    }),
    ...fields,
  })
const clipPattern =
  "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
const tiktokenPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const newTiktokenPattern =
  "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}++|\\p{N}{1,3}+| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*+|\\s++$|\\s*[\\r\\n]|\\s+(?!\\S)|\\s"
const o200kPattern =
  "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
const kimiPattern =
  '[\\p{Han}]+|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lo}\\p{M}&&[^\\p{Han}]]*[\\p{Ll}\\p{Lo}\\p{M}&&[^\\p{Han}]]+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+'

/** By name; each is input for `trainedFile`. */
export const SHAPES = {
  'Falcon (Digits after ByteLevel)': gpt2Shape({
    pre_tokenizer: preTokenizers(
      step('Punctuation', { behavior: 'Contiguous' }),
      byteLevel(),
      digits(false),
      split('[0-9][0-9][0-9]'),
    ),
  }),
  'Falcon with individual digits': gpt2Shape({ pre_tokenizer: preTokenizers(byteLevel(), digits(true)) }),
  'GPT-2': gpt2Shape(),
  'GPT-NeoX (NFC, runs of spaces added)': gpt2Shape({
    normalizer: step('NFC'),
    added_tokens: [
      added('<|endoftext|>'),
      ...[4, 3, 2].map(n => added(' '.repeat(n), { special: false, normalized: true })),
    ],
  }),
  'Phi (runs of spaces not normalized)': gpt2Shape({
    added_tokens: [added('<|endoftext|>'), ...[8, 4, 2].map(n => added(' '.repeat(n), { special: false }))],
  }),
  'Phi-3 (added tokens with rstrip)': llamaShape({
    added_tokens: [
      ...['<unk>', '<s>'].map(token => added(token)),
      added('</s>', { rstrip: true }),
      ...['<|end|>', '<|user|>', '<|system|>'].map(token => added(token, { rstrip: true })),
    ],
  }),
  'Phi-4 (new patterns of tiktoken)': gpt2Shape({
    pre_tokenizer: preTokenizers(split(newTiktokenPattern, 'Removed', true), bytesOnly),
  }),
  'Llama 2': llamaShape(),
  'Llama 2, not legacy': llamaShape({
    normalizer: null,
    pre_tokenizer: metaspace('first', { split: false }),
    decoder: decoders(replace({ String: '\u2581' }, ' '), step('ByteFallback'), step('Fuse')),
  }),
  'Llama 3 (ignore_merges, template)': gpt2Shape({
    special: ['<|begin_of_text|>'],
    added_tokens: [added('<|begin_of_text|>')],
    pre_tokenizer: preTokenizers(split(tiktokenPattern), bytesOnly),
    post_processor: processors(byteLevel(), template(['<|begin_of_text|>'], [], ['<|begin_of_text|>'])),
    model: bpe({ ignore_merges: true }),
  }),
  'Mistral v1': llamaShape({
    added_tokens: ['<unk>', '<s>', '</s>'].map(token => added(token)),
    post_processor: template(['<s>'], [], ['<unk>', '<s>']),
  }),
  'Mistral v3 (control tokens, Metaspace first)': llamaShape({
    normalizer: null,
    pre_tokenizer: metaspace('first', { split: false }),
    added_tokens: ['<unk>', '<s>', '</s>', '[INST]', '[/INST]', '[TOOL_CALLS]'].map(token => added(token)),
  }),
  'Mistral Nemo (o200k pattern)': gpt2Shape({
    pre_tokenizer: preTokenizers(split(o200kPattern), bytesOnly),
    model: bpe({ ignore_merges: true }),
  }),
  'Gemma (spaces replaced, split of spaces)': llamaShape({
    special: ['<pad>', '<eos>', '<bos>', '<unk>'],
    added_tokens: [
      ...['<pad>', '<eos>', '<bos>', '<unk>'].map(token => added(token)),
      ...['\n', '\n\n', '\t', '<table>'].map(token => added(token, { special: false })),
    ],
    normalizer: replace({ String: ' ' }, '\u2581'),
    pre_tokenizer: splitText(' ', 'MergedWithPrevious'),
    post_processor: template(['<bos>'], [], ['<pad>', '<eos>', '<bos>']),
    decoder: decoders(replace({ String: '\u2581' }, ' '), step('ByteFallback'), step('Fuse')),
  }),
  'Qwen 2 (NFC)': gpt2Shape({
    normalizer: step('NFC'),
    pre_tokenizer: preTokenizers(split(tiktokenPattern.replace('{1,3}', '')), bytesOnly),
  }),
  'DeepSeek LLM (end of line)': gpt2Shape({
    normalizer: normalizers(),
    pre_tokenizer: preTokenizers(
      split('[\\r\\n]'),
      split('\\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳΑ-Ωа-я]+'),
      split('\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+'),
      split('\\s+$'),
      split('[一-龥ࠀ-一가-퟿]+'),
      digits(true),
      bytesOnly,
    ),
  }),
  'DeepSeek Coder': gpt2Shape({
    pre_tokenizer: preTokenizers(
      split('[\\r\\n]'),
      split('\\s?\\p{L}+'),
      split('\\s?\\p{P}+'),
      split('[一-龥ࠀ-一가-퟿]+'),
      digits(true),
      bytesOnly,
    ),
  }),
  'DeepSeek V3 (three splits)': gpt2Shape({
    pre_tokenizer: preTokenizers(
      split('\\p{N}{1,3}'),
      split('[一-龥぀-ゟ゠-ヿ]+'),
      split(
        '[!"#$%&\'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+',
      ),
      bytesOnly,
    ),
  }),
  'Kimi (intersections of classes)': gpt2Shape({ pre_tokenizer: preTokenizers(split(kimiPattern), bytesOnly) }),
  'digits grouped from the right': gpt2Shape({
    pre_tokenizer: preTokenizers(split('\\d{1,3}(?=(?:\\d{3})*\\b)'), byteLevel()),
  }),
  'digits split by look-ahead alone': gpt2Shape({
    pre_tokenizer: preTokenizers(digits(false), split('(?=(\\d{3})+(?!\\d))'), bytesOnly),
  }),
  'StarCoder (single digits)': gpt2Shape({ pre_tokenizer: preTokenizers(digits(true), byteLevel()) }),
  'BLOOM (nested class)': gpt2Shape({
    special: ['<unk>', '<s>', '</s>', '<pad>'],
    added_tokens: ['<unk>', '<s>', '</s>', '<pad>'].map(token => added(token)),
    pre_tokenizer: preTokenizers(split(' ?[^(\\s|[.,!?…。，、।۔،])]+'), bytesOnly),
  }),
  'Whisper (many special tokens)': gpt2Shape({
    added_tokens: ['<|endoftext|>', '<|startoftranscript|>', '<|en|>', '<|0.00|>', '<|0.02|>'].map((token, at) =>
      added(token, { special: at < 3, normalized: at >= 3 }),
    ),
    post_processor: template(['<|endoftext|>'], ['<|endoftext|>'], ['<|endoftext|>']),
  }),
  CLIP: gpt2Shape({
    special: ['<|startoftext|>', '<|endoftext|>'],
    added_tokens: [added('<|startoftext|>', { normalized: true }), added('<|endoftext|>', { normalized: false })],
    normalizer: normalizers(step('NFC'), replace({ Regex: '\\s+' }, ' '), step('Lowercase')),
    pre_tokenizer: preTokenizers(split(clipPattern, 'Removed', true), byteLevel()),
    post_processor: step('RobertaProcessing', {
      sep: ['<|endoftext|>', 1],
      cls: ['<|startoftext|>', 0],
      trim_offsets: false,
      add_prefix_space: false,
    }),
    model: bpe({ unk_token: '<|endoftext|>', continuing_subword_prefix: '', end_of_word_suffix: '</w>' }),
  }),
  'CLIP with U+2047 for unknown': gpt2Shape({
    allBytes: false,
    special: ['<unk>'],
    normalizer: step('Lowercase'),
    pre_tokenizer: split(clipPattern, 'Removed', true),
    decoder: step('BPEDecoder', { suffix: '</w>' }),
    model: bpe({ unk_token: '<unk>', end_of_word_suffix: '</w>' }),
  }),
  'GPT (suffix, BERT pre-tokenizer)': {
    special: ['<unk>'],
    normalizer: bert({ strip_accents: true }),
    pre_tokenizer: step('BertPreTokenizer'),
    decoder: step('BPEDecoder', { suffix: '</w>' }),
    model: bpe({ unk_token: '<unk>', end_of_word_suffix: '</w>' }),
  },
  'BPE with a prefix': {
    special: ['<unk>'],
    pre_tokenizer: step('Whitespace'),
    decoder: wordPieceDecoder,
    model: bpe({ unk_token: '<unk>', continuing_subword_prefix: '##' }),
  },
  'BPE with prefix and suffix': {
    special: ['<unk>'],
    pre_tokenizer: step('WhitespaceSplit'),
    decoder: step('BPEDecoder', { suffix: '@' }),
    model: bpe({ unk_token: '<unk>', fuse_unk: true, continuing_subword_prefix: '_', end_of_word_suffix: '@' }),
  },
  RoBERTa: robertaShape(),
  'RoBERTa with a space in front': robertaShape({ pre_tokenizer: byteLevel({ add_prefix_space: true }) }),
  'BART with a mask that takes spaces': robertaShape({
    added_tokens: S_PAD.map(token => added(token, { lstrip: token === '<mask>', normalized: true })),
  }),
  Longformer: robertaShape({ normalizer: step('NFKC') }),
  'BERT, uncased': bertShape(),
  'BERT, cased': bertShape({ normalizer: bert({ lowercase: false, strip_accents: false }) }),
  'BERT, Chinese characters together': bertShape({ normalizer: bert({ handle_chinese_chars: false }) }),
  'BERT, short words only': bertShape({ model: wordPiece({ max_input_chars_per_word: 5 }) }),
  'Electra (not cleaned)': bertShape({ normalizer: bert({ clean_text: false }) }),
  'DistilBERT with a template': bertShape({ post_processor: template(['[CLS]'], ['[SEP]'], CLS_SEP) }),
  'MiniLM with truncation and padding': bertShape({
    truncation: { direction: 'Right', max_length: 16, strategy: 'LongestFirst', stride: 0 },
    padding: {
      strategy: 'BatchLongest',
      direction: 'Right',
      pad_to_multiple_of: null,
      pad_id: 0,
      pad_type_id: 0,
      pad_token: '[PAD]',
    },
  }),
  'MPNet (WordPiece with the ids of RoBERTa)': bertShape({
    special: ['<s>', '<pad>', '</s>', '[UNK]'],
    added_tokens: ['<s>', '<pad>', '</s>', '[UNK]'].map(token => added(token)),
    post_processor: step('RobertaProcessing', {
      sep: ['</s>', 2],
      cls: ['<s>', 0],
      trim_offsets: true,
      add_prefix_space: false,
    }),
  }),
  'DeBERTa (byte-level)': robertaShape({
    special: CLS_SEP,
    added_tokens: CLS_SEP.map(token => added(token, { lstrip: token === '[MASK]' })),
    post_processor: template(['[CLS]'], ['[SEP]'], CLS_SEP),
  }),
  'DeBERTa v3 (Unigram)': t5Shape({
    special: ['[PAD]', '[CLS]', '[SEP]', '[UNK]'],
    added_tokens: ['[PAD]', '[CLS]', '[SEP]', '[UNK]', '[MASK]'].map(token =>
      added(token, { normalized: token === '[UNK]' }),
    ),
    normalizer: normalizers(
      step('Strip', { strip_left: true, strip_right: true }),
      NMT_NFKC,
      replace({ Regex: ' {2,}' }, ' '),
    ),
    pre_tokenizer: metaspace(),
    post_processor: template(['[CLS]'], ['[SEP]'], ['[PAD]', '[CLS]', '[SEP]']),
    model: unigram({ unk_id: 3 }),
  }),
  'ALBERT (quotes, NFKD, accents)': t5Shape({
    special: ['<pad>', '<unk>', '[CLS]', '[SEP]'],
    normalizer: normalizers(
      replace({ String: '``' }, '"'),
      replace({ String: "''" }, '"'),
      step('NFKD'),
      step('StripAccents'),
      step('Lowercase'),
      NMT_NFKC,
    ),
    pre_tokenizer: preTokenizers(step('WhitespaceSplit'), metaspace()),
    post_processor: template(['[CLS]'], ['[SEP]'], ['<pad>', '<unk>', '[CLS]', '[SEP]']),
    model: unigram({ unk_id: 1 }),
  }),
  'XLNet (spaces kept)': t5Shape({
    normalizer: normalizers(replace({ String: '``' }, '"'), NMT_NFKC, replace({ Regex: ' {2,}' }, ' ')),
    pre_tokenizer: metaspace(),
  }),
  T5: t5Shape(),
  'mT5 (byte fallback)': t5Shape({
    model: unigram({ byte_fallback: true }),
    decoder: decoders(step('ByteFallback'), metaspace()),
  }),
  'XLM-R': t5Shape({
    special: S_PAD,
    added_tokens: S_PAD.map(token => added(token, { lstrip: token === '<mask>' })),
    normalizer: normalizers(NMT_NFKC, replace({ Regex: ' {2,}' }, ' ')),
    pre_tokenizer: metaspace(),
    post_processor: template(['<s>'], ['</s>'], S_PAD),
    model: unigram({ unk_id: 3 }),
  }),
  'XLM-R, older (WhitespaceSplit, str_rep)': t5Shape({
    pre_tokenizer: preTokenizers(
      step('WhitespaceSplit'),
      step('Metaspace', { replacement: '\u2581', str_rep: '\u2581', add_prefix_space: true }),
    ),
    decoder: step('Metaspace', { replacement: '\u2581', add_prefix_space: true }),
  }),
  'CamemBERT (tokens not normalized)': t5Shape({
    special: ['<s>', '<pad>', '</s>', '<unk>'],
    added_tokens: ['<s>NOTUSED', '<s>', '</s>NOTUSED', '</s>', '<unk>', '<unk>NOTUSED'].map(token => added(token)),
    model: unigram({ unk_id: 3 }),
  }),
  'mBART (language codes)': t5Shape({
    added_tokens: ['<unk>', 'en_XX', 'de_DE', '<mask>'].map(token => added(token, { lstrip: token === '<mask>' })),
    post_processor: template([], ['</s>', '<pad>'], ['<unk>', '<pad>', '</s>']),
  }),
  'NLLB (BPE, codes in front)': llamaShape({
    normalizer: normalizers(NMT_NFKC, replace({ Regex: ' {2,}' }, ' ')),
    pre_tokenizer: metaspace(),
    added_tokens: ['<unk>', '<s>', '</s>', 'eng_Latn', 'fra_Latn'].map(token => added(token)),
    decoder: metaspace(),
    model: bpe({ unk_token: '<unk>', fuse_unk: true }),
  }),
  'M2M (single_word codes)': t5Shape({
    added_tokens: ['__en__', '__de__', 'the'].map(token =>
      added(token, { single_word: true, special: false, normalized: true }),
    ),
  }),
  'Marian (no prefix in the middle)': t5Shape({
    pre_tokenizer: metaspace('first'),
    normalizer: normalizers(step('Nmt'), step('NFKC'), replace({ Regex: '\\s+' }, ' ')),
  }),
  'PEGASUS (masks)': t5Shape({
    added_tokens: ['<pad>', '</s>', '<mask_1>', '<mask_2>', '<unk_2>'].map(token => added(token)),
    pre_tokenizer: preTokenizers(step('WhitespaceSplit'), metaspace()),
  }),
  'SentencePiece converted, without dummy prefix': t5Shape({ pre_tokenizer: metaspace('never') }),
  'SentencePiece converted, split off': t5Shape({ pre_tokenizer: metaspace('always', { split: false }) }),
  'SentencePiece converted, no unknown id': t5Shape({ model: unigram({ unk_id: null, byte_fallback: true }) }),
  'Unigram on scripts': t5Shape({ pre_tokenizer: preTokenizers(step('UnicodeScripts'), metaspace()) }),
  'Unigram without pre-tokenizer': t5Shape({
    pre_tokenizer: null,
    normalizer: normalizers(step('NFKC'), step('Lowercase'), step('Strip', { strip_left: true, strip_right: true })),
  }),
  'byte fallback with unknown tokens fused': llamaShape({ normalizer: null, pre_tokenizer: step('Whitespace') }),
  'no fallback, unknown not fused': llamaShape({ model: bpe({ unk_token: '<unk>' }) }),
  'unknown token only added': {
    special: ['a'],
    added_tokens: [added('<unk>')],
    pre_tokenizer: step('Whitespace'),
    decoder: step('Fuse'),
    model: bpe({ unk_token: '<unk>' }),
  },
  'ignore_merges without a pre-tokenizer': llamaShape({
    model: bpe({ unk_token: '<unk>', byte_fallback: true, ignore_merges: true }),
  }),
  'WordLevel, punctuation isolated': {
    special: ['[UNK]'],
    normalizer: normalizers(step('NFD'), step('Lowercase'), step('StripAccents')),
    pre_tokenizer: preTokenizers(step('Whitespace'), step('Punctuation', { behavior: 'Isolated' })),
    decoder: null,
    model: wordLevel,
  },
  'WordLevel, CharDelimiterSplit': {
    special: ['[UNK]'],
    normalizer: step('Lowercase'),
    pre_tokenizer: step('CharDelimiterSplit', { delimiter: ' ' }),
    model: wordLevel,
  },
  'WordLevel, punctuation joined to the word before': {
    special: ['[UNK]'],
    pre_tokenizer: preTokenizers(step('WhitespaceSplit'), step('Punctuation', { behavior: 'MergedWithPrevious' })),
    model: wordLevel,
  },
  'CTC (wav2vec 2)': {
    special: ['<pad>', '[UNK]', '|'],
    normalizer: normalizers(step('Lowercase'), replace({ String: ' ' }, '|')),
    pre_tokenizer: split('.'),
    decoder: step('CTC', { pad_token: '<pad>', word_delimiter_token: '|', cleanup: true }),
    model: wordLevel,
  },
  'byte-level normalizer instead of pre-tokenizer': gpt2Shape({
    normalizer: normalizers(step('NFC'), step('ByteLevel')),
    pre_tokenizer: split('Ġ?[^Ġ]+'),
  }),
  'added tokens created by normalization': gpt2Shape({
    normalizer: step('NFKC'),
    added_tokens: [added('fi', { normalized: true, special: false }), added('①', { normalized: true }), added('Ⅷ')],
  }),
  'the last duplicate of an added token wins': gpt2Shape({
    added_tokens: [
      added('the', { lstrip: true }),
      added('the', { special: false, rstrip: true }),
      added('a b', { single_word: true }),
    ],
  }),
}
