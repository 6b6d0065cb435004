/**
 * A trained vocabulary as `tokenizer.json`, identical to the file that the Rust library saves: byte-level BPE, GPT-2's
 * pre-tokenizer, byte-level decoder, the special tokens as added tokens.
 */
import type { TrainedBpe } from './train-merges.js'

/** The file's text. `preTokenizer` replaces the default, ByteLevel with GPT-2's pattern. */
export function toTokenizerJson(trained: TrainedBpe, preTokenizer: object = byteLevel(false)): string {
  const addedTokens = trained.specialTokens.map(content => ({
    id: trained.vocab.indexOf(content),
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }))
  const model = {
    type: 'BPE',
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    vocab: null,
    merges: trained.merges.map(([left, right]) => [trained.vocab[left], trained.vocab[right]]),
  }
  const file = {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: addedTokens,
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor: null,
    decoder: byteLevel(true),
    model,
  }
  return JSON.stringify(file, null, 2).replace('"vocab": null', () => `"vocab": ${vocabText(trained.vocab)}`)
}

function byteLevel(addPrefixSpace: boolean): object {
  return { type: 'ByteLevel', add_prefix_space: addPrefixSpace, trim_offsets: true, use_regex: true }
}

/** Written by hand: an object would move the tokens "0" to "9" and all other integers to the front. */
function vocabText(vocab: readonly string[]): string {
  return `{\n${vocab.map((text, id) => `      ${JSON.stringify(text)}: ${id}`).join(',\n')}\n    }`
}
