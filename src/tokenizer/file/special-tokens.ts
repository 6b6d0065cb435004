/** Declares further special tokens in a tokenizer.json, as `add_special_tokens` of transformers does. */
import type { Json } from './tokenizer-fields.js'

/**
 * A tokenizer.json in which each of these texts is matched before normal tokenization. A token of the vocabulary keeps its
 * id; a new one gets the next free id.
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
