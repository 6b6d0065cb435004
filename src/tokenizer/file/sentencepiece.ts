/**
 * Reads SentencePiece `.model` files (BPE and Unigram) into a plan for our engines, with the semantics of Google's library:
 * `encode` adds no control tokens, and control tokens written in a text are ordinary text.
 *
 * The file is a protocol buffer, ModelProto of sentencepiece_model.proto; the fields read here:
 *   1 pieces (repeated): 1 piece, 2 score (float), 3 type
 *   2 trainer_spec: 3 model_type, 24 treat_whitespace_as_suffix, 44 unk_surface
 *   3 normalizer_spec: 2 precompiled_charsmap, 3 add_dummy_prefix, 4 remove_extra_whitespaces, 5 escape_whitespaces
 */
import { PenstockError } from '../../errors.js'
import { type Merges, NONE } from '../engine/bpe.js'
import { NO_WORDS } from '../engine/byte-level.js'
import type { UnigramPieces } from '../engine/unigram.js'
import type { AddedToken } from '../steps/added-tokens.js'
import { AddedVocabulary } from '../steps/added-vocabulary.js'
import { CharacterMap } from '../steps/character-map.js'
import type { DecoderStep } from '../steps/decode.js'
import { mapStep } from '../steps/normalize.js'
import { readMessage, textOf } from './read-protobuf.js'
import { type TokenizerPlan, wordRules } from './tokenizer-json.js'

const SPACE = '\u2581'
const TYPES = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const
const UNIGRAM = 1
const BPE = 2
/** Score difference between the least likely piece and a character without a piece. */
const UNKNOWN_PENALTY = 10

interface Piece {
  readonly id: number
  readonly text: string
  readonly score: number
  readonly type: number
}

interface Model {
  readonly pieces: readonly Piece[]
  readonly modelType: number
  readonly unknownSurface: string
  readonly addsPrefix: boolean
  readonly removesExtraSpaces: boolean
  readonly charactersMap: Uint8Array
}

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readSentencePiecePlan(file: Uint8Array): TokenizerPlan {
  const model = readModel(file)
  const vocabulary = new Map(model.pieces.map(({ text, id }) => [text, id]))
  const ofType = (type: number): readonly Piece[] => model.pieces.filter(piece => piece.type === type)
  const unknownId = ofType(TYPES.unknown)[0]?.id ?? NONE
  const byteIds = new Uint32Array(256).map((_, byte) => vocabulary.get(byteName(byte)) ?? NONE)
  const hasBytes = ofType(TYPES.byte).length === 256
  const usable = model.pieces.filter(({ type }) => type === TYPES.normal || type === TYPES.userDefined)
  const words = new Map(usable.map(({ text, id }) => [text, id]))
  const isUnigram = model.modelType === UNIGRAM
  return {
    vocabulary,
    words: NO_WORDS,
    ignoresMerges: false,
    vocabSize: vocabulary.size,
    added: new AddedVocabulary(
      isUnigram ? [] : ofType(TYPES.userDefined).map(asAddedToken),
      vocabulary,
      vocabulary.size,
      [],
    ),
    normalizer: [mapStep(normalizerOf(model, ofType(TYPES.userDefined)))],
    addsPrefixSpace: false,
    // Not split at words for Unigram: rounding of sums and ties then agree with Google's library.
    rules: isUnigram ? [] : wordRules(words),
    symbols: {
      unit: 'characters',
      byteIds,
      innerPairs: new Uint8Array(0),
      characterIds: new Map(
        usable.filter(({ text }) => [...text].length === 1).map(({ text, id }) => [text.codePointAt(0)!, id]),
      ),
      byteFallback: hasBytes,
      unknownId,
      fuseUnknown: true,
    },
    merges: isUnigram
      ? { left: new Uint32Array(0), right: new Uint32Array(0), result: new Uint32Array(0) }
      : mergesOf(usable, words),
    unigram: isUnigram ? unigramOf(usable, unknownId, hasBytes ? byteIds : undefined) : undefined,
    totalSize: model.pieces.length,
    decoders: [decoderOf(model)],
    before: [],
    after: [],
  }
}

function byteName(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
}

function readModel(file: Uint8Array): Model {
  const proto = readMessage(file)
  const pieces = proto.messages(1).map((piece, id): Piece => {
    return { id, text: textOf(piece.bytes(1)), score: piece.float(2) ?? 0, type: piece.integer(3) ?? TYPES.normal }
  })
  const trainer = proto.messages(2)[0]
  const normalizer = proto.messages(3)[0]
  if (pieces.length === 0 || trainer === undefined) {
    throw new PenstockError('TOKENIZER_INVALID', 'not a SentencePiece model: no pieces or no trainer_spec')
  }
  const modelType = trainer.integer(3) ?? UNIGRAM
  const reason =
    modelType !== UNIGRAM && modelType !== BPE
      ? 'is a word or character model'
      : trainer.integer(24) === 1
        ? 'treats white space as a suffix'
        : normalizer?.integer(5) === 0
          ? 'does not escape white space'
          : undefined
  if (reason !== undefined) throw new PenstockError('UNSUPPORTED', `the SentencePiece model ${reason}`)
  const surface = trainer.bytes(44)
  return {
    pieces,
    modelType,
    unknownSurface: surface === undefined ? ' \u2047 ' : textOf(surface),
    addsPrefix: normalizer?.integer(3) !== 0,
    removesExtraSpaces: normalizer?.integer(4) !== 0,
    charactersMap: normalizer?.bytes(2) ?? new Uint8Array(0),
  }
}

function asAddedToken({ id, text }: Piece): AddedToken {
  return { id, content: text, special: false, singleWord: false, leftStrip: false, rightStrip: false, normalized: true }
}

/** All pairs of pieces that form another piece, the likelier result first; among equals the leftmost pair is merged first. */
function mergesOf(usable: readonly Piece[], words: ReadonlyMap<string, number>): Merges {
  const made = usable.filter(({ type }) => type === TYPES.normal).sort((a, b) => b.score - a.score)
  const lists = { left: [] as number[], right: [] as number[], result: [] as number[], rank: [] as number[] }
  for (const { text, id } of made) {
    const rank = lists.result.push(id) - 1
    for (let cut = 1; cut < text.length; cut++) {
      const left = words.get(text.slice(0, cut))
      const right = words.get(text.slice(cut))
      if (left === undefined || right === undefined) continue
      lists.left.push(left)
      lists.right.push(right)
      lists.rank.push(rank)
    }
  }
  return {
    left: Uint32Array.from(lists.left),
    right: Uint32Array.from(lists.right),
    result: Uint32Array.from(lists.result),
    rank: Uint32Array.from(lists.rank),
  }
}

function unigramOf(usable: readonly Piece[], unknownId: number, byteIds: Uint32Array | undefined): UnigramPieces {
  const scores = usable.filter(({ type }) => type === TYPES.normal).map(({ score }) => score)
  const highest = scores.reduce((max, score) => Math.max(max, score), Number.NEGATIVE_INFINITY)
  const lowest = scores.reduce((min, score) => Math.min(min, score), Number.POSITIVE_INFINITY)
  const encoder = new TextEncoder()
  const pieces = usable.map(({ text, id, score, type }): [string, { id: number; score: number }] => {
    // A user-defined piece scores as if each of its bytes were the likeliest piece.
    return [text, { id, score: type === TYPES.userDefined ? encoder.encode(text).length * highest - 0.1 : score }]
  })
  return { pieces: new Map(pieces), unknownId, unknownScore: lowest - UNKNOWN_PENALTY, byteIds }
}

function normalizerOf(model: Model, userDefined: readonly Piece[]): (text: string) => string {
  const characters = new CharacterMap(
    model.charactersMap,
    userDefined.map(piece => piece.text),
  )
  return text => {
    let normalized = ''
    let afterSpace = model.removesExtraSpaces
    for (const part of characters.parts(text)) {
      const kept = afterSpace ? part.replace(/^ +/, '') : part
      if (kept === '') continue
      normalized += kept.replaceAll(' ', SPACE)
      afterSpace = model.removesExtraSpaces && kept.endsWith(' ')
    }
    if (model.removesExtraSpaces) normalized = normalized.replace(/\u2581+$/, '')
    const isEmpty = model.removesExtraSpaces ? normalized === '' : text === ''
    return model.addsPrefix && !isEmpty ? SPACE + normalized : normalized
  }
}

function decoderOf(model: Model): DecoderStep {
  const typeOf = new Map(model.pieces.map(({ text, type }) => [text, type]))
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  return pieces => {
    let text = ''
    let bytes: number[] = []
    let mayStrip = model.addsPrefix || model.removesExtraSpaces
    const flush = (): void => {
      if (bytes.length > 0) text += decoder.decode(Uint8Array.from(bytes))
      bytes = []
    }
    for (const piece of pieces) {
      const type = typeOf.get(piece)
      if (type === TYPES.byte) {
        bytes.push(Number.parseInt(piece.slice(3, 5), 16))
        continue
      }
      flush()
      if (text !== '') mayStrip = false
      if (type === TYPES.control) continue
      const isStripped = mayStrip && piece.startsWith(SPACE)
      if (type === TYPES.unknown) text += model.unknownSurface
      else text += (isStripped ? piece.slice(1) : piece).replaceAll(SPACE, ' ')
      // With extra spaces removed, all leading spaces are dropped; otherwise only the added one.
      if (isStripped && !model.removesExtraSpaces) mayStrip = false
    }
    flush()
    return [text]
  }
}
