/** Limits of a tokenizer.json, checked before it is read: exceeding them would take too much time or stack. */
import { invalid, type Json } from './tokenizer-fields.js'

/** More than real tokenizers have; each may hold a pattern that takes about 20 ms to compile. */
const MAX_STEPS = 64
const STEP_LISTS = [
  ['normalizer', 'normalizers'],
  ['pre_tokenizer', 'pretokenizers'],
  ['decoder', 'decoders'],
  ['post_processor', 'processors'],
] as const
const MAX_DEPTH = 512
const [QUOTE, BACKSLASH, OPEN_BRACKET, CLOSE_BRACKET, OPEN_BRACE, CLOSE_BRACE] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d]

/** Steps may be nested in Sequences to any depth. @throws TOKENIZER_INVALID */
export function refuseManySteps(file: Json): void {
  for (const [part, list] of STEP_LISTS) {
    const open = [file[part]]
    for (let seen = 1; open.length > 0; seen++) {
      const inner = (open.pop() as Json | null | undefined)?.[list]
      if (Array.isArray(inner)) open.push(...inner.slice(0, MAX_STEPS + 1))
      if (seen + open.length > MAX_STEPS) invalid(`it has more than ${MAX_STEPS} ${list}`)
    }
  }
}

/** JSON.parse accepts any depth, in far more than linear time. @throws TOKENIZER_INVALID */
export function refuseDepth(text: string): void {
  let depth = 0
  for (let at = 0; at < text.length; at++) {
    const character = text.charCodeAt(at)
    if (character === QUOTE) at = endOfString(text, at)
    else if (character === CLOSE_BRACKET || character === CLOSE_BRACE) depth--
    else if ((character === OPEN_BRACKET || character === OPEN_BRACE) && ++depth > MAX_DEPTH) {
      invalid(`it is nested more than ${MAX_DEPTH} deep`)
    }
  }
}

/** Position of the closing quote. */
function endOfString(text: string, start: number): number {
  let at = start + 1
  while (at < text.length && text.charCodeAt(at) !== QUOTE) at += text.charCodeAt(at) === BACKSLASH ? 2 : 1
  return at
}
