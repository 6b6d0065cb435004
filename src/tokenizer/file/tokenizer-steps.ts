/**
 * Reads the steps around the model of a tokenizer.json: normalizer, pre-tokenizer, decoder, post-processor. Steps that our
 * engines do not follow exactly are rejected with UNSUPPORTED and their name.
 */

import { GPT2_PATTERN, patternRule, type SplitBehavior, type SplitRule } from '../patterns/pretokenize.js'
import {
  byteFallbackDecoder,
  byteLevelDecoder,
  type DecoderStep,
  fuseDecoder,
  metaspaceDecoder,
  replaceDecoder,
  stripDecoder,
} from '../steps/decode.js'
import { formStep, type NormalizerStep, prependStep, replaceStep, type UnicodeForm } from '../steps/normalize.js'
import { invalid, type Json, literalPattern, section, sections, unsupported } from './tokenizer-fields.js'

export function readNormalizer(normalizer: Json | undefined, place = 'normalizer'): NormalizerStep[] {
  if (normalizer === undefined) return []
  switch (normalizer.type) {
    case 'Sequence':
      return sections(normalizer, 'normalizers').flatMap((step, i) =>
        readNormalizer(step, `${place}.normalizers[${i}]`),
      )
    case 'NFC':
    case 'NFD':
    case 'NFKC':
    case 'NFKD':
      return [formStep(normalizer.type as UnicodeForm)]
    case 'Prepend':
      return [prependStep(String(normalizer.prepend))]
    case 'Replace': {
      const from = literalPattern(normalizer) ?? unsupported(`${place}: type Replace with a regular expression`)
      return [replaceStep(from, String(normalizer.content))]
    }
    default:
      return unsupported(`${place}: type ${normalizer.type}`)
  }
}

export interface PreTokenizerPlan {
  readonly rules: readonly SplitRule[]
  readonly isByteLevel: boolean
  /** Text added before each piece that does not start with it, or only at the start of the text. */
  readonly prefix: { readonly text: string; readonly where: 'every' | 'first' } | undefined
  /** Replaces every space before splitting (Metaspace); undefined for byte-level models. */
  readonly spaceReplacement: string | undefined
}

const NO_PRE_TOKENIZER: PreTokenizerPlan = {
  rules: [],
  isByteLevel: false,
  prefix: undefined,
  spaceReplacement: undefined,
}

export function readPreTokenizer(
  pre: Json | undefined,
  earlier = NO_PRE_TOKENIZER,
  place = 'pre_tokenizer',
): PreTokenizerPlan {
  if (pre === undefined) return earlier
  if (pre.type === 'Sequence') {
    return sections(pre, 'pretokenizers').reduce(
      (plan, next, i) => readPreTokenizer(next, plan, `${place}.pretokenizers[${i}]`),
      earlier,
    )
  }
  if (earlier.isByteLevel) unsupported(`${place}: type ${pre.type} after ByteLevel`)
  if (earlier.spaceReplacement !== undefined) unsupported(`${place}: type ${pre.type} after Metaspace`)
  const followedBy = (...rules: SplitRule[]): PreTokenizerPlan => ({ ...earlier, rules: [...earlier.rules, ...rules] })
  switch (pre.type) {
    case 'ByteLevel': {
      if (pre.add_prefix_space === true && earlier.rules.length > 0)
        unsupported(`${place}: type ByteLevel with add_prefix_space after a split`)
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
      if (earlier.rules.length > 0) unsupported(`${place}: type Metaspace after a split`)
      return readMetaspace(pre)
    default:
      return unsupported(`${place}: type ${pre.type}`)
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

export function readDecoder(decoder: Json | undefined, place = 'decoder'): DecoderStep[] | undefined {
  if (decoder === undefined) return undefined
  switch (decoder.type) {
    case 'Sequence':
      return sections(decoder, 'decoders').flatMap((step, i) => readDecoder(step, `${place}.decoders[${i}]`) ?? [])
    case 'ByteLevel':
      return [byteLevelDecoder()]
    case 'Replace': {
      const from = literalPattern(decoder) ?? unsupported(`${place}: type Replace with a regular expression`)
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
      return unsupported(`${place}: type ${decoder.type}`)
  }
}

export function readPostProcessor(
  post: Json | undefined,
  place = 'post_processor',
): { before: number[]; after: number[] } {
  if (post === undefined || post.type === 'ByteLevel') return { before: [], after: [] }
  if (post.type === 'Sequence') {
    return sections(post, 'processors')
      .map((step, i) => readPostProcessor(step, `${place}.processors[${i}]`))
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
  return unsupported(`${place}: type ${post.type}`)
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
  if (text < 0 || parts.lastIndexOf('text') !== text)
    unsupported('post_processor: a template without the text exactly once')
  return { before: parts.slice(0, text).flat() as number[], after: parts.slice(text + 1).flat() as number[] }
}
