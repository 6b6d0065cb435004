/** The pieces of a SentencePiece Unigram model as T5's converter takes them. */
export function unigramJsonOf(model: Uint8Array): {
  readonly normalizer: { readonly normalizers: readonly object[] }
  readonly pre_tokenizer: object
}
