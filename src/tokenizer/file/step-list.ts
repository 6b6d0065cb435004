/** The steps of one kind in a tokenizer.json, Sequences resolved, each with its place in the file. */
import { PenstockError } from '../../errors.js'
import { compilePattern, type Dfa } from '../patterns/dfa.js'
import type { SplitBehavior } from '../patterns/pretokenize.js'
import { type FindMatches, literalMatches, patternMatches } from '../patterns/split-text.js'
import { invalid, type Json, sections, unsupported } from './tokenizer-fields.js'

export interface Step {
  readonly json: Json
  readonly type: string
  /** Such as `normalizer.normalizers[1]`. */
  readonly place: string
}

export function stepsOf(json: Json | undefined, place: string, list: string): Step[] {
  if (json === undefined) return []
  if (json.type !== 'Sequence') return [{ json, type: String(json.type), place }]
  return sections(json, list).flatMap((step, at) => stepsOf(step, `${place}.${list}[${at}]`, list))
}

export const unsupportedStep = ({ type, place }: Step, detail = ''): never =>
  unsupported(`${place}: type ${type}${detail}`)

export function textOf({ json, place }: Step, key: string): string {
  const value = json[key]
  return typeof value === 'string' ? value : invalid(`${place} has no text ${key}`)
}

/** A field of one character. */
export function characterOf(step: Step, key: string, fallback?: string): string {
  const value = step.json[key] === undefined && fallback !== undefined ? fallback : textOf(step, key)
  return [...value].length === 1 ? value : invalid(`${step.place}.${key} is not one character`)
}

const BEHAVIORS: readonly string[] = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']

export function behaviorOf({ json, place }: Step, fallback?: SplitBehavior): SplitBehavior {
  const behavior = json.behavior ?? fallback
  return BEHAVIORS.includes(String(behavior))
    ? (behavior as SplitBehavior)
    : invalid(`${place} has the behavior ${behavior}`)
}

/** The pattern of a Split or Replace: a text, or the automaton of a regular expression. */
export type Pattern = { readonly literal: string } | { readonly dfa: Dfa; readonly source: string }

/** @throws UNSUPPORTED for an expression that the automaton cannot match exactly, or a pattern that may be empty */
export function patternOf(step: Step): Pattern {
  const pattern = (step.json.pattern ?? {}) as { String?: unknown; Regex?: unknown }
  if (pattern.String === '') return unsupportedStep(step, ' with an empty pattern')
  if (typeof pattern.String === 'string') return { literal: pattern.String }
  if (typeof pattern.Regex !== 'string') return invalid(`${step.place} has no pattern`)
  try {
    return { dfa: compilePattern(pattern.Regex), source: pattern.Regex }
  } catch (error) {
    if (error instanceof PenstockError && error.code === 'UNSUPPORTED') unsupportedStep(step, `: ${error.message}`)
    throw error
  }
}

export const finderOf = (pattern: Pattern): FindMatches =>
  'literal' in pattern ? literalMatches(pattern.literal) : patternMatches(pattern.dfa)
