/** Tokenizer files that the Rust library trains during the test, and additions of character models. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Tokenizer as RustTokenizer } from 'tokenizers'
import { tokenOfBytes } from '#src/tokenizer/engine/byte-level'
import { emptyJson, type TokenizerJson } from './fixtures.js'

export const METASPACE = { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true }
export const BYTE_TOKENS = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
)

/** A vocabulary of up to 30,000 tokens, depending on the text. */
export function trainedJson(preTokenizer: object, text: string): TokenizerJson {
  const folder = mkdtempSync(join(tmpdir(), 'penstock-train-'))
  const corpus = join(folder, 'corpus.txt')
  writeFileSync(corpus, text)
  const rust = RustTokenizer.fromString(JSON.stringify(emptyJson(preTokenizer)))
  rust.train([corpus])
  const target = join(folder, 'tokenizer.json')
  rust.save(target)
  const json = JSON.parse(readFileSync(target, 'utf8')) as TokenizerJson
  rmSync(folder, { recursive: true })
  return json
}

/** Appends tokens to the vocabulary. */
export function withTokens(json: TokenizerJson, tokens: readonly string[], options: object = {}): TokenizerJson {
  const vocab = { ...json.model.vocab }
  let size = Object.keys(vocab).length
  for (const token of tokens) vocab[token] ??= size++
  return { ...json, model: { ...json.model, vocab, ...options } }
}

/** Adds a token for each byte, including those that the trainer did not see. */
export function withAllBytes(json: TokenizerJson): TokenizerJson {
  return withTokens(
    json,
    Array.from({ length: 256 }, (_, byte) => tokenOfBytes(Uint8Array.of(byte))),
  )
}

export const added = (content: string, flags: object = {}): object => ({
  id: 0,
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
  ...flags,
})

/** Turns a vocabulary trained with METASPACE into a model like Llama 2: byte fallback, spaces by normalization. */
export function llama2Json(spaced: TokenizerJson): TokenizerJson {
  return {
    ...withTokens(spaced, ['<unk>', '<s>', ...BYTE_TOKENS], {
      byte_fallback: true,
      unk_token: '<unk>',
      fuse_unk: true,
    }),
    added_tokens: [added('<unk>'), added('<s>')],
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Prepend', prepend: '\u2581' },
        { type: 'Replace', pattern: { String: ' ' }, content: '\u2581' },
      ],
    },
    pre_tokenizer: null,
    decoder: {
      type: 'Sequence',
      decoders: [
        { type: 'Replace', pattern: { String: '\u2581' }, content: ' ' },
        { type: 'ByteFallback' },
        { type: 'Fuse' },
        { type: 'Strip', content: ' ', start: 1, stop: 0 },
      ],
    },
  }
}

/** A post-processor that adds `token` before every text. */
export function startingWith(token: string, json: TokenizerJson): object {
  return {
    type: 'TemplateProcessing',
    single: [{ SpecialToken: { id: token, type_id: 0 } }, { Sequence: { id: 'A', type_id: 0 } }],
    pair: [],
    special_tokens: { [token]: { id: token, ids: [json.model.vocab[token]], tokens: [token] } },
  }
}
