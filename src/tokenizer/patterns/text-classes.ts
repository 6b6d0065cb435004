/**
 * Character classes and lowercase of the Rust library's standard library and crates. Each follows its own Unicode version, as
 * unicode-crates.ts says; tables are built on first use.
 */

import { CODE_POINT_LIMIT, eachRun, pairs, whiteSpace } from './unicode.js'
import {
  GRAPHEME_RUNS,
  LOWERCASE_RANGES,
  MARK_RUNS,
  NONSPACING_MARK_RUNS,
  NUMERIC_RUNS,
  OTHER_RUNS,
  PUNCTUATION_RUNS,
  SCRIPT_RUNS,
} from './unicode-crates.js'

const [NUMERIC, PUNCTUATION, OTHER, NONSPACING, MARK, SPACE] = [1, 2, 4, 8, 16, 32] as const

let flagTable: Uint8Array | undefined

function flags(): Uint8Array {
  if (flagTable !== undefined) return flagTable
  const table = new Uint8Array(CODE_POINT_LIMIT)
  const add = (flag: number, start: number, end: number): void => {
    for (let codePoint = start; codePoint < end; codePoint++) table[codePoint]! |= flag
  }
  const runs: [number, string][] = [
    [NUMERIC, NUMERIC_RUNS],
    [PUNCTUATION, PUNCTUATION_RUNS],
    [OTHER, OTHER_RUNS],
    [NONSPACING, NONSPACING_MARK_RUNS],
    [MARK, MARK_RUNS],
  ]
  for (const [flag, text] of runs) {
    eachRun(text, (index, start, end) => {
      if (index === 1) add(flag, start, end)
    })
  }
  for (const [start, end] of pairs(whiteSpace())) add(SPACE, start, end)
  for (const sign of '$+<=>^`|~') add(PUNCTUATION, sign.charCodeAt(0), sign.charCodeAt(0) + 1)
  flagTable = table
  return table
}

const has = (codePoint: number, flag: number): boolean => (flags()[codePoint]! & flag) !== 0

export type CodePointTest = (codePoint: number) => boolean

export const isNumeric: CodePointTest = codePoint => has(codePoint, NUMERIC)
/** Includes all ASCII signs. */
export const isPunctuation: CodePointTest = codePoint => has(codePoint, PUNCTUATION)
/** Control, format and private-use characters. */
export const isOther: CodePointTest = codePoint => has(codePoint, OTHER)
export const isNonspacingMark: CodePointTest = codePoint => has(codePoint, NONSPACING)
export const isMark: CodePointTest = codePoint => has(codePoint, MARK)
export const isSpace: CodePointTest = codePoint => has(codePoint, SPACE)

let scripts: Uint8Array | undefined

/** Number of the script of a code point, 0 for none. */
export function scriptOf(codePoint: number): number {
  scripts ??= tableOf(SCRIPT_RUNS, 2)
  return scripts[codePoint]!
}

let graphemes: Uint8Array | undefined

/** Number of the grapheme cluster class of a code point: its position in GRAPHEME_CLASSES + 1, or 0. */
export function graphemeClassOf(codePoint: number): number {
  graphemes ??= tableOf(GRAPHEME_RUNS, 1)
  return graphemes[codePoint]!
}

function tableOf(runs: string, letters: number): Uint8Array {
  const table = new Uint8Array(CODE_POINT_LIMIT)
  eachRun(runs, (index, start, end) => table.fill(index, start, end), letters)
  return table
}

let lowercase: ReadonlyMap<number, string> | undefined

/** Lowercase of one code point, without regard to its neighbours; `undefined` if it is unchanged. */
export function lowercaseOf(codePoint: number): string | undefined {
  lowercase ??= readLowercase()
  return lowercase.get(codePoint)
}

function readLowercase(): Map<number, string> {
  const mapping = new Map<number, string>()
  let start = 0
  for (const range of LOWERCASE_RANGES.split(' ')) {
    const [distance, count, step, difference] = range.split(',').map(number => Number.parseInt(number, 36))
    start += distance!
    for (let i = 0; i < count!; i++) {
      const codePoint = start + i * step!
      mapping.set(codePoint, String.fromCodePoint(codePoint + difference!))
    }
  }
  // The only lowercase of two characters.
  mapping.set(0x130, 'i\u0307')
  return mapping
}
