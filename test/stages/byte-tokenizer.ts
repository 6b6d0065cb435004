/** A minimal byte-level tokenizer.json: 256 bytes, three merges, one special token. */
const byteCharacters = (): string[] => {
  const shown = (byte: number): boolean => (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174
  let next = 256
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(shown(byte) ? byte : next++))
}

export const END = '<|endoftext|>'

export function byteTokenizer(): object {
  const merges = ['l i', 'n e', 'li ne']
  const tokens = [...byteCharacters(), ...merges.map(merge => merge.replace(' ', ''))]
  const level = { add_prefix_space: false, trim_offsets: true, use_regex: true }
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [
      {
        id: tokens.length,
        content: END,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      },
    ],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', ...level },
    post_processor: { type: 'ByteLevel', ...level },
    decoder: { type: 'ByteLevel', ...level },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  }
}
