/** Compares tokenizers with the Rust library on the same file and the same texts. */
import { Tokenizer as RustTokenizer } from 'tokenizers'
import { loadTokenizer } from '#src/tokenizer/tokenizer'
import { kernelModule } from '#src/workers/tokenizer/kernel-module'
import { randomFrom, randomText, type TokenizerJson } from './fixtures.js'

/** Compares ids on random texts; returns the first text that differs. */
export async function firstDifference(json: TokenizerJson, texts: readonly string[]): Promise<object | undefined> {
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

export function fuzz(seed: number, count: number): string[] {
  const random = randomFrom(seed)
  return ['', ' ', '\n', 'a', ...Array.from({ length: count }, () => randomText(random))]
}
