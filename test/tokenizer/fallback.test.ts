import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { loadAnyTokenizer } from '#src/tokenizer/fallback'
import { createPackKernel } from '#src/tokenizer/pack-lines'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { emptyJson } from './fixtures.js'

const wordPiece = {
  ...emptyJson({ type: 'BertPreTokenizer' }),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: { '[UNK]': 0, the: 1, walk: 2, '##ing': 3, dog: 4, '##s': 5, '.': 6 },
  },
}
const unigram = {
  ...emptyJson({ type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true }),
  decoder: { type: 'Metaspace', replacement: '\u2581', prepend_scheme: 'always', split: true },
  model: {
    type: 'Unigram',
    unk_id: 0,
    byte_fallback: false,
    vocab: [
      ['<unk>', 0],
      ['\u2581', -2],
      ['\u2581walk', -3],
      ['ing', -3],
      ['w', -5],
      ['a', -5],
      ['l', -5],
      ['k', -5],
      ['s', -4],
    ],
  },
}

describe('tokenizers that our engines do not support', () => {
  for (const [name, json] of Object.entries({ wordPiece, unigram })) {
    it(`run on another library with the Rust library's ids: ${name}`, async () => {
      expect(() => loadTokenizer(json)).toThrow(expect.objectContaining({ code: 'UNSUPPORTED' }))
      const tokenizer = await loadAnyTokenizer(json)
      expect(tokenizer.engineInfo).toMatchObject({
        fast: false,
        why: expect.stringContaining('@huggingface/tokenizers'),
      })
      const rust = RustTokenizer.fromString(JSON.stringify(json))
      for (const text of ['the dogs walking', 'walks walks', 'unknown']) {
        expect([...tokenizer.encode(text)], text).toEqual((await rust.encode(text)).getIds())
      }
      const bytes = new TextEncoder().encode('{"text":"walking"}\nnope\n{"text":"walk"}')
      const packed = createPackKernel({ tokenizer, field: 'text', eodId: 0, width: 2 }).pack(bytes)
      expect([...packed.statuses]).toEqual([0, 1, 0])
      expect([...packed.tokens]).toEqual([...tokenizer.encode('walking'), 0, ...tokenizer.encode('walk'), 0])
    })
  }

  it('are rejected if encoding is random', async () => {
    const json = { ...emptyJson(null), model: { ...emptyJson(null).model, vocab: { a: 0 }, dropout: 0.1 } }
    await expect(loadAnyTokenizer(json)).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it('are rejected as invalid if they are not tokenizer files', async () => {
    for (const text of ['', '[]', '{', '{"model":{}}', '{"model":{"type":"BPE","vocab":{"a":-1},"merges":[]}}']) {
      await expect(loadAnyTokenizer(text), text).rejects.toThrow()
    }
    const broken = { ...emptyJson(null), model: { type: 'BPE', vocab: { a: 0 }, merges: ['a b'] } }
    await expect(loadAnyTokenizer(broken)).rejects.toMatchObject({ code: 'TOKENIZER_INVALID' })
  })
})
