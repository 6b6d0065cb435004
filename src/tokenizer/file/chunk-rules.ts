/**
 * Decides whether a pipeline may encode a text in chunks, each of which begins with a space after a character that is not one,
 * so that the tokens of chunks can be cached. That holds if no step looks or acts across such a place.
 */
import type { Vocabulary } from '../engine/vocabulary.js'
import { type Dfa, MATCHES, START_STATE } from '../patterns/dfa.js'
import { isPrepended } from '../patterns/graphemes.js'
import { isSpace } from '../patterns/text-classes.js'
import type { AddedVocabulary } from '../steps/added-vocabulary.js'
import type { TextNormalizer } from '../steps/text-normalizers.js'
import { hasPlainSymbols, modelTypeOf } from './read-model.js'
import { type Pattern, patternOf, type Step, textOf } from './step-list.js'
import type { Json } from './tokenizer-fields.js'

export interface ChunkRules {
  /** Whether a chunk may end after this character. */
  readonly mayEndWith: (codePoint: number) => boolean
}

export interface PipelineShape {
  readonly normalizerSteps: readonly Step[]
  readonly preTokenizerSteps: readonly Step[]
  readonly normalizers: readonly TextNormalizer[]
  readonly model: Json
  readonly vocabulary: Vocabulary
  readonly added: AddedVocabulary
}

const META = '\u2581'

/** Whether no token crosses the start of a word. */
export function mayCutAtSpaces(vocabulary: Vocabulary): boolean {
  return vocabulary.has(META) && ![...vocabulary.keys()].some(token => /[^\u2581]\u2581/.test(token))
}

export function chunkRulesOf(shape: PipelineShape): ChunkRules | undefined {
  const spaces = separatorsOf(shape)
  if (spaces === undefined) return undefined
  if (!shape.normalizerSteps.every(step => keepsSeparators(step, spaces))) return undefined
  if (!normalize(shape.normalizers, 'a b', false).startsWith('a')) return undefined
  if (![...spaces].some(space => normalize(shape.normalizers, ' b', false).startsWith(space))) return undefined
  for (const token of shape.added.tokens) {
    if (token.normalized && /[\s\u2581]/.test(shape.added.searchedTextOf(token) + token.content)) return undefined
  }
  return { mayEndWith: endTest(shape.normalizers) }
}

/** Characters at which the first pre-tokenizer, or the model, cuts in any case; `undefined` if there are none. */
function separatorsOf({
  preTokenizerSteps,
  normalizerSteps,
  model,
  vocabulary,
}: PipelineShape): Set<string> | undefined {
  const [first] = preTokenizerSteps
  switch (first?.type) {
    case 'BertPreTokenizer':
    case 'Whitespace':
    case 'WhitespaceSplit':
      return new Set([' '])
    case 'CharDelimiterSplit':
      return first.json.delimiter === ' ' ? new Set([' ']) : undefined
    case 'ByteLevel':
      return first.json.use_regex === false ? undefined : new Set([' '])
    case 'Metaspace':
      return cutsAtReplacement(first, preTokenizerSteps, model, vocabulary)
        ? new Set([' ', String(first.json.replacement)])
        : undefined
    case 'Split':
      return skipsSpaces(first) ? new Set([' ']) : undefined
    case undefined: {
      const isMeta = normalizerSteps.some(step => step.type === 'Replace' && step.json.content === META)
      return isMeta && mergesWithinWords(model, vocabulary) ? new Set([META]) : undefined
    }
    default:
      return undefined
  }
}

/** Whether BPE tokens of a text that is one piece stay within words. */
function mergesWithinWords(model: Json, vocabulary: Vocabulary): boolean {
  const isBpe = modelTypeOf(model) === 'BPE' && model.ignore_merges !== true
  return isBpe && hasPlainSymbols(model) && mayCutAtSpaces(vocabulary)
}

function cutsAtReplacement(metaspace: Step, steps: readonly Step[], model: Json, vocabulary: Vocabulary): boolean {
  if (metaspace.json.split !== false) return true
  return steps.length === 1 && metaspace.json.replacement === META && mergesWithinWords(model, vocabulary)
}

/** A Split that keeps its matches only, none of which has a space or depends on one. */
function skipsSpaces(step: Step): boolean {
  if (step.json.invert !== true || step.json.behavior !== 'Removed') return false
  const pattern = patternOf(step)
  if ('literal' in pattern) return !pattern.literal.includes(' ')
  if ('backtracker' in pattern) return false
  const { classes, table } = pattern.dfa
  const space = classes[0x20]!
  for (let state = START_STATE; state < table.length; state += START_STATE) {
    if (table[state + space] !== table[state]! || (table[state]! & ~MATCHES) !== 0) return false
  }
  return true
}

const LOCAL = new Set(['NFC', 'NFD', 'NFKC', 'NFKD', 'Lowercase', 'Strip', 'StripAccents', 'Nmt', 'Prepend'])

function keepsSeparators(step: Step, spaces: ReadonlySet<string>): boolean {
  if (LOCAL.has(step.type) || step.type === 'Bert' || step.type === 'BertNormalizer' || step.type === 'Precompiled')
    return true
  if (step.type !== 'Replace') return false
  const content = textOf(step, 'content')
  const pattern = patternOf(step)
  if (matchesOnlySpaces(pattern)) return content !== '' && [...content].every(character => spaces.has(character))
  return 'literal' in pattern && !/[\s\u2581]/.test(pattern.literal) && content !== '' && !/[\s\u2581]/.test(content)
}

const isBlank = (codePoint: number): boolean => isSpace(codePoint) || codePoint === 0x2581

function matchesOnlySpaces(pattern: Pattern): boolean {
  if ('literal' in pattern) return [...pattern.literal].every(character => isBlank(character.codePointAt(0)!))
  return 'dfa' in pattern && acceptsOnly(pattern.dfa, isBlank)
}

/** Whether every character that a match may contain passes the test. */
function acceptsOnly({ classes, table }: Dfa, test: (codePoint: number) => boolean): boolean {
  const isAccepted = new Uint8Array(64)
  for (let at = START_STATE; at < table.length; at++) if (table[at]! >= START_STATE) isAccepted[at % 64] = 1
  return classes.every((kind, codePoint) => isAccepted[kind] === 0 || test(codePoint))
}

function normalize(normalizers: readonly TextNormalizer[], text: string, isFirst: boolean): string {
  const edges = { isFirst, isLast: false }
  return normalizers.reduce((piece, step) => step.apply(piece, edges), { text, fromFirst: 0 }).text
}

/** Letters, digits and ASCII signs that normalize to text without white space at its end. */
function endTest(normalizers: readonly TextNormalizer[]): (codePoint: number) => boolean {
  /** 0: not tested, 1: no, 2: yes. */
  const known = new Uint8Array(0x10000)
  return codePoint => {
    if (codePoint > 0xffff) return false
    if (known[codePoint] === 0) known[codePoint] = isSafeEnd(codePoint, normalizers) ? 2 : 1
    return known[codePoint] === 2
  }
}

function isSafeEnd(codePoint: number, normalizers: readonly TextNormalizer[]): boolean {
  const character = String.fromCodePoint(codePoint)
  if (codePoint > 0x7f && (!/^\p{L}$/u.test(character) || isPrepended(codePoint) || isJamo(codePoint))) return false
  if (isBlank(codePoint) || codePoint < 0x21 || codePoint === 0x7f) return false
  const normalized = normalize(normalizers, character, false)
  return normalized !== '' && ![...normalized].some(part => isBlank(part.codePointAt(0)!))
}

/** Letters that form syllables with their neighbours. */
function isJamo(codePoint: number): boolean {
  return (
    (codePoint >= 0x1100 && codePoint < 0x1200) ||
    (codePoint >= 0xa960 && codePoint < 0xa980) ||
    (codePoint >= 0xd7b0 && codePoint < 0xd800)
  )
}
