/** Building blocks of filters: indexing, slicing, iteration, and the cross product of two filters' outputs. */
import { doubleOf } from './numbers.js'
import { NotCompiled } from './syntax.js'
import { codePoints, getKey, isObject, JqFailure, type Json, typeOf } from './values.js'

/** Variables, innermost first. */
export interface Scope {
  readonly name: string
  readonly value: Json
  readonly outer: Scope | null
}

export type Filter = (input: Json, scope: Scope | null) => Iterable<Json>

export function* recurse(input: Json): Generator<Json> {
  yield input
  for (const child of childrenOf(input) ?? []) yield* recurse(child)
}

/** The values of an array or object, or undefined. */
export function childrenOf(value: Json): Json[] | undefined {
  if (Array.isArray(value)) return value
  if (isObject(value)) return Object.values(value)
  return undefined
}

export function iterate(value: Json): Json[] {
  const children = childrenOf(value)
  if (children === undefined) throw new JqFailure(`Cannot iterate over ${typeOf(value)}`)
  return children
}

export function index(value: Json, key: Json): Json {
  const place = doubleOf(key)
  if (typeof key === 'string') {
    if (isObject(value)) return getKey(value, key)
    if (value === null) return null
  } else if (place !== undefined) {
    if (Array.isArray(value)) return value[Math.floor(place) + (place < 0 ? value.length : 0)] ?? null
    if (value === null) return null
  } else if (isObject(key) || Array.isArray(key)) {
    // Slices as objects and searches for a subarray are rare and run in the full language.
    throw new NotCompiled('an index that is an object or an array')
  }
  throw new JqFailure(`Cannot index ${typeOf(value)} with ${typeof key === 'string' ? `"${key}"` : typeOf(key)}`)
}

export function slice(value: Json, from: Json, to: Json): Json {
  if (value === null) return null
  if (typeof value !== 'string' && !Array.isArray(value))
    throw new JqFailure(`Cannot index ${typeOf(value)} with object`)
  const [first, last] = [doubleOf(from), doubleOf(to)]
  if ((from !== null && first === undefined) || (to !== null && last === undefined)) {
    throw new JqFailure('Start and end indices of an array slice must be numbers')
  }
  const items: readonly Json[] = typeof value === 'string' ? codePoints(value) : value
  const place = (end: number): number => Math.min(Math.max(end < 0 ? end + items.length : end, 0), items.length)
  const start = Math.floor(place(first ?? 0))
  const part = items.slice(start, Math.max(start, Math.ceil(place(last ?? items.length))))
  return typeof value === 'string' ? part.join('') : part
}

/** Combines each output of one filter with each output of another on the same input; the second is the outer loop. */
export function paired(first: Filter, second: Filter, join: (left: Json, right: Json) => Json): Filter {
  return function* (input, scope) {
    for (const right of second(input, scope)) for (const left of first(input, scope)) yield join(left, right)
  }
}
