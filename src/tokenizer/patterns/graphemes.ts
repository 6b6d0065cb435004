/** Extended grapheme clusters (UAX 29), which the Precompiled normalizer of the Rust library looks up as units. */
import { graphemeClassOf } from './text-classes.js'
import { eachRun } from './unicode.js'
import { GRAPHEME_CLASSES, GRAPHEME_RUNS } from './unicode-crates.js'

const numberOf = (name: string): number => GRAPHEME_CLASSES.split(' ').indexOf(name) + 1

const [CR, LF, CONTROL, EXTEND, ZWJ] = ['CR', 'LF', 'Control', 'Extend', 'ZWJ'].map(numberOf) as number[]
const [REGIONAL, PREPEND, SPACING] = ['Regional_Indicator', 'Prepend', 'SpacingMark'].map(numberOf) as number[]
const [L, V, T, LV, LVT] = ['L', 'V', 'T', 'LV', 'LVT'].map(numberOf) as number[]
const [PICTOGRAPH, CONSONANT, LINKER] = ['Pictographic', 'Consonant', 'Linker'].map(numberOf) as number[]

const NON_JOINER = 0x200c

/** Whether a character may join the next one although it is a letter. */
export const isPrepended = (codePoint: number): boolean => graphemeClassOf(codePoint) === PREPEND

/** All of them. */
export function prependedCharacters(): string[] {
  const characters: string[] = []
  eachRun(GRAPHEME_RUNS, (index, start, end) => {
    if (index !== PREPEND) return
    for (let codePoint = start; codePoint < end; codePoint++) characters.push(String.fromCodePoint(codePoint))
  })
  return characters
}

/** End of the cluster that starts at text[start]. */
export function clusterEnd(text: string, start: number): number {
  let at = start
  let before = -1
  /** Regional indicators at the end of the cluster. */
  let regional = 0
  /** Whether the cluster ends with a pictograph and extensions of it. */
  let isEmoji = false
  /** Whether it ends with a consonant and extensions, and whether a linker is among these. */
  let isConjunct = false
  let isLinked = false
  while (at < text.length) {
    const codePoint = text.codePointAt(at)!
    const kind = graphemeClassOf(codePoint)
    if (before >= 0) {
      const joins =
        (kind === PICTOGRAPH && before === ZWJ && isEmoji) ||
        (kind === CONSONANT && isConjunct && isLinked) ||
        (kind === REGIONAL && before === REGIONAL && regional % 2 === 1)
      if (!joins && !neverBreaks(before, kind)) return at
    }
    const isExtension = kind === EXTEND || kind === ZWJ || kind === LINKER
    isEmoji = kind === PICTOGRAPH || (isExtension && isEmoji && before !== ZWJ)
    isConjunct = kind === CONSONANT || (isExtension && isConjunct && codePoint !== NON_JOINER)
    isLinked = isConjunct && isExtension && (isLinked || kind === LINKER)
    regional = kind === REGIONAL ? regional + 1 : 0
    before = kind
    at += codePoint > 0xffff ? 2 : 1
  }
  return at
}

/** Rules that depend on two neighbours only. */
function neverBreaks(before: number, kind: number): boolean {
  if (before === CR) return kind === LF
  if (before === LF || before === CONTROL || kind === CR || kind === LF || kind === CONTROL) return false
  if (kind === EXTEND || kind === LINKER || kind === ZWJ || kind === SPACING || before === PREPEND) return true
  if (before === L) return kind === L || kind === V || kind === LV || kind === LVT
  if (before === LV || before === V) return kind === V || kind === T
  return (before === LVT || before === T) && kind === T
}
