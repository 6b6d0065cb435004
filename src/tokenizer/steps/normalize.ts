/**
 * Normalizers of tokenizer files, as functions on strings. The bytes of most texts show that normalization would not change
 * them, and these are never decoded.
 */
import { CODE_POINT_LIMIT, type CodePointSet, pairs, unassignedInUnicode9, unicodeClass } from '../patterns/unicode.js'

export type UnicodeForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD'

/** Bound of the output of a step for n characters, to limit the growth of added tokens through many steps. */
export interface Growth {
  /** Output characters per input character, for n + 1 of them. */
  readonly perCharacter: number
  /** Characters added once. */
  readonly once: number
}

const NO_GROWTH: Growth = { perCharacter: 1, once: 0 }

export type NormalizerStep = { readonly growth: Growth } & (
  | { readonly kind: 'form'; readonly form: UnicodeForm }
  /** The character map of a SentencePiece model, applied to the whole text but not to added tokens. */
  | { readonly kind: 'map'; readonly map: (text: string) => string }
)

export const formStep = (form: UnicodeForm): NormalizerStep => ({ kind: 'form', form, growth: NO_GROWTH })

export const mapStep = (map: (text: string) => string): NormalizerStep => ({ kind: 'map', map, growth: NO_GROWTH })

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

export function normalizeText(text: string, steps: readonly NormalizerStep[]): string {
  return steps.reduce((current, step) => (step.kind === 'form' ? toForm(current, step.form) : step.map(current)), text)
}

/** The normalized form of bytes[start, end), or `undefined` if it is unchanged. */
export function normalizeBytes(
  bytes: Uint8Array,
  start: number,
  end: number,
  steps: readonly NormalizerStep[],
): Uint8Array | undefined {
  if (steps.every(step => step.kind === 'form') && isPlain(bytes, start, end, steps)) return undefined
  return encoder.encode(normalizeText(decoder.decode(bytes.subarray(start, end)), steps))
}

/** Texts with bytes from this value on are normalized: characters below U+0300 are in NFC, only ASCII is in every form. */
export function firstByteToNormalize(steps: readonly NormalizerStep[]): number {
  return steps.every(step => step.kind === 'form' && step.form === 'NFC') ? 0xcc : 0x80
}

/** No Unicode form changes assigned characters above, except marks. */
const LAST_CHANGED = 0x30000
/** Vowels and final consonants that may compose with the preceding Korean syllable. */
const JOINING_JAMO: CodePointSet = [0x1161, 0x1176, 0x11a8, 0x11c3]

/**
 * One bit per code point: a text without these is in normalized form. The set holds the characters that a form changes, and
 * all that could compose or reorder with the previous one (UAX 15, "Detecting Normalization Forms"), and a few more.
 */
export function changingCodePoints(steps: readonly NormalizerStep[]): Uint8Array {
  const bits = new Uint8Array(CODE_POINT_LIMIT / 8)
  const add = (codePoint: number): void => {
    bits[codePoint >> 3]! |= 1 << (codePoint & 7)
  }
  for (const [start, end] of pairs([...(unicodeClass('M') ?? []), ...JOINING_JAMO])) {
    for (let codePoint = start; codePoint < end; codePoint++) add(codePoint)
  }
  const forms = steps.flatMap(step => (step.kind === 'form' ? [step.form] : []))
  const isStable = (text: string): boolean => forms.every(form => text.normalize(form) === text)
  for (let block = 0x80; block < LAST_CHANGED; block += 64) {
    if (block >= 0xd800 && block < 0xe000) continue
    const characters = Array.from({ length: 64 }, (_, i) => String.fromCodePoint(block + i))
    if (isStable(characters.join('\0'))) continue
    for (const [i, character] of characters.entries()) if (!isStable(character)) add(block + i)
  }
  return bits
}

function isPlain(bytes: Uint8Array, start: number, end: number, steps: readonly NormalizerStep[]): boolean {
  const limit = firstByteToNormalize(steps)
  for (let at = start; at < end; at++) if (bytes[at]! >= limit) return false
  return true
}

let unassigned: RegExp | undefined

/** The Rust library's normalizer follows Unicode 9: newer characters are unchanged, whatever the JavaScript engine knows. */
function toForm(text: string, form: UnicodeForm): string {
  unassigned ??= expressionOf(unassignedInUnicode9())
  if (!unassigned.test(text)) return text.normalize(form)
  return text
    .split(unassigned)
    .map((part, index) => (index % 2 === 0 ? part.normalize(form) : part))
    .join('')
}

function expressionOf(set: CodePointSet): RegExp {
  let ranges = ''
  for (let i = 0; i < set.length; i += 2)
    ranges += `\\u{${set[i]!.toString(16)}}-\\u{${(set[i + 1]! - 1).toString(16)}}`
  return new RegExp(`([${ranges}]+)`, 'u')
}
