/** Reads the pre-tokenizer of a tokenizer.json, for the general pipeline or for the byte-level engine. */
import { compilePattern } from '../patterns/dfa.js'
import { GPT2_PATTERN, patternRule, type SplitRule } from '../patterns/pretokenize.js'
import { patternMatches } from '../patterns/split-text.js'
import {
  byteLevel,
  charDelimiterSplit,
  digits,
  fixedLength,
  metaspace,
  type PreTokenizer,
  punctuation,
  splitPreTokenizer,
  unicodeScripts,
  whitespaceSplit,
} from '../steps/pre-tokenizers.js'
import { behaviorOf, characterOf, finderOf, patternOf, type Step, unsupportedStep } from './step-list.js'
import { invalid } from './tokenizer-fields.js'

/** Pattern of Whitespace. */
export const WORDS_AND_SIGNS = '\\p{RustWord}+|[^\\p{RustWord}\\s]+'

/** @throws TOKENIZER_INVALID, UNSUPPORTED */
export function readPreTokenizer(step: Step): PreTokenizer[] {
  const { json, type, place } = step
  switch (type) {
    case 'BertPreTokenizer':
      return [whitespaceSplit(), punctuation('Isolated')]
    case 'ByteLevel': {
      const find = json.use_regex === false ? undefined : patternMatches(compilePattern(GPT2_PATTERN))
      return [byteLevel(json.add_prefix_space === true, find)]
    }
    case 'CharDelimiterSplit':
      return [charDelimiterSplit(characterOf(step, 'delimiter'))]
    case 'Digits':
      return [digits(json.individual_digits === true)]
    case 'FixedLength': {
      const length = json.length ?? 5
      if (typeof length !== 'number' || !Number.isInteger(length) || length < 1) invalid(`${place}.length is ${length}`)
      return [fixedLength(length as number)]
    }
    case 'Metaspace':
      return [metaspace(metaspaceOptions(step))]
    case 'Punctuation':
      return [punctuation(behaviorOf(step, 'Isolated'))]
    case 'Split':
      return [splitPreTokenizer(finderOf(patternOf(step)), behaviorOf(step), json.invert === true)]
    case 'UnicodeScripts':
      return [unicodeScripts()]
    case 'Whitespace':
      return [splitPreTokenizer(patternMatches(compilePattern(WORDS_AND_SIGNS)), 'Removed', true)]
    case 'WhitespaceSplit':
      return [whitespaceSplit()]
    default:
      return unsupportedStep(step)
  }
}

/** Of the pre-tokenizer and of the decoder. */
export function metaspaceOptions(step: Step): Parameters<typeof metaspace>[0] {
  const { json, place } = step
  const prependScheme = json.prepend_scheme ?? 'always'
  if (prependScheme !== 'always' && prependScheme !== 'first' && prependScheme !== 'never') {
    return invalid(`${place}.prepend_scheme is ${prependScheme}`)
  }
  if (json.add_prefix_space === false && prependScheme !== 'never') {
    invalid(`${place}.add_prefix_space contradicts prepend_scheme`)
  }
  return { replacement: characterOf(step, 'replacement'), prependScheme, split: json.split !== false }
}

export interface ByteLevelRules {
  readonly rules: readonly SplitRule[]
  readonly addsPrefixSpace: boolean
}

/** Rules of the byte-level engine; `undefined` for any other pre-tokenizer. */
export function byteLevelRules(steps: readonly Step[]): ByteLevelRules | undefined {
  const last = steps.at(-1)
  if (last?.type !== 'ByteLevel') return undefined
  const addsPrefixSpace = last.json.add_prefix_space === true
  if (addsPrefixSpace && steps.length > 1) return undefined
  const rules = steps.slice(0, -1).map(ruleOf)
  if (last.json.use_regex !== false) rules.push(patternRule(GPT2_PATTERN))
  return rules.includes(undefined) ? undefined : { rules: rules as SplitRule[], addsPrefixSpace }
}

function ruleOf(step: Step): SplitRule | undefined {
  if (step.type === 'Digits') {
    return patternRule(step.json.individual_digits === true ? '\\p{RustNumeric}' : '\\p{RustNumeric}+')
  }
  if (step.type !== 'Split') return undefined
  const pattern = patternOf(step)
  if ('backtracker' in pattern) return undefined
  const source = 'literal' in pattern ? pattern.literal.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&') : pattern.source
  return patternRule(source, behaviorOf(step), step.json.invert === true)
}
