/**
 * Reads a tokenizer.json into a plan for one of our engines: the byte-level engine where it applies, else the general
 * pipeline. Unsupported components are rejected with UNSUPPORTED, their type and their place in the file; files that are not
 * a tokenizer.json at all with TOKENIZER_INVALID.
 */
import { PenstockError } from '../../errors.js'
import { type PackedVocabulary, packVocabulary } from '../engine/byte-level.js'
import type { EnginePlan } from '../engine/engine.js'
import type { Model } from '../engine/model.js'
import { highestIdOf, type Vocabulary } from '../engine/vocabulary.js'
import type { KernelSource } from '../kernel/kernel-engine.js'
import type { ChunkRules } from '../patterns/chunks.js'
import { patternRule, type SplitRule } from '../patterns/pretokenize.js'
import type { AddedToken } from '../steps/added-tokens.js'
import { AddedVocabulary } from '../steps/added-vocabulary.js'
import type { DecoderStep } from '../steps/decode.js'
import { formStep, type NormalizerStep, type UnicodeForm } from '../steps/normalize.js'
import type { PreTokenizer } from '../steps/pre-tokenizers.js'
import type { TextNormalizer } from '../steps/text-normalizers.js'
import { chunkRulesOf, mayCutAtSpaces } from './chunk-rules.js'
import { refuseDepth, refuseManySteps } from './limits.js'
import { type ModelText, readModelText } from './model-text.js'
import { readDecoder } from './read-decoders.js'
import { byteSymbols, hasPlainSymbols, modelTypeOf, readMerges, readModel, readVocabulary } from './read-model.js'
import { readNormalizer } from './read-normalizers.js'
import { readPostProcessor } from './read-post-processor.js'
import { byteLevelRules, readPreTokenizer } from './read-pre-tokenizers.js'
import { type Step, stepsOf } from './step-list.js'
import { invalid, type Json, section, unsupported } from './tokenizer-fields.js'

/** The parts of a plan that every engine has. */
export interface CommonPlan {
  readonly vocabulary: Vocabulary
  /** Entries of the model's vocabulary. */
  readonly vocabSize: number
  /** Tokens that occur again in the list of a Unigram model: their ids are decoded, but never given. */
  readonly repeated?: ReadonlyMap<number, string>
  readonly added: AddedVocabulary
  readonly decoders: readonly DecoderStep[] | undefined
  /** Ids that the post-processor adds around a text. */
  readonly before: readonly number[]
  readonly after: readonly number[]
  /** Highest token id + 1. */
  readonly totalSize: number
}

/** Plan of the byte-level engine and of SentencePiece models. */
export interface TokenizerPlan extends CommonPlan, EnginePlan {
  readonly normalizer: readonly NormalizerStep[]
  /** Whether each text between added tokens gets a space in front unless it has one. */
  readonly addsPrefixSpace: boolean
}

/** Plan of the general pipeline. */
export interface PipelinePlan extends CommonPlan {
  readonly normalizers: readonly TextNormalizer[]
  readonly preTokenizers: readonly PreTokenizer[]
  /** Whether a pre-tokenizer has to know what comes from the first character of a document. */
  readonly needsDocumentStart: boolean
  readonly model: Model
  /** How texts may be cut into chunks that are encoded by themselves; `undefined` if they may not. */
  readonly chunks: ChunkRules | undefined
}

/** Source of a tokenizer: a tokenizer.json as text, as its UTF-8 bytes, or parsed. */
export type TokenizerSource = string | Uint8Array | object

/**
 * @param kernel reads the long lists of the file and runs Unigram if given
 * @throws TOKENIZER_INVALID, UNSUPPORTED
 */
export function readPlan(source: TokenizerSource, kernel?: KernelSource): TokenizerPlan | PipelinePlan {
  const bytes = typeof source === 'string' ? new TextEncoder().encode(source) : source
  let text = bytes instanceof Uint8Array ? readModelText(bytes, kernel) : undefined
  let file = parsedSource(text?.rest ?? source)
  let model = section(file, 'model') ?? invalid('it has no model')
  if (text !== undefined && !(modelTypeOf(model) === 'BPE' && hasPlainSymbols(model))) {
    text = undefined
    file = parsedSource(source)
    model = section(file, 'model')!
  }
  refuseManySteps(file)
  if (typeof model.dropout === 'number' && model.dropout > 0) {
    unsupported('model.dropout: encoding would be random; set it to null')
  }
  const normalizers = stepsOf(section(file, 'normalizer'), 'normalizer', 'normalizers')
  const preTokenizers = stepsOf(section(file, 'pre_tokenizer'), 'pre_tokenizer', 'pretokenizers')
  const fast = byteLevelPlan(file, model, text, normalizers, preTokenizers)
  return fast ?? pipelinePlan(file, model, text, normalizers, preTokenizers, kernel)
}

const FORMS: readonly string[] = ['NFC', 'NFD', 'NFKC', 'NFKD']

function byteLevelPlan(
  file: Json,
  model: Json,
  text: ModelText | undefined,
  normalizers: readonly Step[],
  preTokenizers: readonly Step[],
): TokenizerPlan | undefined {
  if (modelTypeOf(model) !== 'BPE' || !hasPlainSymbols(model)) return undefined
  if (!normalizers.every(({ type }) => FORMS.includes(type))) return undefined
  const split = byteLevelRules(preTokenizers)
  if (split === undefined) return undefined
  const vocabulary = text?.vocabulary ?? readVocabulary(model)
  const words: PackedVocabulary = text?.words() ?? packVocabulary(vocabulary)
  const symbols = byteSymbols(model, vocabulary, words)
  if (symbols === undefined) return undefined
  const normalizer = normalizers.map(({ type }) => formStep(type as UnicodeForm))
  return {
    ...commonPlan(file, vocabulary, vocabulary.size, normalizers.map(readNormalizer)),
    normalizer,
    addsPrefixSpace: split.addsPrefixSpace,
    rules: split.rules,
    symbols,
    merges: text?.merges ?? readMerges(model.merges, vocabulary),
    words,
    ignoresMerges: model.ignore_merges === true,
  }
}

function pipelinePlan(
  file: Json,
  json: Json,
  text: ModelText | undefined,
  normalizerSteps: readonly Step[],
  preTokenizerSteps: readonly Step[],
  kernel: KernelSource | undefined,
): PipelinePlan {
  const normalizers = normalizerSteps.map(readNormalizer)
  const preTokenizers = preTokenizerSteps.flatMap(readPreTokenizer)
  const { model, vocabulary, vocabSize, repeated } = readModel(json, text, kernel)
  const common = commonPlan(file, vocabulary, vocabSize, normalizers)
  const totalSize = Math.max(common.totalSize, repeated.size === 0 ? 0 : vocabSize)
  const needsDocumentStart = preTokenizerSteps.some(
    ({ type, json: step }) => type === 'Metaspace' && step.prepend_scheme === 'first',
  )
  const shape = { normalizerSteps, preTokenizerSteps, normalizers, model: json, vocabulary, added: common.added }
  return {
    ...common,
    totalSize,
    repeated,
    normalizers,
    preTokenizers,
    needsDocumentStart,
    model,
    chunks: chunkRulesOf({ ...shape, needsDocumentStart }),
  }
}

function commonPlan(
  file: Json,
  vocabulary: Vocabulary,
  vocabSize: number,
  normalizers: readonly TextNormalizer[],
): CommonPlan {
  const edges = { isFirst: true, isLast: true }
  const contentSteps = normalizers.map(step => ({
    growth: step.growth,
    normalize: (content: string) => step.apply({ text: content, fromFirst: 0 }, edges).text,
  }))
  const added = new AddedVocabulary(addedTokensOf(file.added_tokens), vocabulary, vocabSize, contentSteps)
  const decoder = section(file, 'decoder')
  return {
    vocabulary,
    vocabSize,
    added,
    decoders: decoder === undefined ? undefined : stepsOf(decoder, 'decoder', 'decoders').map(readDecoder),
    ...readPostProcessor(section(file, 'post_processor')),
    totalSize: Math.max(highestIdOf(vocabulary), added.highestId) + 1,
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

/**
 * Llama 2 and similar models merge the whole text as one word. If no token has a space (U+2581) after another character, no
 * merge crosses the start of a word: splitting there changes nothing, and words can be cached.
 */
export function wordRules(vocabulary: Vocabulary): SplitRule[] {
  return mayCutAtSpaces(vocabulary) ? [patternRule('\u2581+[^\u2581]*|[^\u2581]+')] : []
}

function addedTokensOf(list: unknown): Omit<AddedToken, 'id'>[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) return invalid('added_tokens is not a list')
  return (list as Json[]).map(entry => {
    const { content } = entry
    if (typeof content !== 'string') return invalid('an added token has no content')
    return {
      content,
      special: entry.special === true,
      singleWord: entry.single_word === true,
      leftStrip: entry.lstrip === true,
      rightStrip: entry.rstrip === true,
      normalized: entry.normalized === true,
    }
  })
}
