/** Tokenizer files that never finish loading. */
import { byteTokenizer } from '../../stages/byte-tokenizer.js'

type Base = { added_tokens: object[] }

/** Each of many patterns needs a large automaton. */
export function hangsAtLoad(): object {
  const base = byteTokenizer() as Base & { pre_tokenizer: object }
  const others = [...'cdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'].join('|')
  const pattern = { Regex: `(a|b)*a(a|b){7}|${others}` }
  const split = { type: 'Split', pattern, behavior: 'Isolated', invert: false }
  const pretokenizers = [...Array.from({ length: 60 }, () => split), base.pre_tokenizer]
  return { ...base, pre_tokenizer: { type: 'Sequence', pretokenizers } }
}

/** Every normalizer doubles the added token. */
export function growsAtLoad(): object {
  const base = byteTokenizer() as Base
  const token = { id: 300, content: 'a'.repeat(40), single_word: false, lstrip: false, rstrip: false, special: true }
  const double = { type: 'Replace', pattern: { String: 'a' }, content: 'aa' }
  return {
    ...base,
    normalizer: { type: 'Sequence', normalizers: Array.from({ length: 40 }, () => double) },
    added_tokens: [...base.added_tokens, { ...token, normalized: true }],
  }
}
