/** Tokens that a tokenizer.json does not list as special, made so as `add_special_tokens` of transformers does it. */
import type { Json } from './tokenizer-fields.js'

/**
 * A tokenizer.json in which each of these texts is found before anything else in a text. A token of the vocabulary keeps
 * its id; one that is new gets the next.
 */
export function withSpecialTokens(json: object, contents: readonly string[]): object {
  const file = json as { readonly added_tokens?: readonly Json[] | null }
  const added = [...(file.added_tokens ?? [])]
  for (const content of contents) {
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true }
    const known = added.findIndex(token => token.content === content)
    if (known >= 0) added[known] = { ...added[known], ...flags }
    else added.push({ content, ...flags })
  }
  return { ...file, added_tokens: added }
}
