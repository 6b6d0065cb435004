import { describe, expect, it } from 'vitest'
import { gpt2Json, hasGpt2, jsonFromTiktoken, PRE_TOKENIZERS } from './fixtures.js'
import { firstDifference, fuzz } from './judge.js'

describe.skipIf(!hasGpt2)('with the GPT-2 vocabulary (needs ../shared/reference)', () => {
  for (const [name, preTokenizer] of Object.entries(PRE_TOKENIZERS)) {
    it(`gives the ids of the Rust library with the pre-tokenizer of ${name}`, async () => {
      expect(await firstDifference({ ...gpt2Json(), pre_tokenizer: preTokenizer }, fuzz(1, 2000))).toBeUndefined()
    })
  }

  for (const form of ['NFC', 'NFKC', 'NFD', 'NFKD']) {
    it(`gives the ids of the Rust library after ${form}`, async () => {
      expect(await firstDifference({ ...gpt2Json(), normalizer: { type: form } }, fuzz(2, 1000))).toBeUndefined()
    })
  }
})

describe('with the vocabularies of tiktoken', () => {
  it('gives the ids of the Rust library for cl100k', async () => {
    expect(
      await firstDifference(jsonFromTiktoken('cl100k_base', PRE_TOKENIZERS.llama3!), fuzz(3, 1500)),
    ).toBeUndefined()
  })
  it('gives the ids of the Rust library for o200k', async () => {
    expect(await firstDifference(jsonFromTiktoken('o200k_base', PRE_TOKENIZERS.o200k!), fuzz(4, 1500))).toBeUndefined()
  })
})
