/**
 * Decides whether and where a pipeline may cut a text into chunks that are encoded by themselves, so that their tokens can be
 * cached: at places across which no step looks or acts.
 */
import type { Vocabulary } from '../engine/vocabulary.js'
import { type ChunkRules, DEPENDS_ON_CHARACTER } from '../patterns/chunks.js'
import { type Dfa, MATCHES, START_STATE } from '../patterns/dfa.js'
import { isPrepended, prependedCharacters } from '../patterns/graphemes.js'
import { isSpace } from '../patterns/text-classes.js'
import type { AddedVocabulary } from '../steps/added-vocabulary.js'
import type { TextNormalizer } from '../steps/text-normalizers.js'
import { pairSplitOf } from './pair-splits.js'
import { hasPlainSymbols, modelTypeOf } from './read-model.js'
import { type Pattern, patternOf, type Step, textOf } from './step-list.js'
import type { Json } from './tokenizer-fields.js'

export interface PipelineShape {
  readonly normalizerSteps: readonly Step[]
  readonly preTokenizerSteps: readonly Step[]
  readonly normalizers: readonly TextNormalizer[]
  readonly model: Json
  readonly vocabulary: Vocabulary
  readonly added: AddedVocabulary
  readonly needsDocumentStart: boolean
}

const META = '\u2581'

/** Whether no token crosses the start of a word. */
export function mayCutAtSpaces(vocabulary: Vocabulary): boolean {
  return vocabulary.has(META) && ![...vocabulary.keys()].some(token => /[^\u2581]\u2581/.test(token))
}

export function chunkRulesOf(shape: PipelineShape): ChunkRules | undefined {
  const { normalizerSteps, normalizers, added } = shape
  const spaces = separatorsOf(shape)
  if (spaces === undefined) return undefined
  if (!normalizerSteps.every(step => keepsSeparators(step, spaces))) return undefined
  if (changesPrepended(normalizers)) return undefined
  for (const token of added.tokens) {
    if (token.normalized && /[\s\u2581]/.test(added.searchedTextOf(token) + token.content)) return undefined
  }
  const mayCut = cutTest(shape, spaces)
  const tables = tablesOf(mayCut)
  if (tables.before.every(kinds => kinds === 0)) return undefined
  const has = (type: string, option?: string): boolean =>
    normalizerSteps.some(step => step.type === type && (option === undefined || step.json[option] === true))
  return {
    ...tables,
    mayEndWith: endTest(normalizers),
    isFirstSpecial: has('Prepend') || has('Strip', 'strip_left') || shape.needsDocumentStart,
    isLastSpecial: has('Strip', 'strip_right'),
  }
}

/** Whether a text may be cut between two ASCII characters. */
type CutTest = (first: number, second: number) => boolean

function cutTest(shape: PipelineShape, spaces: Separators): CutTest {
  const { normalizers, normalizerSteps, preTokenizerSteps, added } = shape
  const separates = byCharacter(codePoint => isBlank(codePoint) && startsWithSeparator(codePoint, normalizers, spaces))
  const isSafe = byCharacter(codePoint => isSafeEnd(codePoint, normalizers))
  const vanishes = byCharacter(codePoint => separates(codePoint) && isSeparator(codePoint, normalizers, spaces))
  const isStripped = normalizerSteps.some(({ type }) => type === 'Strip' || type === 'Prepend')
  const areDropped = spaces.areDropped && !isStripped
  const splits = normalizerSteps.every(actsOnCharacters) ? pairSplitOf(preTokenizerSteps[0]) : undefined
  const images = Array.from({ length: 128 }, (_, codePoint) => imageOf(codePoint, normalizers))
  const inTokens = new Set(
    added.tokens.flatMap(token => (token.normalized ? neighboursIn(added.searchedTextOf(token)) : [])),
  )
  return (first, second) => {
    if (separates(second) && isSafe(first)) return true
    if (isBlank(second)) return areDropped && vanishes(first) && vanishes(second) && !(first === 13 && second === 10)
    const [left, right] = [images[first], images[second]]
    if (splits === undefined || left === undefined || right === undefined || inTokens.has(left + right)) return false
    return splits(left.charCodeAt(0), right.charCodeAt(0))
  }
}

const byCharacter = (test: (codePoint: number) => boolean): ((codePoint: number) => boolean) => {
  const results = Array.from({ length: 128 }, (_, codePoint) => test(codePoint))
  return codePoint => results[codePoint]!
}

const neighboursIn = (text: string): string[] => Array.from(text, (character, at) => character + text.charAt(at + 1))

/** Whether a normalizer turns each ASCII character that is no white space into the same text wherever it occurs. */
function actsOnCharacters(step: Step): boolean {
  if (step.type !== 'Replace') return true
  const pattern = patternOf(step)
  return matchesOnlySpaces(pattern) || ('literal' in pattern && [...pattern.literal].length === 1)
}

/** The ASCII character that a normalizer makes of one that is no white space; `undefined` if it is something else. */
function imageOf(codePoint: number, normalizers: readonly TextNormalizer[]): string | undefined {
  const images = imagesOf(String.fromCharCode(codePoint), normalizers)
  return images.every(image => /^[!-~]$/.test(image)) ? images.at(-1) : undefined
}

/** A text and what each normalizer makes of it. */
function imagesOf(text: string, normalizers: readonly TextNormalizer[]): string[] {
  const images = [text]
  for (const step of normalizers) images.push(normalize([step], images.at(-1)!))
  return images
}

/** Whether white space becomes text that begins with a separator, regardless of what follows. */
function startsWithSeparator(
  codePoint: number,
  normalizers: readonly TextNormalizer[],
  { isSeparator }: Separators,
): boolean {
  const text = String.fromCharCode(codePoint)
  if (normalizers.some(step => step.mayReplaceWithNext?.(text))) return false
  return ['b', '\n', ' '].every(next => {
    const first = [...normalize(normalizers, `${text}${next}b`)][0]
    return first !== undefined && isSeparator(first)
  })
}

/** Whether white space becomes nothing but separators. */
function isSeparator(codePoint: number, normalizers: readonly TextNormalizer[], { isSeparator }: Separators): boolean {
  const normalized = [...normalize(normalizers, String.fromCharCode(codePoint))]
  return normalized.length > 0 && normalized.every(isSeparator)
}

/** Rows of the test that differ get a bit each, as many as there are. */
function tablesOf(mayCut: CutTest): Pick<ChunkRules, 'after' | 'before'> {
  const tables = { after: new Uint8Array(256).fill(DEPENDS_ON_CHARACTER, 128), before: new Uint8Array(256) }
  const bits = new Map<string, number>()
  for (let first = 0; first < 128; first++) {
    const row = Array.from({ length: 128 }, (_, second) => mayCut(first, second))
    if (!row.includes(true)) continue
    const key = row.join()
    const bit = bits.get(key) ?? 1 << bits.size
    if (bit >= DEPENDS_ON_CHARACTER) continue
    bits.set(key, bit)
    tables.after[first] = bit
    for (const [second, isCut] of row.entries()) if (isCut) tables.before[second]! |= bit
  }
  const letter = 'a'.charCodeAt(0)
  for (let second = 0; second < 128; second++) {
    if (isBlank(second) && mayCut(letter, second)) tables.before[second]! |= DEPENDS_ON_CHARACTER
  }
  return tables
}

/** Characters at which the first pre-tokenizer, or the model, cuts in any case. */
interface Separators {
  readonly isSeparator: (character: string) => boolean
  /** Whether they are in no piece, so that their number does not matter. */
  readonly areDropped: boolean
}

const separatorsFrom = (characters: string, areDropped: boolean): Separators => ({
  isSeparator: character => characters.includes(character),
  areDropped,
})

/** `undefined` if there are none. */
function separatorsOf({
  preTokenizerSteps,
  normalizerSteps,
  model,
  vocabulary,
}: PipelineShape): Separators | undefined {
  const [first] = preTokenizerSteps
  switch (first?.type) {
    case 'BertPreTokenizer':
    case 'Whitespace':
    case 'WhitespaceSplit':
      return { isSeparator: character => isSpace(character.codePointAt(0)!), areDropped: true }
    case 'CharDelimiterSplit':
      return first.json.delimiter === ' ' ? separatorsFrom(' ', true) : undefined
    case 'ByteLevel':
      return first.json.use_regex === false ? undefined : separatorsFrom(' ', false)
    case 'Metaspace':
      return cutsAtReplacement(first, preTokenizerSteps, model, vocabulary)
        ? separatorsFrom(` ${first.json.replacement}`, false)
        : undefined
    case 'Split':
      return skipsSpaces(first) ? separatorsFrom(' ', true) : undefined
    case undefined: {
      const isMeta = normalizerSteps.some(step => step.type === 'Replace' && step.json.content === META)
      return isMeta && mergesWithinWords(model, vocabulary) ? separatorsFrom(META, false) : undefined
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

function keepsSeparators(step: Step, { isSeparator }: Separators): boolean {
  if (LOCAL.has(step.type) || step.type === 'Bert' || step.type === 'BertNormalizer' || step.type === 'Precompiled')
    return true
  if (step.type !== 'Replace') return false
  const content = textOf(step, 'content')
  const pattern = patternOf(step)
  if (matchesOnlySpaces(pattern)) return content !== '' && [...content].every(isSeparator)
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

function normalize(normalizers: readonly TextNormalizer[], text: string): string {
  const edges = { isFirst: false, isLast: false }
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
  return imagesOf(character, normalizers).every(image => image !== '' && !/[\s\u2581]/.test(image))
}

/** Whether a normalizer may replace a letter together with a character before it that joins it. */
function changesPrepended(normalizers: readonly TextNormalizer[]): boolean {
  const steps = normalizers.filter(step => step.mayReplaceWithNext !== undefined)
  return steps.some(step =>
    prependedCharacters().some(
      character => step.mayReplaceWithNext!(character) || normalize([step], character) !== character,
    ),
  )
}

/** Letters that form syllables with their neighbours. */
function isJamo(codePoint: number): boolean {
  return (
    (codePoint >= 0x1100 && codePoint < 0x1200) ||
    (codePoint >= 0xa960 && codePoint < 0xa980) ||
    (codePoint >= 0xd7b0 && codePoint < 0xd800)
  )
}
