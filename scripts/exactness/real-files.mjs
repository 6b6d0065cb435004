/** Tokenizer files that packages ship, found in folders of unpacked packages, and those made of plain vocabularies. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { BYTE_CHARACTERS } from '../../dist/tokenizer/engine/byte-level.js'
import { readMessage, textOf } from '../../dist/tokenizer/file/read-protobuf.js'

const empty = { version: '1.0', truncation: null, padding: null, added_tokens: [], post_processor: null, decoder: null }

/** BERT, uncased, from a list of tokens. */
export function bertJson(tokens) {
  const normalizer = {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  }
  const id = token => [token, tokens.indexOf(token)]
  return {
    ...empty,
    normalizer,
    pre_tokenizer: { type: 'BertPreTokenizer' },
    post_processor: { type: 'BertProcessing', sep: id('[SEP]'), cls: id('[CLS]') },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
    model: {
      type: 'WordPiece',
      unk_token: '[UNK]',
      continuing_subword_prefix: '##',
      max_input_chars_per_word: 100,
      vocab: Object.fromEntries(tokens.map((token, at) => [token, at])),
    },
  }
}

/** CLIP, from its list of merges. */
export function clipJson(merges) {
  const pairs = merges.map(merge => merge.split(' '))
  // Printable bytes come before the others.
  const bytes = BYTE_CHARACTERS.toSorted((a, b) => a.codePointAt(0) - b.codePointAt(0))
  const tokens = [...bytes, ...bytes.map(byte => `${byte}</w>`), ...pairs.map(pair => pair.join(''))]
  const Regex = "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
  const split = { type: 'Split', pattern: { Regex }, behavior: 'Removed', invert: true }
  const byteLevel = { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true }
  const replace = { type: 'Replace', pattern: { Regex: '\\s+' }, content: ' ' }
  const vocab = Object.fromEntries(
    [...new Set(tokens), '<|startoftext|>', '<|endoftext|>'].map((token, at) => [token, at]),
  )
  return {
    ...empty,
    normalizer: { type: 'Sequence', normalizers: [{ type: 'NFC' }, replace, { type: 'Lowercase' }] },
    pre_tokenizer: { type: 'Sequence', pretokenizers: [split, byteLevel] },
    decoder: byteLevel,
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: '<|endoftext|>',
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges: pairs,
    },
  }
}

/** T5 and XLM-R, from a list of pieces with scores and a character map in base64. */
export function unigramJson(pieces, characterMap, unknownId) {
  const replace = { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '\u2581' }
  const precompiled = characterMap === '' ? [] : [{ type: 'Precompiled', precompiled_charsmap: characterMap }]
  const strip = { type: 'Strip', strip_left: false, strip_right: true }
  const metaspace = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true }
  return {
    ...empty,
    normalizer: { type: 'Sequence', normalizers: [...precompiled, strip, replace] },
    pre_tokenizer: metaspace,
    decoder: metaspace,
    model: { type: 'Unigram', unk_id: unknownId, byte_fallback: false, vocab: pieces },
  }
}

/** The pieces of a SentencePiece Unigram model as T5's converter takes them. */
export function unigramJsonOf(model) {
  const proto = readMessage(model)
  const pieces = proto.messages(1).map(piece => [textOf(piece.bytes(1)), piece.float(2) ?? 0])
  const types = proto.messages(1).map(piece => piece.integer(3) ?? 1)
  const map = proto.messages(3)[0]?.bytes(2)
  return unigramJson(pieces, map === undefined ? '' : Buffer.from(map).toString('base64'), types.indexOf(2))
}

/** A vocabulary of words, each one token. */
export function wordLevelJson(words) {
  return {
    ...empty,
    normalizer: { type: 'Lowercase' },
    pre_tokenizer: { type: 'Whitespace' },
    model: { type: 'WordLevel', unk_token: '[UNK]', vocab: Object.fromEntries(words.map((word, at) => [word, at])) },
  }
}

const linesOf = bytes => bytes.toString().trimEnd().split('\n')

/** Tokenizers made of the files whose names match. */
const READERS = [
  [/vocab\.json$/, 'BERT', bytes => bertJson(['[PAD]', '[UNK]', '[CLS]', '[SEP]', ...JSON.parse(bytes)])],
  [/vocab\.txt$/, 'BERT', bytes => bertJson(linesOf(bytes))],
  [/vocab\.txt$/, 'WordLevel', bytes => wordLevelJson(linesOf(bytes))],
  [/bpe_simple_vocab_16e6\.txt\.gz$/, 'CLIP', bytes => clipJson(linesOf(gunzipSync(bytes)).slice(1, 48895))],
  [/sentencepiece\.model$/, 'T5', unigramJsonOf],
  [/tokenizer[^/]*(?<!config)\.json$/i, 'tokenizer.json', bytes => JSON.parse(bytes)],
]

/** Name and content, read on demand, of each tokenizer in a folder of unpacked packages. */
export function* realTokenizers(folder) {
  for (const entry of readdirSync(folder, { recursive: true }).toSorted()) {
    for (const [pattern, kind, make] of READERS) {
      if (!pattern.test(entry)) continue
      const read = () => make(readFileSync(join(folder, entry)))
      yield { name: kind === 'tokenizer.json' ? entry : `${entry} (${kind})`, read }
    }
  }
}
