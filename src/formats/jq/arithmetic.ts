/** jq's arithmetic on values of all types. */
import { doubleOf, isNegative, NumberLiteral, withSign } from './numbers.js'
import { codePoints, isEqual, isObject, JqFailure, type Json, type JsonObject, typeOf } from './values.js'

export function add(left: Json, right: Json): Json {
  if (left === null) return right
  if (right === null) return left
  const [a, b] = [doubleOf(left), doubleOf(right)]
  if (a !== undefined && b !== undefined) return a + b
  if (typeof left === 'string' && typeof right === 'string') return left + right
  if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right]
  if (isObject(left) && isObject(right)) return { ...left, ...right }
  return refuse(left, right, 'added')
}

export function subtract(left: Json, right: Json): Json {
  const [a, b] = [doubleOf(left), doubleOf(right)]
  if (a !== undefined && b !== undefined) return a - b
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.filter(item => !right.some(removed => isEqual(item, removed)))
  }
  return refuse(left, right, 'subtracted')
}

export function multiply(left: Json, right: Json): Json {
  const [a, b] = [doubleOf(left), doubleOf(right)]
  if (a !== undefined && b !== undefined) return a * b
  if (isObject(left) && isObject(right)) return mergeDeep(left, right)
  if (typeof left === 'string' && b !== undefined) return repeat(left, b)
  if (typeof right === 'string' && a !== undefined) return repeat(right, a)
  return refuse(left, right, 'multiplied')
}

/** As jq 1.8: null for a negative count, and fractions are dropped. */
function repeat(text: string, count: number): string | null {
  if (!(count >= 0)) return null
  if (text.length * count > MAX_REPEATED_CHARACTERS) throw new JqFailure('Repeat string result too long')
  return text.repeat(Math.trunc(count))
}

const MAX_REPEATED_CHARACTERS = 1 << 28

function mergeDeep(left: JsonObject, right: JsonObject): JsonObject {
  const merged = new Map(Object.entries(left))
  for (const [key, value] of Object.entries(right)) {
    const present = merged.get(key)
    merged.set(key, isObject(present) && isObject(value) ? mergeDeep(present, value) : value)
  }
  return Object.fromEntries(merged)
}

export function divide(left: Json, right: Json): Json {
  const [a, b] = [doubleOf(left), doubleOf(right)]
  if (a !== undefined && b !== undefined) {
    if (b === 0) throw new JqFailure('cannot be divided because the divisor is zero')
    return a / b
  }
  if (typeof left === 'string' && typeof right === 'string') return splitText(left, right)
  return refuse(left, right, 'divided')
}

export function remainder(left: Json, right: Json): Json {
  const [a, b] = [doubleOf(left), doubleOf(right)]
  if (a === undefined || b === undefined) return refuse(left, right, 'divided (remainder)')
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.NaN
  const divisor = Math.abs(Math.trunc(b))
  if (divisor === 0) throw new JqFailure('cannot be divided (remainder) because the divisor is zero')
  return (Math.trunc(a) % divisor) + 0
}

export function negate(value: Json): Json {
  if (value instanceof NumberLiteral) return withSign(value, isNegative(value) || value.valueOf() === 0 ? '' : '-')
  if (typeof value !== 'number') throw new JqFailure(`${typeOf(value)} cannot be negated`)
  return -value
}

export function splitText(text: string, separator: string): string[] {
  if (text === '') return []
  return separator === '' ? codePoints(text) : text.split(separator)
}

function refuse(left: Json, right: Json, verb: string): never {
  throw new JqFailure(`${typeOf(left)} and ${typeOf(right)} cannot be ${verb}`)
}
