/** One random tokenizer, by its seed. */
import { compare } from './compare.mjs'
import { minimize } from './minimize.mjs'
import { randomFrom } from './random.mjs'
import { randomText } from './random-text.mjs'
import { randomTokenizer } from './random-tokenizer.mjs'

const TEXTS = 20

export async function fuzzOne(seed) {
  const random = randomFrom(seed)
  const made = randomTokenizer(random)
  if (made === undefined) return { invalid: 'the Rust library rejects the steps' }
  const { json, pieces, tokenCount } = made
  const texts = random.list(TEXTS, index => randomText(random, pieces, index < 4 ? 4 : 40))
  const ids = random.list(TEXTS, () => random.list(random.below(12), () => random.below(tokenCount + 2)))
  const result = await compare(json, texts, ids)
  if (result.difference === undefined) return { kind: json.model.type ?? 'no type', ...result }
  const fails = async (file, text) => (await compare(file, [text])).difference !== undefined
  const { text } = result.difference
  if (text === undefined) return { difference: result.difference, json }
  if (!(await fails(json, text))) return { difference: result.difference, json, alone: 'passes' }
  const smaller = await minimize(json, text, fails)
  return { difference: (await compare(smaller.json, [smaller.text])).difference, json: smaller.json }
}
