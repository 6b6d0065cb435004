/**
 * Normalizers of a tokenizer.json as functions on text. Each keeps track of how much of its output comes from the first
 * character of the document, which decides whether the Metaspace pre-tokenizer with the scheme `first` adds its prefix.
 */

import { BYTE_CHARACTERS } from '../engine/byte-level.js'
import { clusterEnd } from '../patterns/graphemes.js'
import type { FindMatches } from '../patterns/split-text.js'
import {
  type CodePointTest,
  isMark,
  isNonspacingMark,
  isOther,
  isSpace,
  lowercaseOf,
} from '../patterns/text-classes.js'
import type { CharacterMap } from './character-map.js'
import { composedChanges } from './form-changes.js'
import { formStep, type Growth, normalizeText, type UnicodeForm } from './normalize.js'

/** A part of a document that is still text. */
export interface TextPiece {
  readonly text: string
  /** Number of leading code units that come from the first character of the document. */
  readonly fromFirst: number
}

/** Whether a text is the first or last part of one that is normalized in parts. */
export interface Edges {
  readonly isFirst: boolean
  readonly isLast: boolean
}

export interface TextNormalizer {
  readonly growth: Growth
  apply(piece: TextPiece, edges: Edges): TextPiece
  /** Whether this text, which is one character, may be replaced together with text that follows it; by default it may not. */
  readonly mayReplaceWithNext?: (text: string) => boolean
}

/** A change as in the Rust library: 1 inserts a character, 0 replaces one, -n also removes the n following ones. */
type Change = readonly [character: string, change: number]

/** Leading code units of the new text that come from the first `characters` of the old one. */
function unitsFrom(changes: Iterable<Change>, characters: number): number {
  let consumed = 0
  let units = 0
  for (const [character, change] of changes) {
    const source = change > 0 ? consumed - 1 : consumed
    if (source >= characters) break
    units += character.length
    if (change <= 0) consumed += 1 - change
  }
  return units
}

const countCharacters = (text: string, units: number): number => [...text.slice(0, units)].length

/** Most words in most texts: no control characters, so no line ends either. */
const PLAIN = /^[ -~]*$/

const unchanged = (text: string): string => text

/** Applies a mapping that treats each character by itself; `mapPlain` is the same for plain ASCII text. */
function byCharacter(
  map: (text: string) => string,
  perCharacter: number,
  mapPlain: (text: string) => string = map,
): TextNormalizer {
  return {
    growth: { perCharacter, once: 0 },
    apply({ text, fromFirst }) {
      if (fromFirst === 0) return { text: PLAIN.test(text) ? mapPlain(text) : map(text), fromFirst }
      return { text: map(text), fromFirst: map(text.slice(0, fromFirst)).length }
    },
  }
}

function mapCharacters(text: string, map: (codePoint: number, character: string) => string): string {
  let result = ''
  for (const character of text) result += map(character.codePointAt(0)!, character)
  return result
}

const without =
  (test: CodePointTest) =>
  (text: string): string =>
    mapCharacters(text, (codePoint, character) => (test(codePoint) ? '' : character))

const toLowercase = (text: string): string =>
  mapCharacters(text, (codePoint, character) => lowercaseOf(codePoint) ?? character)

export const lowercaseNormalizer = (): TextNormalizer => byCharacter(toLowercase, 3, text => text.toLowerCase())

export const stripAccentsNormalizer = (): TextNormalizer => byCharacter(without(isMark), 1, unchanged)

const toByteCharacters = (text: string): string => {
  let result = ''
  for (const byte of encoder.encode(text)) result += BYTE_CHARACTERS[byte]
  return result
}
const encoder = new TextEncoder()

export const byteLevelNormalizer = (): TextNormalizer => byCharacter(toByteCharacters, 4)

const NMT_REMOVED: CodePointTest = codePoint =>
  (codePoint >= 1 && codePoint <= 8) ||
  codePoint === 0x0b ||
  (codePoint >= 0x0e && codePoint <= 0x1f) ||
  codePoint === 0x7f ||
  codePoint === 0x8f ||
  codePoint === 0x9f
const NMT_SPACES = new Set([9, 10, 12, 13, 0x1680, 0x2028, 0x2029, 0x2581, 0xfeff, 0xfffd])

export const nmtNormalizer = (): TextNormalizer =>
  byCharacter(
    text =>
      mapCharacters(text, (codePoint, character) => {
        if (NMT_REMOVED(codePoint)) return ''
        return NMT_SPACES.has(codePoint) || (codePoint >= 0x200b && codePoint <= 0x200f) ? ' ' : character
      }),
    1,
    unchanged,
  )

export interface BertOptions {
  readonly cleanText: boolean
  readonly handleChineseChars: boolean
  readonly stripAccents: boolean
  readonly lowercase: boolean
}

/** Sets of the Rust library, which leave out some extensions. */
const CHINESE: readonly (readonly [number, number])[] = [
  [0x4e00, 0x9fff],
  [0x3400, 0x4dbf],
  [0x20000, 0x2a6df],
  [0x2a700, 0x2b73f],
  [0x2b740, 0x2b81f],
  [0x2b920, 0x2ceaf],
  [0xf900, 0xfaff],
  [0x2f800, 0x2fa1f],
]

function cleanCharacter(codePoint: number, character: string): string {
  if (codePoint === 9 || codePoint === 10 || codePoint === 13) return ' '
  if (codePoint === 0 || codePoint === 0xfffd || isOther(codePoint)) return ''
  return isSpace(codePoint) ? ' ' : character
}

const spaceChinese = (codePoint: number, character: string): string =>
  codePoint >= 0x3400 && CHINESE.some(([first, last]) => codePoint >= first && codePoint <= last)
    ? ` ${character} `
    : character

export function bertNormalizer(options: BertOptions): TextNormalizer {
  const steps: TextNormalizer[] = []
  if (options.cleanText) steps.push(byCharacter(text => mapCharacters(text, cleanCharacter), 1, unchanged))
  if (options.handleChineseChars) steps.push(byCharacter(text => mapCharacters(text, spaceChinese), 3, unchanged))
  if (options.stripAccents) steps.push(formNormalizer('NFD'), byCharacter(without(isNonspacingMark), 1, unchanged))
  if (options.lowercase) steps.push(lowercaseNormalizer())
  return sequence(steps)
}

function sequence(steps: readonly TextNormalizer[]): TextNormalizer {
  const perCharacter = steps.reduce((product, { growth }) => product * growth.perCharacter, 1)
  return {
    growth: { perCharacter, once: 0 },
    apply: (piece, edges) => steps.reduce((current, step) => step.apply(current, edges), piece),
  }
}

export function formNormalizer(form: UnicodeForm): TextNormalizer {
  const step = [formStep(form)]
  return {
    growth: { perCharacter: 18, once: 0 },
    apply({ text, fromFirst }) {
      if (PLAIN.test(text)) return { text, fromFirst }
      const normalized = normalizeText(text, step)
      if (fromFirst === 0) return { text: normalized, fromFirst: 0 }
      const changes = composedChanges(text, fromFirst, form)
      return { text: normalized, fromFirst: unitsFrom(changes, countCharacters(text, fromFirst)) }
    },
  }
}

/** Removes white space at the ends of the document. */
export function stripNormalizer(left: boolean, right: boolean): TextNormalizer {
  return {
    growth: { perCharacter: 1, once: 0 },
    apply({ text, fromFirst }, { isFirst, isLast }) {
      let start = 0
      let end = text.length
      // All white space is in the basic plane.
      if (left && isFirst) while (start < end && isSpace(text.charCodeAt(start))) start++
      if (right && isLast) while (end > start && isSpace(text.charCodeAt(end - 1))) end--
      return { text: text.slice(start, end), fromFirst: Math.min(Math.max(fromFirst - start, 0), end - start) }
    },
  }
}

export function prependNormalizer(prefix: string): TextNormalizer {
  return {
    growth: { perCharacter: 1, once: prefix.length },
    apply(piece, { isFirst }) {
      return isFirst && piece.text !== '' ? prefixed(piece, prefix) : piece
    },
  }
}

/** The prefix counts as part of the character before which it is put. */
export function prefixed({ text, fromFirst }: TextPiece, prefix: string): TextPiece {
  return { text: prefix + text, fromFirst: fromFirst === 0 ? 0 : fromFirst + prefix.length }
}

export function replaceNormalizer(find: FindMatches, content: string): TextNormalizer {
  return {
    growth: { perCharacter: Math.max(1, content.length), once: 0 },
    apply({ text, fromFirst }) {
      const { starts, ends, isMatch } = find(text)
      if (!isMatch.includes(true)) return { text, fromFirst }
      let result = ''
      let kept = 0
      for (const [at, start] of starts.entries()) {
        const end = ends[at]!
        result += isMatch[at] ? content : text.slice(start, end)
        // Replacements belong to the last character that they replace.
        if (isMatch[at] ? end <= fromFirst : start < fromFirst) {
          kept = result.length - (isMatch[at] ? 0 : Math.max(end - fromFirst, 0))
        }
      }
      return { text: result, fromFirst: kept }
    },
  }
}

const MAX_KNOWN = 1 << 16

/** SentencePiece's character map as the Rust library applies it: to short grapheme clusters, else to characters. */
export function precompiledNormalizer(map: CharacterMap): TextNormalizer {
  const known = new Map<string, string | undefined>()
  /** Looks up clusters and characters of fewer than 6 bytes. */
  const replacementOf = (text: string): string | undefined => {
    if (known.has(text)) return known.get(text)
    const replacement = encoder.encode(text).length < 6 ? map.replacementOf(text) : undefined
    if (known.size < MAX_KNOWN) known.set(text, replacement)
    return replacement
  }
  /** Replacements of ASCII characters, which are clusters by themselves except after a carriage return. */
  const ascii = Array.from({ length: 128 }, (_, codePoint) => replacementOf(String.fromCharCode(codePoint)))
  const normalizeAscii = (text: string): string | undefined => {
    let result = ''
    let done = 0
    for (let at = 0; at < text.length; at++) {
      const codePoint = text.charCodeAt(at)
      if (codePoint > 0x7f || codePoint === 0x0d) return undefined
      const replacement = ascii[codePoint]
      if (replacement === undefined) continue
      result += text.slice(done, at) + replacement
      done = at + 1
    }
    return done === 0 ? text : result + text.slice(done)
  }
  return {
    growth: { perCharacter: 64, once: 0 },
    mayReplaceWithNext: text => map.isOpenPrefix(text),
    apply({ text, fromFirst }) {
      const normalizedAscii = fromFirst === 0 ? normalizeAscii(text) : undefined
      if (normalizedAscii !== undefined) return { text: normalizedAscii, fromFirst }
      const changes: Change[] = []
      let isChanged = false
      const replace = (old: string, replacement: string): void => {
        isChanged = true
        replaceInChanges(changes, old, replacement)
      }
      for (let at = 0; at < text.length; ) {
        const end = clusterEnd(text, at)
        const cluster = text.slice(at, end)
        at = end
        const whole = replacementOf(cluster)
        if (whole !== undefined) {
          replace(cluster, whole)
          continue
        }
        for (const character of cluster) {
          const part = replacementOf(character)
          if (part === undefined) changes.push([character, 0])
          else replace(character, part)
        }
      }
      if (!isChanged) return { text, fromFirst }
      const normalized = changes.map(([character]) => character).join('')
      return {
        text: normalized,
        fromFirst: fromFirst === 0 ? 0 : unitsFrom(changes, countCharacters(text, fromFirst)),
      }
    },
  }
}

function replaceInChanges(changes: Change[], old: string, replacement: string): void {
  const added = [...replacement]
  const difference = added.length - [...old].length
  for (const [at, character] of added.entries()) changes.push([character, at >= added.length - difference ? 1 : 0])
  const last = changes.at(-1)
  if (difference < 0 && last !== undefined) changes[changes.length - 1] = [last[0], last[1] + difference]
}
