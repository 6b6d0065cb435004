/**
 * Patterns for which the kernel splits ASCII text with bit masks (assembly/text/ascii-pattern.ts) instead of the automaton:
 * the cl100k family, compared by exact spelling.
 */

const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
const ENDINGS = String.raw`\s*[\r\n]+|\s+(?!\S)|\s+`

/** cl100k, Llama 3 and similar; with single digits Qwen 2 and 3. */
const uncased = (digits: string): string =>
  String.raw`${CONTRACTIONS}|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|${ENDINGS}`

const CAPITAL = String.raw`[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
const SMALL = String.raw`[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
const PREFIX = String.raw`[^\r\n\p{L}\p{N}]?`
const WORDS_BY_CASE = `${PREFIX}${CAPITAL}*${SMALL}+${CONTRACTIONS}?|${PREFIX}${CAPITAL}+${SMALL}*${CONTRACTIONS}?`
/** o200k and Llama 4. */
const BY_CASE = String.raw`${WORDS_BY_CASE}|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|${ENDINGS}`

/** Flags as in assembly/text/ascii-pattern.ts: 1 for the family, 2 for digits in groups of three, 4 for splits by case. */
const FLAGS: ReadonlyMap<string, number> = new Map([
  [uncased(String.raw`\p{N}`), 1],
  [uncased(String.raw`\p{N}{1,3}`), 3],
  [BY_CASE, 7],
])

/** Flags of a pattern for the kernel; 0: the automaton handles all text. */
export function plainFlags(pattern: string): number {
  return FLAGS.get(pattern) ?? 0
}
