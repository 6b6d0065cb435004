/** Reads the model of a tokenizer.json. */
import { type Merges, NONE, type Symbols } from '../engine/bpe.js'
import { type PackedVocabulary, tokenOfBytes } from '../engine/byte-level.js'
import { CharacterBpe } from '../engine/character-bpe.js'
import { type Model, wordLevel, wordPiece } from '../engine/model.js'
import { createSegmenter, type SegmenterPlan, UnigramModel, type UnigramVocabulary } from '../engine/unigram-model.js'
import type { Vocabulary } from '../engine/vocabulary.js'
import type { KernelSource } from '../kernel/kernel-engine.js'
import { KernelSegmenter } from '../kernel/kernel-segmenter.js'
import { invalid, type Json, section, unsupported } from './tokenizer-fields.js'

export type ModelType = 'BPE' | 'WordPiece' | 'WordLevel' | 'Unigram'
const TYPES: readonly unknown[] = ['BPE', 'WordPiece', 'WordLevel', 'Unigram']

/** Files without a type are read as in the Rust library, by their fields. */
export function modelTypeOf(model: Json): ModelType {
  const { type } = model
  if (TYPES.includes(type)) return type as ModelType
  if (typeof type === 'string') return unsupported(`model: type ${type}`)
  if ('merges' in model) return 'BPE'
  if (Array.isArray(model.vocab)) return 'Unigram'
  return 'max_input_chars_per_word' in model ? 'WordPiece' : 'WordLevel'
}

/** Whether merges join tokens as they are spelled, and pieces have no marked start or end. */
export function hasPlainSymbols(model: Json): boolean {
  return !model.continuing_subword_prefix && !model.end_of_word_suffix
}

export interface ReadModel {
  readonly model: Model
  readonly vocabulary: Vocabulary
  /** Entries of the vocabulary. */
  readonly vocabSize: number
  /** Tokens of a list that occur again later, by their ids. */
  readonly repeated: ReadonlyMap<number, string>
}

const NO_REPEATS: ReadonlyMap<number, string> = new Map()

/**
 * @param known vocabulary and merges, if they have been read already
 * @param kernel runs Unigram if given
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function readModel(
  json: Json,
  known?: { vocabulary: Vocabulary; merges: Merges },
  kernel?: KernelSource,
): ReadModel {
  const type = modelTypeOf(json)
  if (type === 'Unigram') return readUnigram(json, kernel)
  const vocabulary = known?.vocabulary ?? readVocabulary(json)
  const vocabSize = vocabulary.size
  const unknownToken = typeof json.unk_token === 'string' ? json.unk_token : undefined
  if (type === 'BPE') {
    const continuingPrefix = optionalText(json, 'continuing_subword_prefix')
    const merges = known?.merges ?? readMerges(json.merges, vocabulary, continuingPrefix)
    const options = {
      unknownToken,
      continuingPrefix,
      endOfWordSuffix: optionalText(json, 'end_of_word_suffix'),
      fuseUnknown: json.fuse_unk === true,
      hasByteFallback: json.byte_fallback === true,
      ignoresMerges: json.ignore_merges === true,
    }
    return { model: new CharacterBpe(vocabulary, merges, options), vocabulary, vocabSize, repeated: NO_REPEATS }
  }
  if (unknownToken === undefined) return invalid('the model has no unk_token')
  if (type === 'WordLevel') {
    return { model: wordLevel(vocabulary, unknownToken), vocabulary, vocabSize, repeated: NO_REPEATS }
  }
  const maxCharacters = json.max_input_chars_per_word
  if (typeof maxCharacters !== 'number') return invalid('the model has no max_input_chars_per_word')
  const continuingPrefix = json.continuing_subword_prefix
  if (typeof continuingPrefix !== 'string') return invalid('the model has no continuing_subword_prefix')
  const model = wordPiece(vocabulary, { unknownToken, continuingPrefix, maxCharacters })
  return { model, vocabulary, vocabSize, repeated: NO_REPEATS }
}

function optionalText(model: Json, key: string): string {
  const value = model[key] ?? ''
  return typeof value === 'string' ? value : invalid(`model.${key} is not a text`)
}

function readUnigram(json: Json, kernel: KernelSource | undefined): ReadModel {
  const { vocab, unk_id: unknownId } = json
  if (!Array.isArray(vocab)) return invalid('the model has no list vocab')
  const pieces = vocab.map((entry: unknown, id): [string, number] => {
    if (!Array.isArray(entry) || typeof entry[0] !== 'string' || typeof entry[1] !== 'number') {
      return invalid(`model.vocab[${id}] is not a pair of a token and a score`)
    }
    return [entry[0], entry[1]]
  })
  if (typeof unknownId === 'number' && !(unknownId < pieces.length)) invalid(`model.unk_id is ${unknownId}`)
  const vocabulary: UnigramVocabulary = {
    pieces,
    unknownId: typeof unknownId === 'number' ? unknownId : undefined,
    hasByteFallback: json.byte_fallback === true,
  }
  const ids = new Map(pieces.map(([piece], id) => [piece, id]))
  const repeated = new Map(
    [...pieces.entries()].flatMap(([id, [piece]]) => (ids.get(piece) === id ? [] : [[id, piece]])),
  )
  const segmenter = kernel === undefined ? createSegmenter : (plan: SegmenterPlan) => new KernelSegmenter(kernel, plan)
  return { model: new UnigramModel(vocabulary, segmenter), vocabulary: ids, vocabSize: pieces.length, repeated }
}

export function readVocabulary(model: Json): Map<string, number> {
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

/** @param prefix dropped from the second token of each pair, by its length alone */
export function readMerges(merges: unknown, vocabulary: Vocabulary, prefix = ''): Merges {
  if (!Array.isArray(merges)) invalid('the model has no list of merges')
  const pairs = merges.filter(merge => typeof merge !== 'string' || !merge.startsWith('#version'))
  const result = {
    left: new Uint32Array(pairs.length),
    right: new Uint32Array(pairs.length),
    result: new Uint32Array(pairs.length),
  }
  const idOf = (token: string, rank: number): number =>
    vocabulary.get(token) ?? invalid(`merge ${rank} needs ${JSON.stringify(token)}, which the vocab lacks`)
  for (let rank = 0; rank < pairs.length; rank++) {
    const [left, right] = pairOf(pairs[rank]) ?? invalid(`merge ${rank} is not a pair`)
    result.left[rank] = idOf(left, rank)
    result.right[rank] = idOf(right, rank)
    result.result[rank] = idOf(left + withoutBytes(right, prefix), rank)
  }
  return result
}

function withoutBytes(text: string, prefix: string): string {
  if (text.startsWith(prefix)) return text.slice(prefix.length)
  const bytes = new TextEncoder().encode(text)
  return new TextDecoder().decode(bytes.subarray(new TextEncoder().encode(prefix).length))
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

/** Symbols of the byte-level engine; `undefined` if the vocabulary lacks what the text may need. */
export function byteSymbols(model: Json, vocabulary: Vocabulary, words: PackedVocabulary): Symbols | undefined {
  const byteIds = new Uint32Array(256).map((_, byte) => vocabulary.get(tokenOfBytes(Uint8Array.of(byte))) ?? NONE)
  const unknown = typeof model.unk_token === 'string' ? vocabulary.get(model.unk_token) : undefined
  const mayFail = model.byte_fallback === true || (typeof model.unk_token === 'string' && unknown === undefined)
  if (byteIds.includes(NONE) && mayFail) return undefined
  return {
    unit: 'bytes',
    byteIds,
    innerPairs: innerPairsOf(words, byteIds),
    characterIds: new Map(),
    byteFallback: false,
    unknownId: unknown ?? NONE,
    fuseUnknown: model.fuse_unk === true,
  }
}

/** All pairs if bytes may be dropped: the tokens on both sides of a dropped byte become neighbours. */
function innerPairsOf({ innerPairs }: PackedVocabulary, byteIds: Uint32Array): Uint8Array {
  return byteIds.includes(NONE) ? new Uint8Array(innerPairs.length).fill(0xff) : innerPairs
}
