/**
 * jq filters compiled to functions over parsed JSON: paths, operators, string interpolation and the functions that text
 * extraction needs, with the results of jq 1.8. Other filters are not compiled and run in the full language (jq-web, 1.7).
 * Numbers keep their digits (`parseJson`). A parsed value loses the position of keys that look like array indices: they come
 * first.
 */
import { PenstockError } from '../errors.js'
import { forgetRanges } from './jq/builtins.js'
import { buildFilter } from './jq/evaluate.js'
import type { Filter } from './jq/steps.js'
import { InvalidFilter, NotCompiled, parseFilter, type Tree } from './jq/syntax.js'
import { JqFailure } from './jq/values.js'

export interface JqFilter {
  readonly filter: string
  /** Set if the filter is a plain path such as `.a.b[0]`, which a byte-level extractor can follow without parsing. */
  readonly path?: readonly (string | number)[]
  /** All outputs for a value. @throws FIELD_MISSING if the filter fails on the value, UNSUPPORTED if it needs full jq */
  apply(value: unknown): unknown[]
  /** The first output, or undefined if there is none; later outputs are not evaluated. @throws as `apply` */
  first(value: unknown): unknown
}

/** Compiles a filter; returns null for filters outside the compiled subset and for invalid ones. */
export function compileJq(filter: string): JqFilter | null {
  try {
    const tree = parseFilter(filter)
    const evaluate = buildFilter(tree)
    const path = pathOf(tree)
    return {
      filter,
      ...(path === undefined ? {} : { path }),
      apply: value => guarded(filter, () => [...evaluate(value, null)]),
      first: value => guarded(filter, () => firstOutput(evaluate, value)),
    }
  } catch (error) {
    if (error instanceof NotCompiled) return null
    throw error
  }
}

/** The problem of a filter that no version of jq accepts; undefined if there is none that can be found without full jq. */
export function problemOfFilter(filter: string): string | undefined {
  try {
    buildFilter(parseFilter(filter))
    return undefined
  } catch (error) {
    if (error instanceof InvalidFilter) return adviceFor(filter) ?? `invalid jq filter ${filter}: ${error.message}`
    if (error instanceof NotCompiled) return undefined
    throw error
  }
}

/** Explains a field name without its dot, which jq reads as the call of a function. */
function adviceFor(filter: string): string | undefined {
  const isName = /^[a-z_]\w*(\.\w+|\[\d+\])*$/i.test(filter)
  return isName ? `${filter} is not a jq filter; did you mean .${filter}?` : undefined
}

function firstOutput(evaluate: Filter, value: unknown): unknown {
  for (const output of evaluate(value, null)) return output
  return undefined
}

function guarded<Result>(filter: string, run: () => Result): Result {
  forgetRanges()
  try {
    return run()
  } catch (error) {
    if (error instanceof JqFailure) {
      throw new PenstockError('FIELD_MISSING', `the filter ${filter} failed on the record: ${error.message}`, {}, error)
    }
    if (error instanceof NotCompiled || error instanceof RangeError) {
      throw new PenstockError(
        'UNSUPPORTED',
        `the filter ${filter} needs the full jq language: ${error.message}`,
        {},
        error,
      )
    }
    throw error
  }
}

/** The keys of a chain of plain indices, starting at the input. */
function pathOf(tree: Tree): (string | number)[] | undefined {
  if (tree.kind === 'identity') return []
  if (tree.kind === 'binary' && tree.operator === '|') return joinPaths(pathOf(tree.left), pathOf(tree.right))
  if (tree.kind !== 'index' || tree.optional) return undefined
  return joinPaths(pathOf(tree.of), keyOf(tree.key))
}

function joinPaths(
  start: (string | number)[] | undefined,
  end: (string | number)[] | undefined,
): (string | number)[] | undefined {
  return start === undefined || end === undefined ? undefined : [...start, ...end]
}

/** A literal key, which may be a negative number. */
function keyOf(key: Tree): (string | number)[] | undefined {
  if (key.kind === 'negate' && key.of.kind === 'literal' && typeof key.of.value === 'number') return [-key.of.value]
  if (key.kind !== 'literal' || (typeof key.value !== 'string' && typeof key.value !== 'number')) return undefined
  return [key.value]
}
