/** The steps of one kind in a tokenizer.json, Sequences resolved, each with its place in the file. */
import { PenstockError } from '../../errors.js'
import { type Backtracker, compileBacktracker } from '../patterns/backtrack.js'
import { compilePattern, type Dfa } from '../patterns/dfa.js'
import type { SplitBehavior } from '../patterns/pretokenize.js'
import { backtrackMatches, type FindMatches, literalMatches, patternMatches } from '../patterns/split-text.js'
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

export function countOf({ json, place }: Step, key: string): number {
  const value = json[key]
  const isCount = typeof value === 'number' && Number.isInteger(value) && value >= 0
  return isCount ? value : invalid(`${place}.${key} is ${value}`)
}

const BEHAVIORS: readonly string[] = ['Isolated', 'Removed', 'MergedWithPrevious', 'MergedWithNext', 'Contiguous']

export function behaviorOf({ json, place }: Step, fallback?: SplitBehavior): SplitBehavior {
  const behavior = json.behavior ?? fallback
  return BEHAVIORS.includes(String(behavior))
    ? (behavior as SplitBehavior)
    : invalid(`${place} has the behavior ${behavior}`)
}

/** The pattern of a Split or Replace: a text, or a regular expression as an automaton if possible. */
export type Pattern =
  | { readonly literal: string }
  | { readonly dfa: Dfa; readonly source: string }
  | { readonly backtracker: Backtracker }

/** @throws UNSUPPORTED for an expression that we cannot match exactly, or an empty text */
export function patternOf(step: Step): Pattern {
  const pattern = (step.json.pattern ?? {}) as { String?: unknown; Regex?: unknown }
  if (pattern.String === '') return unsupportedStep(step, ' with an empty pattern')
  if (typeof pattern.String === 'string') return { literal: pattern.String }
  if (typeof pattern.Regex !== 'string') return invalid(`${step.place} has no pattern`)
  const source = pattern.Regex
  return (
    attempt(() => ({ dfa: compilePattern(source), source })) ??
    attempt(
      () => ({ backtracker: compileBacktracker(source) }),
      reason => unsupportedStep(step, `: ${reason}`),
    )!
  )
}

/** `undefined` if the engine does not support the pattern. */
function attempt<T>(compile: () => T, refuse?: (reason: string) => never): T | undefined {
  try {
    return compile()
  } catch (error) {
    if (!(error instanceof PenstockError && error.code === 'UNSUPPORTED')) throw error
    return refuse?.(error.message)
  }
}

export function finderOf(pattern: Pattern): FindMatches {
  if ('literal' in pattern) return literalMatches(pattern.literal)
  return 'dfa' in pattern ? patternMatches(pattern.dfa) : backtrackMatches(pattern.backtracker)
}

/** Of a Replace, which would insert its content at each match of the empty text. */
export function replacedPatternOf(step: Step): Pattern {
  const pattern = patternOf(step)
  const mayBeEmpty = 'backtracker' in pattern && pattern.backtracker.mayBeEmpty
  return mayBeEmpty ? unsupportedStep(step, ' with a pattern that matches the empty text') : pattern
}
