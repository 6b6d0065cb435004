/**
 * jq's semantics of JSON values: types, truthiness, ordering and serialization. Strings are sequences of code points, not of
 * UTF-16 units. Objects keep the order of their keys, except that JavaScript moves keys that look like array indices.
 */

import { numberText } from './number-text.js'
import { compareLiterals, doubleOf, NumberLiteral } from './numbers.js'

export type Json = unknown
export type JsonObject = Readonly<Record<string, Json>>

/** Error of a filter that fails on a value, with jq's message. */
export class JqFailure extends Error {}

const TYPE_ORDER = ['null', 'false', 'true', 'number', 'string', 'array', 'object']

export function typeOf(value: Json): 'null' | 'boolean' | 'number' | 'string' | 'array' | 'object' {
  if (value === null || value === undefined) return 'null'
  if (Array.isArray(value)) return 'array'
  if (value instanceof NumberLiteral) return 'number'
  return typeof value as 'boolean' | 'number' | 'string' | 'object'
}

export function isTrue(value: Json): boolean {
  return value !== false && value !== null && value !== undefined
}

export function isObject(value: Json): value is JsonObject {
  return typeOf(value) === 'object'
}

/** Own properties only: `__proto__` in an input is an ordinary key. */
export function getKey(object: JsonObject, key: string): Json {
  return Object.hasOwn(object, key) ? object[key] : null
}

export function codePoints(text: string): string[] {
  return Array.from(text)
}

/** jq's total order of all values: negative, zero or positive. */
export function compare(left: Json, right: Json): number {
  const rank = orderOf(left) - orderOf(right)
  if (rank !== 0) return rank
  if (left instanceof NumberLiteral && right instanceof NumberLiteral) return compareLiterals(left, right)
  const number = doubleOf(left)
  if (number !== undefined) return compareNumbers(number, doubleOf(right)!)
  if (typeof left === 'string') return compareTexts(left, right as string)
  if (Array.isArray(left)) return compareLists(left, right as Json[])
  if (isObject(left)) return compareObjects(left, right as JsonObject)
  return 0
}

function orderOf(value: Json): number {
  return TYPE_ORDER.indexOf(typeof value === 'boolean' ? String(value) : typeOf(value))
}

/** NaN is less than every number, including itself. */
function compareNumbers(left: number, right: number): number {
  if (Number.isNaN(left)) return -1
  if (Number.isNaN(right)) return 1
  return left < right ? -1 : left > right ? 1 : 0
}

/** Orders by code point, which equals the order of the UTF-8 bytes. */
function compareTexts(left: string, right: string): number {
  const length = Math.min(left.length, right.length)
  for (let i = 0; i < length; i++) {
    if (left.charCodeAt(i) !== right.charCodeAt(i)) return left.codePointAt(i)! - right.codePointAt(i)!
  }
  return left.length - right.length
}

function compareLists(left: readonly Json[], right: readonly Json[]): number {
  for (let i = 0; i < Math.min(left.length, right.length); i++) {
    const order = compare(left[i], right[i])
    if (order !== 0) return order
  }
  return left.length - right.length
}

/** Compares the sorted keys as lists, then the values key by key. */
function compareObjects(left: JsonObject, right: JsonObject): number {
  const keys = sortedKeys(left)
  const byKeys = compareLists(keys, sortedKeys(right))
  if (byKeys !== 0) return byKeys
  return compareLists(
    keys.map(key => left[key]),
    keys.map(key => right[key]),
  )
}

export function sortedKeys(object: JsonObject): string[] {
  return Object.keys(object).sort(compareTexts)
}

export function isEqual(left: Json, right: Json): boolean {
  return compare(left, right) === 0
}

/** `tojson`. Literals keep their digits; results of arithmetic are written as doubles. */
export function toJson(value: Json): string {
  if (typeof value === 'number') return numberText(value)
  if (value instanceof NumberLiteral) return value.text
  if (Array.isArray(value)) return `[${value.map(toJson).join(',')}]`
  if (isObject(value)) {
    return `{${Object.keys(value)
      .map(key => `${stringText(key)}:${toJson(value[key])}`)
      .join(',')}}`
  }
  return typeof value === 'string' ? stringText(value) : String(value ?? null)
}

/** `tostring`: a string is returned unchanged. */
export function toText(value: Json): string {
  return typeof value === 'string' ? value : toJson(value)
}

function stringText(text: string): string {
  return JSON.stringify(text).replaceAll('\u007f', '\\u007f')
}
