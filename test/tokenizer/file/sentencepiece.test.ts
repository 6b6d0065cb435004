import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { loadSentencePiece } from '#src/tokenizer/tokenizer'

const fixture = (name: string): Buffer => readFileSync(new URL(`../../fixtures/sentencepiece/${name}`, import.meta.url))

interface Expected {
  vocabSize: number
  cases: { text: string; ids: number[]; decoded: string }[]
}

describe('models trained with the library of Google, and its ids (test/fixtures/sentencepiece/make.py)', () => {
  for (const name of ['bpe-bytes', 'bpe-rules', 'unigram-rules', 'unigram-bytes']) {
    const tokenizer = loadSentencePiece(fixture(`${name}.model`))
    const { vocabSize, cases } = JSON.parse(fixture(`${name}.json`).toString()) as Expected

    it(`${name}: gives the same ids and texts`, () => {
      expect(tokenizer.vocabSize).toBe(vocabSize)
      const different = cases.filter(({ text, ids }) => tokenizer.encode(text).join() !== ids.join())
      expect(different.map(({ text, ids }) => ({ text, ids, ours: [...tokenizer.encode(text)] })).slice(0, 3)).toEqual(
        [],
      )
      const undecoded = cases.filter(({ ids, decoded }) => tokenizer.decode(ids) !== decoded)
      expect(undecoded.map(({ ids, decoded }) => ({ decoded, ours: tokenizer.decode(ids) })).slice(0, 3)).toEqual([])
    })
  }
})

it('rejects other files', () => {
  for (const bytes of [[], [1], [0x0a, 0xff], [0x0a, 0x03, 0x0a, 0x01, 0x61]]) {
    expect(() => loadSentencePiece(Uint8Array.from(bytes))).toThrow(
      expect.objectContaining({ code: 'TOKENIZER_INVALID' }),
    )
  }
})
