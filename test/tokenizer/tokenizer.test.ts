import { describe, expect, it } from 'vitest'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { describeWithGpt2, gpt2Json, PRE_TOKENIZERS, randomFrom, randomText, type TokenizerJson } from './fixtures.js'

/** The same vocabulary with one token whose id needs more than 16 bits. */
function wide(json: TokenizerJson): TokenizerJson {
  return { ...json, model: { ...json.model, vocab: { ...json.model.vocab, '\u0120far\u0120away': 70_000 } } }
}

describeWithGpt2('a tokenizer', () => {
  for (const wasm of [undefined, kernelModule()]) {
    describe(wasm === undefined ? 'in TypeScript' : 'in WebAssembly', () => {
      const tokenizer = loadTokenizer(gpt2Json(), { wasm })

      it('round-trips every text', () => {
        const random = randomFrom(41)
        for (let i = 0; i < 500; i++) {
          const text = randomText(random)
          expect(tokenizer.decode(tokenizer.encode(text))).toBe(text)
        }
      })

      it('encodes a batch like its single documents, at every offset', () => {
        const random = randomFrom(42)
        for (const json of [gpt2Json(), wide(gpt2Json()), { ...gpt2Json(), pre_tokenizer: PRE_TOKENIZERS.roberta! }]) {
          const batcher = loadTokenizer(json, { wasm })
          const parts = ['left out', '', ...Array.from({ length: 50 }, () => randomText(random))].map(text =>
            Buffer.from(text),
          )
          const offsets = Uint32Array.from([
            0,
            ...parts.map((_, i) => Buffer.concat(parts.slice(0, i + 1)).length),
          ]).subarray(1)
          const { tokens, lengths } = batcher.encodeBatch(Buffer.concat(parts), offsets)
          const single = parts.slice(1).map(part => batcher.encodeBytes(part))
          expect([...lengths]).toEqual(single.map(ids => ids.length))
          expect([...tokens]).toEqual(single.flatMap(ids => [...ids]))
          expect(tokens).toBeInstanceOf(batcher.totalSize > 0x10000 ? Uint32Array : Uint16Array)
        }
      })

      it('encodes only the given range', () => {
        expect(tokenizer.encodeBytes(Buffer.from('xx Hello worldyy'), 2, 14)).toEqual(tokenizer.encode(' Hello world'))
        expect(tokenizer.encodeBatch(Buffer.from('x'), new Uint32Array(0)).lengths).toHaveLength(0)
      })

      it('reports its sizes and ids', () => {
        expect(tokenizer).toMatchObject({ vocabSize: 50_257, totalSize: 50_257, how: { fast: true } })
        expect(tokenizer.engineInfo.why).toContain(wasm === undefined ? 'TypeScript' : 'WebAssembly')
        expect(tokenizer.idOf('<|endoftext|>')).toBe(50_256)
        expect(tokenizer.idOf('no such token')).toBeUndefined()
        expect(loadTokenizer(wide(gpt2Json()), { wasm })).toMatchObject({ vocabSize: 50_258, totalSize: 70_001 })
      })

      it('makes a lone surrogate U+FFFD and keeps a byte-order mark', () => {
        expect(tokenizer.decode(tokenizer.encode('a\ud800b\ufeff'))).toBe('a\ufffdb\ufeff')
      })

      it('gives one sentence its known tokens', () => {
        // From the Rust library. If these change, all files packed so far become unusable.
        expect([...tokenizer.encode("Language models can't count  to ten.")]).toEqual([
          32065, 4981, 460, 470, 954, 220, 284, 3478, 13,
        ])
      })
    })
  }
})
