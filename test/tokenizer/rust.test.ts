import { Tokenizer as RustTokenizer } from 'tokenizers'
import { describe, expect, it } from 'vitest'
import { kernelModule } from '#src/stages/kernel-module'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import {
  gpt2Json,
  hasGpt2,
  jsonFromTiktoken,
  PRE_TOKENIZERS,
  randomFrom,
  randomText,
  type TokenizerJson,
} from './fixtures.js'

/** Compares ids on fuzzed texts; returns the first text that differs. */
async function firstDifference(json: TokenizerJson, texts: readonly string[]): Promise<object | undefined> {
  const file = JSON.stringify(json)
  const ours = loadTokenizer(file)
  const kernel = loadTokenizer(file, { wasm: kernelModule() })
  const rust = RustTokenizer.fromString(file)
  const encodings = await rust.encodeBatch([...texts])
  for (const [index, text] of texts.entries()) {
    const expected = encodings[index]!.getIds()
    const found = [...ours.encode(text)]
    if (expected.join() !== found.join()) {
      return {
        text: JSON.stringify(text),
        expected: encodings[index]!.getTokens(),
        found: found.map(id => rust.idToToken(id)),
      }
    }
    if (expected.join() !== kernel.encode(text).join()) {
      return { text: JSON.stringify(text), expected: expected.join(), kernel: kernel.encode(text).join() }
    }
    const decoded = await rust.decode(expected, false)
    if (ours.decode(found) !== decoded) return { text, expected: decoded, found: ours.decode(found) }
  }
  return undefined
}

function fuzz(seed: number, count: number): string[] {
  const random = randomFrom(seed)
  return ['', ' ', '\n', 'a', ...Array.from({ length: count }, () => randomText(random))]
}

describe.skipIf(!hasGpt2)('with the GPT-2 vocabulary (needs ../shared/reference)', () => {
  for (const [name, preTokenizer] of Object.entries(PRE_TOKENIZERS)) {
    it(`gives the ids of the Rust library with the pre-tokenizer of ${name}`, async () => {
      expect(await firstDifference({ ...gpt2Json(), pre_tokenizer: preTokenizer }, fuzz(1, 2000))).toBeUndefined()
    })
  }

  for (const form of ['NFC', 'NFKC', 'NFD', 'NFKD']) {
    it(`gives them after ${form}`, async () => {
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
