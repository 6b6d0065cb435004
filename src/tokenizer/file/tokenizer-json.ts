/**
 * Reads a tokenizer.json into a plan for our engines. Features that they cannot follow exactly are rejected with UNSUPPORTED
 * and a reason, never approximated; files that are not a tokenizer.json at all with TOKENIZER_INVALID.
 */
import { PenstockError } from '../../errors.js'
import { type Merges, NONE, type Symbols } from '../engine/bpe.js'
import { NO_WORDS, type PackedVocabulary, packVocabulary, tokenOfBytes } from '../engine/byte-level.js'
import type { EnginePlan } from '../engine/engine.js'
import { highestIdOf, type Vocabulary } from '../engine/vocabulary.js'
import type { KernelSource } from '../kernel/kernel-engine.js'
import { patternRule, type SplitRule } from '../patterns/pretokenize.js'
import type { AddedToken } from '../steps/added-tokens.js'
import type { DecoderStep } from '../steps/decode.js'
import type { NormalizerStep } from '../steps/normalize.js'
import { refuseDepth, refuseManySteps } from './limits.js'
import { readModelText } from './model-text.js'
import { invalid, type Json, section, unsupported } from './tokenizer-fields.js'
import {
  type PreTokenizerPlan,
  readDecoder,
  readNormalizer,
  readPostProcessor,
  readPreTokenizer,
} from './tokenizer-steps.js'

export interface TokenizerPlan extends EnginePlan {
  readonly addedTokens: readonly AddedToken[]
  readonly normalizer: readonly NormalizerStep[]
  readonly prefix: PreTokenizerPlan['prefix']
  readonly spaceReplacement: PreTokenizerPlan['spaceReplacement']
  readonly decoders: readonly DecoderStep[] | undefined
  /** Ids that the post-processor adds around a text. */
  readonly before: readonly number[]
  readonly after: readonly number[]
}

/** Source of a tokenizer: a tokenizer.json as text, as its UTF-8 bytes, or parsed. */
export type TokenizerSource = string | Uint8Array | object

/**
 * @param kernel reads the long lists of the file if given
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function readPlan(source: TokenizerSource, kernel?: KernelSource): TokenizerPlan {
  const bytes = typeof source === 'string' ? new TextEncoder().encode(source) : source
  const text = bytes instanceof Uint8Array ? readModelText(bytes, kernel) : undefined
  const file = parsedSource(text?.rest ?? source)
  refuseManySteps(file)
  const model = section(file, 'model') ?? invalid('it has no model')
  const kind = typeof model.type === 'string' ? model.type : 'merges' in model ? 'BPE' : 'unknown'
  if (kind !== 'BPE') unsupported(`model: type ${kind}`)
  refuseModelOptions(model)
  const vocabulary = text?.vocabulary ?? readVocabulary(model)
  const pre = readPreTokenizer(section(file, 'pre_tokenizer'))
  const normalizer = readNormalizer(section(file, 'normalizer'))
  const words = pre.isByteLevel ? (text?.words() ?? packVocabulary(vocabulary)) : NO_WORDS
  const symbols = readSymbols(model, vocabulary, words, pre.isByteLevel)
  const addedTokens = readAddedTokens(file.added_tokens, vocabulary)
  let highestId = highestIdOf(vocabulary)
  for (const { id } of addedTokens) highestId = Math.max(highestId, id)
  return {
    vocabulary,
    addedTokens,
    normalizer,
    prefix: pre.prefix,
    spaceReplacement: pre.spaceReplacement,
    rules: pre.rules.length === 0 && !pre.isByteLevel ? wordRules(vocabulary) : pre.rules,
    symbols,
    merges: text?.merges ?? readMerges(model.merges, vocabulary),
    words,
    ignoresMerges: model.ignore_merges === true,
    totalSize: highestId + 1,
    decoders: readDecoder(section(file, 'decoder')),
    ...readPostProcessor(section(file, 'post_processor')),
  }
}

/** @throws TOKENIZER_INVALID */
export function parsedSource(source: TokenizerSource): Json {
  const text = source instanceof Uint8Array ? new TextDecoder('utf-8', { ignoreBOM: true }).decode(source) : source
  if (typeof text !== 'string') return text as Json
  refuseDepth(text)
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  } catch (error) {
    throw new PenstockError('TOKENIZER_INVALID', 'not a tokenizer.json: invalid JSON', {}, error)
  }
  return invalid('it is not a JSON object')
}

function refuseModelOptions(model: Json): void {
  if (typeof model.dropout === 'number' && model.dropout > 0) {
    unsupported('model.dropout: encoding would be random; set it to null')
  }
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (typeof model[key] === 'string' && model[key] !== '') unsupported(`model.${key}`)
  }
}

function readVocabulary(model: Json): Map<string, number> {
  const vocabulary = section(model, 'vocab') ?? invalid('the model has no vocab')
  const ids = new Map<string, number>()
  for (const token of Object.keys(vocabulary)) {
    const id = vocabulary[token]
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id >= 2 ** 31)
      return invalid(`token ${token} has the id ${id}`)
    ids.set(token, id)
  }
  return ids
}

function readMerges(merges: unknown, vocabulary: Vocabulary): Merges {
  if (!Array.isArray(merges)) invalid('the model has no list of merges')
  const result = {
    left: new Uint32Array(merges.length),
    right: new Uint32Array(merges.length),
    result: new Uint32Array(merges.length),
  }
  const idOf = (token: string, rank: number): number =>
    vocabulary.get(token) ?? invalid(`merge ${rank} needs ${JSON.stringify(token)}, which the vocab lacks`)
  for (let rank = 0; rank < merges.length; rank++) {
    const [left, right] = pairOf(merges[rank]) ?? invalid(`merge ${rank} is not a pair`)
    result.left[rank] = idOf(left, rank)
    result.right[rank] = idOf(right, rank)
    result.result[rank] = idOf(left + right, rank)
  }
  return result
}

/** A merge is a list of two tokens or, in older files, a text with a space between them. */
function pairOf(merge: unknown): readonly [string, string] | undefined {
  if (typeof merge === 'string') {
    const space = merge.indexOf(' ')
    const isPair = space >= 0 && merge.indexOf(' ', space + 1) < 0
    return isPair ? [merge.slice(0, space), merge.slice(space + 1)] : undefined
  }
  if (!Array.isArray(merge) || merge.length !== 2) return undefined
  const [left, right]: unknown[] = merge
  return typeof left === 'string' && typeof right === 'string' ? [left, right] : undefined
}

function readSymbols(model: Json, vocabulary: Vocabulary, words: PackedVocabulary, isByteLevel: boolean): Symbols {
  const byteFallback = model.byte_fallback === true
  const byteIds = new Uint32Array(256).map((_, byte) => {
    const token = isByteLevel
      ? tokenOfBytes(Uint8Array.of(byte))
      : `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
    return vocabulary.get(token) ?? NONE
  })
  if (isByteLevel && byteFallback && byteIds.includes(NONE))
    unsupported('model.byte_fallback in a byte-level vocabulary without all bytes')
  const unknown = typeof model.unk_token === 'string' ? model.unk_token : undefined
  return {
    unit: isByteLevel ? 'bytes' : 'characters',
    byteIds,
    innerPairs: isByteLevel ? innerPairsOf(words, byteIds) : new Uint8Array(0),
    characterIds: isByteLevel ? new Map() : singleCharacters(vocabulary),
    byteFallback,
    unknownId:
      unknown === undefined ? NONE : (vocabulary.get(unknown) ?? invalid(`unk_token ${unknown} is not in the vocab`)),
    fuseUnknown: model.fuse_unk === true,
  }
}

/**
 * Llama 2 and similar models merge the whole text as one word. If no token has a space (U+2581) after another character, no
 * merge crosses the start of a word: splitting there changes nothing, and words can be cached.
 */
export function wordRules(vocabulary: Vocabulary): SplitRule[] {
  const isSafe = vocabulary.has('\u2581') && ![...vocabulary.keys()].some(token => /[^\u2581]\u2581/.test(token))
  return isSafe ? [patternRule('\u2581+[^\u2581]*|[^\u2581]+')] : []
}

/** All pairs if bytes may be dropped: the tokens on both sides of a dropped byte become neighbours. */
function innerPairsOf({ innerPairs }: PackedVocabulary, byteIds: Uint32Array): Uint8Array {
  return byteIds.includes(NONE) ? new Uint8Array(innerPairs.length).fill(0xff) : innerPairs
}

function singleCharacters(vocabulary: Vocabulary): Map<number, number> {
  const byCodePoint = new Map<number, number>()
  for (const [token, id] of vocabulary) {
    const codePoint = token.codePointAt(0)
    if (codePoint !== undefined && token.length === (codePoint > 0xffff ? 2 : 1)) byCodePoint.set(codePoint, id)
  }
  return byCodePoint
}

/** A token missing in the vocabulary gets the next free id, as in the Rust library; the ids in the file agree with that. */
function readAddedTokens(list: unknown, vocabulary: Vocabulary): AddedToken[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) return invalid('added_tokens is not a list')
  const tokens: AddedToken[] = []
  const seen = new Set([''])
  let highest = vocabulary.size - 1
  for (const entry of list as Json[]) {
    const { content } = entry
    if (typeof content !== 'string') return invalid('an added token has no content')
    if (seen.has(content)) continue
    seen.add(content)
    const id = vocabulary.get(content) ?? highest + 1
    highest = Math.max(highest, id)
    tokens.push({
      id,
      content,
      special: entry.special === true,
      singleWord: entry.single_word === true,
      leftStrip: entry.lstrip === true,
      rightStrip: entry.rstrip === true,
      normalized: entry.normalized === true,
    })
  }
  return tokens
}
