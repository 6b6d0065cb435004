/**
 * Reads a tokenizer.json into a plan for our engines. What they cannot do exactly is refused with UNSUPPORTED and the
 * reason, never approximated; what is no tokenizer file at all is TOKENIZER_INVALID.
 */
import { PenstockError } from '../errors.js'
import type { AddedToken } from './added-tokens.js'
import { type Merges, NONE, type Symbols } from './bpe.js'
import { bytesOfToken, tokenOfBytes } from './byte-level.js'
import {
  byteFallbackDecoder,
  byteLevelDecoder,
  type DecoderStep,
  fuseDecoder,
  metaspaceDecoder,
  replaceDecoder,
  stripDecoder,
} from './decode.js'
import type { EnginePlan } from './engine.js'
import type { NormalizerStep, UnicodeForm } from './normalize.js'
import { GPT2_PATTERN, patternRule, type SplitBehavior, type SplitRule } from './pretokenize.js'

export interface TokenizerPlan extends EnginePlan {
  readonly vocabulary: ReadonlyMap<string, number>
  readonly addedTokens: readonly AddedToken[]
  readonly normalizer: readonly NormalizerStep[]
  /** What is put before a piece that does not begin with it, and where: before each piece, or only at the text's start. */
  readonly prefix: { readonly text: string; readonly where: 'every' | 'first' } | undefined
  /** Replaces every space before splitting (Metaspace); undefined for byte-level models. */
  readonly spaceReplacement: string | undefined
  readonly decoders: readonly DecoderStep[] | undefined
  /** Ids that the post-processor puts around a text. */
  readonly before: readonly number[]
  readonly after: readonly number[]
}

type Json = Readonly<Record<string, unknown>>

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readPlan(source: string | object): TokenizerPlan {
  const file = parse(source)
  const model = section(file, 'model') ?? invalid('it has no model')
  const kind = typeof model.type === 'string' ? model.type : 'merges' in model ? 'BPE' : 'unknown'
  if (kind !== 'BPE') unsupported(`the model is ${kind}, not BPE`)
  refuseModelOptions(model)
  const vocabulary = readVocabulary(model)
  const pre = readPreTokenizer(section(file, 'pre_tokenizer'))
  const normalizer = readNormalizer(section(file, 'normalizer'))
  const symbols = readSymbols(model, vocabulary, pre.isByteLevel)
  const addedTokens = readAddedTokens(file.added_tokens, vocabulary)
  const ids = [...vocabulary.values(), ...addedTokens.map(token => token.id)]
  return {
    vocabulary,
    addedTokens,
    normalizer,
    prefix: pre.prefix,
    spaceReplacement: pre.spaceReplacement,
    rules: pre.rules,
    symbols,
    merges: readMerges(model.merges, vocabulary),
    wholeWords: model.ignore_merges === true ? vocabulary : undefined,
    totalSize: ids.reduce((highest, id) => Math.max(highest, id), -1) + 1,
    decoders: readDecoder(section(file, 'decoder')),
    ...readPostProcessor(section(file, 'post_processor')),
  }
}

function invalid(reason: string): never {
  throw new PenstockError('TOKENIZER_INVALID', `this is no tokenizer.json: ${reason}`)
}

function unsupported(reason: string): never {
  throw new PenstockError('UNSUPPORTED', reason)
}

function parse(source: string | object): Json {
  if (typeof source !== 'string') return source as Json
  try {
    const value: unknown = JSON.parse(source)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Json
  } catch (error) {
    throw new PenstockError('TOKENIZER_INVALID', 'this is no tokenizer.json: it is not JSON', {}, error)
  }
  return invalid('it is not a JSON object')
}

function section(parent: Json, key: string): Json | undefined {
  const value = parent[key]
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) invalid(`${key} is not an object`)
  return value as Json
}

function sections(parent: Json, key: string): readonly Json[] {
  const value = parent[key]
  return Array.isArray(value) ? (value as Json[]) : invalid(`a Sequence has no list of ${key}`)
}

function refuseModelOptions(model: Json): void {
  if (typeof model.dropout === 'number' && model.dropout > 0) {
    unsupported('the model asks for dropout: the same text would have other tokens each time; set it to null')
  }
  for (const key of ['continuing_subword_prefix', 'end_of_word_suffix']) {
    if (typeof model[key] === 'string' && model[key] !== '') unsupported(`the model has a ${key}`)
  }
}

function readVocabulary(model: Json): Map<string, number> {
  const vocabulary = section(model, 'vocab') ?? invalid('the model has no vocab')
  const entries = Object.entries(vocabulary)
  for (const [token, id] of entries) {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) >= 2 ** 31)
      invalid(`token ${token} has the id ${id}`)
  }
  return new Map(entries as [string, number][])
}

function readMerges(merges: unknown, vocabulary: ReadonlyMap<string, number>): Merges {
  if (!Array.isArray(merges)) invalid('the model has no list of merges')
  const result = {
    left: new Uint32Array(merges.length),
    right: new Uint32Array(merges.length),
    result: new Uint32Array(merges.length),
  }
  for (const [rank, merge] of merges.entries()) {
    const [left, right, ...more]: unknown[] =
      typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []
    if (typeof left !== 'string' || typeof right !== 'string' || more.length > 0) invalid(`merge ${rank} is not a pair`)
    const ids = [left, right, left + right].map(
      token => vocabulary.get(token) ?? invalid(`merge ${rank} needs ${JSON.stringify(token)}, which the vocab lacks`),
    )
    result.left[rank] = ids[0]!
    result.right[rank] = ids[1]!
    result.result[rank] = ids[2]!
  }
  return result
}

function readSymbols(model: Json, vocabulary: ReadonlyMap<string, number>, isByteLevel: boolean): Symbols {
  const byteFallback = model.byte_fallback === true
  const byteIds = new Uint32Array(256).map((_, byte) => {
    const token = isByteLevel
      ? tokenOfBytes(Uint8Array.of(byte))
      : `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`
    return vocabulary.get(token) ?? NONE
  })
  if (isByteLevel && byteFallback && byteIds.includes(NONE))
    unsupported('a byte-level vocabulary lacks bytes but has byte_fallback')
  const unknown = typeof model.unk_token === 'string' ? model.unk_token : undefined
  return {
    unit: isByteLevel ? 'bytes' : 'characters',
    byteIds,
    innerPairs: isByteLevel ? innerPairs(vocabulary, !byteIds.includes(NONE)) : new Uint8Array(0),
    characterIds: isByteLevel ? new Map() : singleCharacters(vocabulary),
    byteFallback,
    unknownId:
      unknown === undefined ? NONE : (vocabulary.get(unknown) ?? invalid(`unk_token ${unknown} is not in the vocab`)),
    fuseUnknown: model.fuse_unk === true,
  }
}

/** All pairs when bytes may be dropped: what is left of one may then meet what is left of another. */
function innerPairs(vocabulary: ReadonlyMap<string, number>, hasAllBytes: boolean): Uint8Array {
  const pairs = new Uint8Array(8192).fill(hasAllBytes ? 0 : 0xff)
  for (const token of vocabulary.keys()) {
    const bytes = bytesOfToken(token) ?? []
    for (let i = 1; i < bytes.length; i++) {
      const pair = bytes[i - 1]! | (bytes[i]! << 8)
      pairs[pair >> 3]! |= 1 << (pair & 7)
    }
  }
  return pairs
}

function singleCharacters(vocabulary: ReadonlyMap<string, number>): Map<number, number> {
  const byCodePoint = new Map<number, number>()
  for (const [token, id] of vocabulary) {
    const codePoint = token.codePointAt(0)
    if (codePoint !== undefined && token.length === (codePoint > 0xffff ? 2 : 1)) byCodePoint.set(codePoint, id)
  }
  return byCodePoint
}

/** A token that the vocabulary lacks gets the next free id, as in the Rust library; the file's own ids agree with that. */
function readAddedTokens(list: unknown, vocabulary: ReadonlyMap<string, number>): AddedToken[] {
  if (list === undefined || list === null) return []
  if (!Array.isArray(list)) return invalid('added_tokens is not a list')
  const tokens: AddedToken[] = []
  let highest = vocabulary.size - 1
  for (const entry of list as Json[]) {
    const { content } = entry
    if (typeof content !== 'string') return invalid('an added token has no content')
    if (content === '' || tokens.some(token => token.content === content)) continue
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

function readNormalizer(normalizer: Json | undefined): NormalizerStep[] {
  if (normalizer === undefined) return []
  switch (normalizer.type) {
    case 'Sequence':
      return sections(normalizer, 'normalizers').flatMap(readNormalizer)
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return [{ kind: 'form', form: normalizer.type as UnicodeForm }]
    case 'Prepend':
      return [{ kind: 'prepend', text: String(normalizer.prepend) }]
    case 'Replace': {
      const from = literalPattern(normalizer) ?? unsupported('the normalizer replaces a regular expression')
      return [{ kind: 'replace', from, to: String(normalizer.content) }]
    }
    default:
      return unsupported(`the normalizer ${normalizer.type} is not one that we follow exactly`)
  }
}

interface PreTokenizerPlan {
  readonly rules: readonly SplitRule[]
  readonly isByteLevel: boolean
  readonly prefix: TokenizerPlan['prefix']
  readonly spaceReplacement: string | undefined
}

const NO_PRE_TOKENIZER: PreTokenizerPlan = {
  rules: [],
  isByteLevel: false,
  prefix: undefined,
  spaceReplacement: undefined,
}

function readPreTokenizer(pre: Json | undefined, earlier = NO_PRE_TOKENIZER): PreTokenizerPlan {
  if (pre === undefined) return earlier
  if (pre.type === 'Sequence') {
    return sections(pre, 'pretokenizers').reduce((plan, next) => readPreTokenizer(next, plan), earlier)
  }
  if (earlier.isByteLevel) unsupported(`a ${pre.type} pre-tokenizer follows ByteLevel`)
  if (earlier.spaceReplacement !== undefined) unsupported(`a ${pre.type} pre-tokenizer follows Metaspace`)
  const followedBy = (...rules: SplitRule[]): PreTokenizerPlan => ({ ...earlier, rules: [...earlier.rules, ...rules] })
  switch (pre.type) {
    case 'ByteLevel': {
      if (pre.add_prefix_space === true && earlier.rules.length > 0)
        unsupported('ByteLevel adds spaces to pieces of a split')
      const prefix = pre.add_prefix_space === false ? undefined : ({ text: ' ', where: 'every' } as const)
      return {
        ...followedBy(...(pre.use_regex === false ? [] : [patternRule(GPT2_PATTERN)])),
        isByteLevel: true,
        prefix,
      }
    }
    case 'Split':
      return followedBy(splitRule(pre))
    case 'Digits':
      return followedBy(patternRule(pre.individual_digits === true ? '\\p{N}' : '\\p{N}+'))
    case 'WhitespaceSplit':
      return followedBy(patternRule('\\s', 'Removed'))
    case 'Whitespace':
      return followedBy(patternRule('\\p{RustWord}+|[^\\p{RustWord}\\s]+', 'Removed', true))
    case 'Metaspace':
      if (earlier.rules.length > 0) unsupported('Metaspace follows another pre-tokenizer')
      return readMetaspace(pre)
    default:
      return unsupported(`the pre-tokenizer ${pre.type} is not one that we follow exactly`)
  }
}

function splitRule(split: Json): SplitRule {
  const regex = (split.pattern as { Regex?: unknown } | undefined)?.Regex
  const literal = literalPattern(split)
  const pattern = typeof regex === 'string' ? regex : literal?.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&')
  if (pattern === undefined || pattern === '') return invalid('a Split has no pattern')
  const behaviors: readonly string[] = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']
  if (!behaviors.includes(String(split.behavior))) invalid(`a Split has the behavior ${split.behavior}`)
  return patternRule(pattern, split.behavior as SplitBehavior, split.invert === true)
}

function readMetaspace(pre: Json): PreTokenizerPlan {
  const replacement = typeof pre.replacement === 'string' ? pre.replacement : '\u2581'
  const scheme = pre.prepend_scheme ?? (pre.add_prefix_space === false ? 'never' : 'always')
  return {
    isByteLevel: false,
    spaceReplacement: replacement,
    prefix: scheme === 'never' ? undefined : { text: replacement, where: scheme === 'first' ? 'first' : 'every' },
    rules: pre.split === false ? [] : [patternRule(replacement, 'MergedWithNext')],
  }
}

function literalPattern(step: Json): string | undefined {
  const literal = (step.pattern as { String?: unknown } | undefined)?.String
  return typeof literal === 'string' ? literal : undefined
}

function readDecoder(decoder: Json | undefined): DecoderStep[] | undefined {
  if (decoder === undefined) return undefined
  switch (decoder.type) {
    case 'Sequence':
      return sections(decoder, 'decoders').flatMap(step => readDecoder(step) ?? [])
    case 'ByteLevel':
      return [byteLevelDecoder()]
    case 'Replace': {
      const from = literalPattern(decoder) ?? unsupported('the decoder replaces a regular expression')
      return [replaceDecoder(from, String(decoder.content))]
    }
    case 'ByteFallback':
      return [byteFallbackDecoder()]
    case 'Fuse':
      return [fuseDecoder()]
    case 'Strip':
      return [stripDecoder(String(decoder.content), Number(decoder.start), Number(decoder.stop))]
    case 'Metaspace': {
      const keepsFirst = decoder.prepend_scheme === 'never' || decoder.add_prefix_space === false
      return [metaspaceDecoder(String(decoder.replacement ?? '\u2581'), !keepsFirst)]
    }
    default:
      return unsupported(`the decoder ${decoder.type} is not one that we follow exactly`)
  }
}

function readPostProcessor(post: Json | undefined): { before: number[]; after: number[] } {
  if (post === undefined || post.type === 'ByteLevel') return { before: [], after: [] }
  if (post.type === 'Sequence') {
    return sections(post, 'processors')
      .map(readPostProcessor)
      .reduce((inner, outer) => ({
        before: [...outer.before, ...inner.before],
        after: [...inner.after, ...outer.after],
      }))
  }
  if (post.type === 'BertProcessing' || post.type === 'RobertaProcessing') {
    const idOf = (pair: unknown): number =>
      Array.isArray(pair) ? Number(pair[1]) : invalid('a post-processor lacks its tokens')
    return { before: [idOf(post.cls)], after: [idOf(post.sep)] }
  }
  if (post.type === 'TemplateProcessing') return readTemplate(post)
  return unsupported(`the post-processor ${post.type} is not one that we follow exactly`)
}

function readTemplate(template: Json): { before: number[]; after: number[] } {
  const special = section(template, 'special_tokens') ?? {}
  const parts = sections(template, 'single').map(part => {
    const token = section(part, 'SpecialToken')
    if (token === undefined) return 'text'
    const ids = (special[String(token.id)] as { ids?: number[] } | undefined)?.ids
    return ids ?? invalid(`the template's token ${token.id} is not among its special_tokens`)
  })
  const text = parts.indexOf('text')
  if (text < 0 || parts.lastIndexOf('text') !== text) unsupported('the template does not hold the text exactly once')
  return { before: parts.slice(0, text).flat() as number[], after: parts.slice(text + 1).flat() as number[] }
}
