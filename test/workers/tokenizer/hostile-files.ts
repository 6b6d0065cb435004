/** Tokenizer files that never finish loading. */
import { byteTokenizer } from '../../stages/byte-tokenizer.js'

type Base = { added_tokens: object[] }

/** Added tokens are normalized at load time, here with an expression that backtracks. */
export function hangsAtLoad(): object {
  const base = byteTokenizer() as Base
  const token = { id: 300, content: 'a'.repeat(40), single_word: false, lstrip: false, rstrip: false, special: true }
  return {
    ...base,
    normalizer: { type: 'Replace', pattern: { Regex: '(a+)+b' }, content: 'x' },
    added_tokens: [...base.added_tokens, { ...token, normalized: true }],
  }
}

/** Every normalizer doubles the added token. */
export function growsAtLoad(): object {
  const base = hangsAtLoad() as Base
  const double = { type: 'Replace', pattern: { String: 'a' }, content: 'aa' }
  return { ...base, normalizer: { type: 'Sequence', normalizers: Array.from({ length: 40 }, () => double) } }
}
