/**
 * Words for a zod issue: which option, what was expected, what was found. One wording for every option, of stages, sinks and
 * models, in definitions and from programs; zod's own messages name neither the option nor the value.
 */
import type * as z from 'zod'
import { suggestion } from './message-words.js'

type Key = string | number

export interface OptionIssue {
  readonly path: readonly Key[]
  readonly message: string
  /** Whether the key at the path is the problem, rather than its value. */
  readonly isUnknownKey: boolean
}

/** @param owner what the options belong to, such as a stage */
export function describeIssue(
  issues: readonly z.core.$ZodIssue[],
  options: unknown,
  schema: z.ZodType,
  owner: string,
): OptionIssue {
  // A misspelt key also makes a required one missing.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]!
  const path = issue.path.map(key => (typeof key === 'number' ? key : String(key)))
  if (issue.code === 'unrecognized_keys') {
    const key = issue.keys[0]!
    const known = Object.keys(objectAt(schema, path)?.shape ?? {})
    const message = `unknown option ${key} of ${owner}${suggestion(key, known)}`
    return { path: [...path, key], message, isUnknownKey: true }
  }
  const found = path.reduce<unknown>((value, key) => (value as Record<Key, unknown> | undefined)?.[key], options)
  return { path, message: messageOf(issue, path.join('.'), found, owner), isUnknownKey: false }
}

function messageOf(issue: z.core.$ZodIssue, option: string, found: unknown, owner: string): string {
  if (issue.code === 'custom' && !issue.message.startsWith(EXPECTED)) return `${owner}: ${issue.message}`
  if (option === '') return `expected the options of ${owner} as a map, found ${foundText(found)}`
  if (found === undefined) return `${owner} requires the option ${option}: expected ${expectedText(issue)}`
  const near =
    issue.code === 'invalid_value' && typeof found === 'string' ? suggestion(found, issue.values.map(String)) : ''
  return `option ${option} of ${owner}: expected ${expectedText(issue)}, found ${foundText(found)}${near}`
}

/** The object schema at a path; undefined for a union. */
export function objectAt(schema: z.ZodType, path: readonly Key[]): z.ZodObject | undefined {
  const { type, innerType, shape, element } = schema.def as SchemaParts
  if (innerType !== undefined) return objectAt(innerType, path)
  const [key, ...rest] = path
  if (key === undefined) return type === 'object' ? (schema as z.ZodObject) : undefined
  const inner = type === 'array' ? element : Object.hasOwn(shape ?? {}, key) ? shape?.[key] : undefined
  return inner === undefined ? undefined : objectAt(inner, rest)
}

/** The fields of a zod schema's definition that are read here. */
interface SchemaParts {
  readonly type: string
  readonly innerType?: z.ZodType
  readonly shape?: Readonly<Record<string, z.ZodType>>
  readonly element?: z.ZodType
}

const TYPE_NAMES: Readonly<Record<string, string>> = {
  int: 'an integer',
  number: 'a number',
  string: 'a string',
  boolean: 'true or false',
  array: 'a list',
  object: 'a map',
  record: 'a map',
  tuple: 'a list',
}

const UNITS: Readonly<Record<string, string>> = { string: ' characters', array: ' items' }

/** Prefix of custom messages in schemas that replace the text made here. */
export const EXPECTED = 'expected '

export function expectedText(issue: z.core.$ZodIssue): string {
  if (issue.code === 'custom' || issue.message.startsWith(EXPECTED)) return issue.message.replace(EXPECTED, '')
  switch (issue.code) {
    case 'invalid_type':
      return TYPE_NAMES[issue.expected] ?? issue.expected
    case 'too_small':
      return lowerBound(issue)
    case 'too_big':
      return `${issue.inclusive === false ? 'less than' : 'at most'} ${issue.maximum}${UNITS[issue.origin] ?? ''}`
    case 'invalid_value':
      return issue.values.length === 1 ? JSON.stringify(issue.values[0]) : `one of ${issue.values.join(', ')}`
    case 'not_multiple_of':
      return `a multiple of ${issue.divisor}`
    case 'invalid_union':
      return [...new Set(issue.errors.map(branch => (branch[0] === undefined ? '' : expectedText(branch[0]))))].join(
        ' or ',
      )
    default:
      return 'another value'
  }
}

function lowerBound({ origin, minimum, inclusive }: z.core.$ZodIssueTooSmall): string {
  if (origin in UNITS && Number(minimum) === 1) return `a ${origin === 'array' ? 'list' : origin} that is not empty`
  return `${inclusive === false ? 'more than' : 'at least'} ${minimum}${UNITS[origin] ?? ''}`
}

const MAX_FOUND = 60

/** A value as text for messages. */
export function foundText(value: unknown): string {
  if (value === undefined) return 'nothing'
  if (Array.isArray(value)) return 'a list'
  if (typeof value === 'function') return 'a function'
  if (typeof value === 'object' && value !== null) return 'a map'
  const text = typeof value === 'string' ? JSON.stringify(value) : String(value)
  return text.length > MAX_FOUND ? `${text.slice(0, MAX_FOUND)}...` : text
}
