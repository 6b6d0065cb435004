/** Small vocabularies of every model, trained on the words that the Rust library's own steps give. */
import { Tokenizer } from 'tokenizers'
import { BYTE_CHARACTERS } from '../../dist/tokenizer/engine/byte-level.js'

export const BYTE_TOKENS = Array.from(
  { length: 256 },
  (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`,
)
const MERGES = 250
const empty = { version: '1.0', truncation: null, padding: null, added_tokens: [], post_processor: null, decoder: null }

/** Numbers of occurrences of the words of the texts. */
function wordsOf({ normalizer, pre_tokenizer }, texts) {
  const model = { type: 'WordLevel', unk_token: 'a', vocab: { a: 0 } }
  const rust = Tokenizer.fromString(JSON.stringify({ ...empty, normalizer, pre_tokenizer, model }))
  const [normalize, split] = [rust.getNormalizer(), rust.getPreTokenizer()]
  const counts = new Map()
  for (const text of texts) {
    const normalized = normalizer === null ? text : normalize.normalizeString(text)
    if (normalized === '') continue
    const pieces = pre_tokenizer === null ? [[normalized]] : split.preTokenizeString(normalized)
    for (const [piece] of pieces) if (piece !== '') counts.set(piece, (counts.get(piece) ?? 0) + 1)
  }
  return counts
}

/** Merges the most frequent pairs of symbols; `prefix` marks symbols inside a word, `suffix` the last one. */
function mergePairs(words, prefix, suffix) {
  const segmented = [...words].map(([word, count]) => {
    const characters = [...word]
    const last = characters.length - 1
    return [characters.map((c, at) => (at > 0 ? prefix : '') + c + (at === last ? suffix : '')), count]
  })
  const tokens = new Set(segmented.flatMap(([symbols]) => symbols))
  const merges = []
  for (let round = 0; round < MERGES; round++) {
    const pairs = new Map()
    for (const [symbols, count] of segmented) {
      for (let at = 1; at < symbols.length; at++) {
        const pair = JSON.stringify([symbols[at - 1], symbols[at]])
        pairs.set(pair, (pairs.get(pair) ?? 0) + count)
      }
    }
    const [best] = [...pairs].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))
    if (best === undefined) break
    const [left, right] = JSON.parse(best[0])
    const joined = left + right.slice(prefix.length)
    merges.push([left, right])
    tokens.add(joined)
    for (const [symbols] of segmented) {
      for (let at = 1; at < symbols.length; at++) {
        if (symbols[at - 1] === left && symbols[at] === right) symbols.splice(at - 1, 2, joined)
      }
    }
  }
  return { tokens: [...tokens], merges }
}

const numbered = tokens => Object.fromEntries([...new Set(tokens)].map((token, id) => [token, id]))

const TRAINERS = {
  BPE(words, { continuing_subword_prefix: prefix, end_of_word_suffix: suffix, byte_fallback: hasBytes }, special) {
    const { tokens, merges } = mergePairs(words, prefix ?? '', suffix ?? '')
    return { vocab: numbered([...special, ...(hasBytes ? BYTE_TOKENS : []), ...tokens]), merges }
  },
  WordPiece(words, { continuing_subword_prefix: prefix }, special) {
    const { tokens } = mergePairs(words, prefix, '')
    return { vocab: numbered([...special, ...tokens]) }
  },
  WordLevel(words, _, special) {
    const frequent = [...words].sort((a, b) => b[1] - a[1]).slice(0, 400)
    return { vocab: numbered([...special, ...frequent.map(([word]) => word)]) }
  },
  Unigram(words, { byte_fallback: hasBytes }, special) {
    const counts = new Map()
    for (const [word, count] of words) {
      const characters = [...word]
      for (let from = 0; from < characters.length && from < 40; from++) {
        for (let to = from + 1; to <= Math.min(from + 6, characters.length); to++) {
          const piece = characters.slice(from, to).join('')
          counts.set(piece, (counts.get(piece) ?? 0) + count)
        }
      }
    }
    const kept = [...counts].filter(([piece, count]) => count > 3 || [...piece].length === 1)
    const known = new Set([...special, ...(hasBytes ? BYTE_TOKENS : [])])
    const scored = kept.filter(([piece]) => !known.has(piece)).map(([piece, count]) => [piece, Math.log(count / 1e5)])
    return { vocab: [...[...known].map(token => [token, 0]), ...scored] }
  },
}

/**
 * A complete tokenizer.json.
 * @param shape its steps, the options of its `model`, and `special`: tokens that come first in the vocabulary
 */
export function trainedFile({ special = [], model, allBytes = false, ...steps }, texts) {
  const file = { ...empty, normalizer: null, pre_tokenizer: null, ...steps }
  const bytes = allBytes ? BYTE_CHARACTERS : []
  const trained = TRAINERS[model.type](wordsOf(file, texts), model, [...special, ...bytes])
  return { ...file, model: { ...model, ...trained } }
}
