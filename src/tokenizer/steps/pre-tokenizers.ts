/** Pre-tokenizers of a tokenizer.json as functions from pieces of text to smaller pieces, which may also change their text. */
import { BYTE_CHARACTERS } from '../engine/byte-level.js'
import type { SplitBehavior } from '../patterns/pretokenize.js'
import { characterMatches, type FindMatches, literalMatches, splitMatches } from '../patterns/split-text.js'
import { isNumeric, isPunctuation, isSpace, scriptOf } from '../patterns/text-classes.js'
import { prefixed, type TextPiece } from './text-normalizers.js'

/** Splits one piece. It may emit empty pieces, which are dropped. */
export type PreTokenizer = (piece: TextPiece, emit: (piece: TextPiece) => void) => void

/** Applies the steps one after the other, each to all pieces of the previous one. */
export function preTokenize(piece: TextPiece, steps: readonly PreTokenizer[]): readonly TextPiece[] {
  let pieces: readonly TextPiece[] = piece.text === '' ? [] : [piece]
  for (const step of steps) {
    const next: TextPiece[] = []
    for (const part of pieces) {
      step(part, result => {
        if (result.text !== '') next.push(result)
      })
    }
    pieces = next
  }
  return pieces
}

function slice({ text, fromFirst }: TextPiece, start: number, end: number): TextPiece {
  return { text: text.slice(start, end), fromFirst: Math.min(Math.max(fromFirst - start, 0), end - start) }
}

export function splitPreTokenizer(find: FindMatches, behavior: SplitBehavior, isInverted = false): PreTokenizer {
  return (piece, emit) =>
    splitMatches(find(piece.text), behavior, isInverted, (start, end) => emit(slice(piece, start, end)))
}

/** All white space is in the basic plane. */
export const whitespaceSplit = (): PreTokenizer => (piece, emit) => {
  const { text } = piece
  let start = 0
  for (let at = 0; at <= text.length; at++) {
    if (at < text.length && !isSpace(text.charCodeAt(at))) continue
    if (start < at) emit(slice(piece, start, at))
    start = at + 1
  }
}

export const punctuation = (behavior: SplitBehavior): PreTokenizer =>
  splitPreTokenizer(characterMatches(isPunctuation), behavior)

export const digits = (areIndividual: boolean): PreTokenizer =>
  splitPreTokenizer(characterMatches(isNumeric), areIndividual ? 'Isolated' : 'Contiguous')

export const charDelimiterSplit = (delimiter: string): PreTokenizer =>
  splitPreTokenizer(literalMatches(delimiter), 'Removed')

export interface MetaspaceOptions {
  readonly replacement: string
  readonly prependScheme: 'always' | 'first' | 'never'
  readonly split: boolean
}

export function metaspace({ replacement, prependScheme, split }: MetaspaceOptions): PreTokenizer {
  const splitAtReplacement = splitPreTokenizer(literalMatches(replacement), 'MergedWithNext')
  return (piece, emit) => {
    const kept = piece.text.slice(0, piece.fromFirst).replaceAll(' ', replacement)
    let spaced: TextPiece = { text: piece.text.replaceAll(' ', replacement), fromFirst: kept.length }
    const isPrefixed = prependScheme === 'always' || (prependScheme === 'first' && piece.fromFirst > 0)
    if (isPrefixed && !spaced.text.startsWith(replacement)) spaced = prefixed(spaced, replacement)
    if (split) splitAtReplacement(spaced, emit)
    else emit(spaced)
  }
}

const encoder = new TextEncoder()

/** Characters that stand for their own byte. */
const PLAIN = /^[!-~]*$/

function byteCharacters(text: string): string {
  if (PLAIN.test(text)) return text
  let result = ''
  for (const byte of encoder.encode(text)) result += BYTE_CHARACTERS[byte]
  return result
}

/** @param findWords GPT-2's pattern, unless `use_regex` is off */
export function byteLevel(addPrefixSpace: boolean, findWords: FindMatches | undefined): PreTokenizer {
  const splitWords = findWords === undefined ? undefined : splitPreTokenizer(findWords, 'Isolated')
  return (piece, emit) => {
    const spaced = addPrefixSpace && !piece.text.startsWith(' ') ? prefixed(piece, ' ') : piece
    const emitBytes = (word: TextPiece): void => {
      const kept = word.fromFirst === 0 ? 0 : byteCharacters(word.text.slice(0, word.fromFirst)).length
      emit({ text: byteCharacters(word.text), fromFirst: kept })
    }
    if (splitWords === undefined) emitBytes(spaced)
    else splitWords(spaced, emitBytes)
  }
}

/** Splits where the script changes. As in the Rust library, text before the first script is dropped. */
export const unicodeScripts = (): PreTokenizer => (piece, emit) => {
  let start = -1
  let last = 0
  let at = 0
  for (const character of piece.text) {
    const script = scriptOf(character.codePointAt(0)!)
    if (script !== 0 && script !== last) {
      if (start >= 0) emit(slice(piece, start, at))
      start = at
      last = script
    }
    at += character.length
  }
  if (start >= 0) emit(slice(piece, start, at))
}

export const fixedLength =
  (length: number): PreTokenizer =>
  (piece, emit) => {
    let start = 0
    let end = 0
    let count = 0
    for (const character of piece.text) {
      end += character.length
      if (++count % length !== 0) continue
      emit(slice(piece, start, end))
      start = end
    }
    emit(slice(piece, start, end))
  }
