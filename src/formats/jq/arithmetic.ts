/** jq's arithmetic on values of all types. */
import { NotCompiled } from './syntax.js'
import { codePoints, isEqual, isObject, JqFailure, type Json, type JsonObject, typeOf } from './values.js'

export function add(left: Json, right: Json): Json {
  if (left === null) return right
  if (right === null) return left
  if (typeof left === 'number' && typeof right === 'number') return left + right
  if (typeof left === 'string' && typeof right === 'string') return left + right
  if (Array.isArray(left) && Array.isArray(right)) return [...left, ...right]
  if (isObject(left) && isObject(right)) return { ...left, ...right }
  return refuse(left, right, 'added')
}

export function subtract(left: Json, right: Json): Json {
  if (typeof left === 'number' && typeof right === 'number') return left - right
  if (Array.isArray(left) && Array.isArray(right)) {
    return left.filter(item => !right.some(removed => isEqual(item, removed)))
  }
  return refuse(left, right, 'subtracted')
}

export function multiply(left: Json, right: Json): Json {
  if (typeof left === 'number' && typeof right === 'number') return left * right
  if (isObject(left) && isObject(right)) return mergeDeep(left, right)
  // String repetition: its results for zero, negative and fractional counts differ between versions of jq.
  if (typeof left === 'string' && typeof right === 'number') throw new NotCompiled('a string times a number')
  return refuse(left, right, 'multiplied')
}

function mergeDeep(left: JsonObject, right: JsonObject): JsonObject {
  const merged = new Map(Object.entries(left))
  for (const [key, value] of Object.entries(right)) {
    const present = merged.get(key)
    merged.set(key, isObject(present) && isObject(value) ? mergeDeep(present, value) : value)
  }
  return Object.fromEntries(merged)
}

export function divide(left: Json, right: Json): Json {
  if (typeof left === 'number' && typeof right === 'number') {
    if (right === 0) throw new JqFailure('cannot be divided because the divisor is zero')
    return left / right
  }
  if (typeof left === 'string' && typeof right === 'string') return splitText(left, right)
  return refuse(left, right, 'divided')
}

export function remainder(left: Json, right: Json): Json {
  if (typeof left !== 'number' || typeof right !== 'number') return refuse(left, right, 'divided (remainder)')
  if (Number.isNaN(left) || Number.isNaN(right)) return Number.NaN
  const divisor = Math.abs(Math.trunc(right))
  if (divisor === 0) throw new JqFailure('cannot be divided (remainder) because the divisor is zero')
  return (Math.trunc(left) % divisor) + 0
}

export function negate(value: Json): Json {
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
