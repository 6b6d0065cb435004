/**
 * Values of a Jinja template as Python has them: `bigint` is int, `number` is float, `Map` is dict. The functions follow
 * Python's `str`, `repr`, `bool`, `==` and `<`.
 */
import { PenstockError } from '../../errors.js'
import { pythonFloat } from '../yaml/interpolate.js'

export type Value =
  | null
  | boolean
  | bigint
  | number
  | string
  | Value[]
  | Map<string, Value>
  | Sequence
  | Undefined
  | Namespace
  | Callable

export type Callable = (args: readonly Value[], named: ReadonlyMap<string, Value>) => Value

/** A tuple, a range, the view of a dict, or a generator. */
export class Sequence {
  readonly kind: 'tuple' | 'range' | 'dict_items' | 'dict_keys' | 'dict_values' | 'generator'
  readonly items: readonly Value[]

  constructor(kind: Sequence['kind'], items: readonly Value[]) {
    this.kind = kind
    this.items = items
  }
}

export class Undefined {
  readonly name: string

  constructor(name: string) {
    this.name = name
  }
}

/** An object with attributes: a namespace, which templates may change, or `loop`. */
export class Namespace {
  readonly attributes: Map<string, Value>
  readonly isMutable: boolean

  constructor(attributes: Map<string, Value>, isMutable: boolean) {
    this.attributes = attributes
    this.isMutable = isMutable
  }
}

/** An error that the template has in Python too. */
export class TemplateError extends Error {}

export function unsupported(what: string): PenstockError {
  const message = `jinja2_chat_template uses ${what}, which is not supported`
  return new PenstockError('UNSUPPORTED', message, { path: 'jinja2_chat_template' })
}

/** Python's `str(value)`. */
export function str(value: Value): string {
  if (typeof value === 'string') return value
  return value instanceof Undefined ? '' : repr(value)
}

/** Python's `repr(value)`. */
export function repr(value: Value): string {
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  if (typeof value === 'bigint') return String(value)
  if (typeof value === 'number') return pythonFloat(value)
  if (typeof value === 'string') return reprString(value)
  if (Array.isArray(value)) return `[${value.map(repr).join(', ')}]`
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${reprString(key)}: ${repr(item)}`).join(', ')}}`
  }
  if (value instanceof Undefined) return 'Undefined'
  if (value instanceof Sequence && value.kind !== 'generator' && value.kind !== 'range') return reprSequence(value)
  throw unsupported('the text of a function, namespace, loop, range or generator')
}

function reprSequence({ kind, items }: Sequence): string {
  const list = items.map(repr).join(', ')
  if (kind === 'tuple') return items.length === 1 ? `(${list},)` : `(${list})`
  return `${kind}([${list}])`
}

const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}\p{Zs}]/u
const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function reprString(text: string): string {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'"
  const body = [...text].map(character => {
    if (character === quote) return `\\${quote}`
    if (Object.hasOwn(ESCAPES, character)) return ESCAPES[character]
    if (character === ' ' || !UNPRINTABLE.test(character)) return character
    const code = character.codePointAt(0)!
    const [mark, digits] = code <= 0xff ? ['x', 2] : code <= 0xffff ? ['u', 4] : ['U', 8]
    return `\\${mark}${code.toString(16).padStart(digits as number, '0')}`
  })
  return `${quote}${body.join('')}${quote}`
}

/** Python's `bool(value)`. */
export function truth(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0
  if (value instanceof Map) return value.size > 0
  if (value instanceof Sequence) return value.kind === 'generator' || value.items.length > 0
  if (value instanceof Undefined) return false
  return Boolean(value)
}

/** The value as a number; undefined for other types. A bool is an int. */
export function numeric(value: Value): bigint | number | undefined {
  if (typeof value === 'boolean') return value ? 1n : 0n
  return typeof value === 'bigint' || typeof value === 'number' ? value : undefined
}

/** Python's `==`. */
export function equal(left: Value, right: Value): boolean {
  const [a, b] = [numeric(left), numeric(right)]
  // biome-ignore lint/suspicious/noDoubleEquals: compares int and float by value
  if (a !== undefined && b !== undefined) return a == b
  if (Array.isArray(left)) return Array.isArray(right) && sameItems(left, right)
  if (left instanceof Sequence && right instanceof Sequence) {
    if (left.kind === 'tuple' && right.kind === 'tuple') return sameItems(left.items, right.items)
    throw unsupported('a comparison of views or generators')
  }
  if (left instanceof Map) {
    if (!(right instanceof Map) || left.size !== right.size) return false
    return [...left].every(([key, item]) => right.has(key) && equal(item, right.get(key)!))
  }
  return left === right || (left instanceof Undefined && right instanceof Undefined)
}

function sameItems(left: readonly Value[], right: readonly Value[]): boolean {
  return left.length === right.length && left.every((item, index) => equal(item, right[index]!))
}

/** Negative if `left` sorts before `right`, as Python's `<`. @throws TemplateError for types without an order */
export function compare(left: Value, right: Value): number {
  const [a, b] = [numeric(left), numeric(right)]
  if (a !== undefined && b !== undefined) return a < b ? -1 : a > b ? 1 : 0
  if (typeof left === 'string' && typeof right === 'string') return compareText(left, right)
  if (Array.isArray(left) || left instanceof Sequence) throw unsupported('an order of lists')
  throw new TemplateError('values of these types have no order')
}

/** By code points, not by UTF-16 units. */
export function compareText(left: string, right: string): number {
  const [a, b] = [[...left], [...right]]
  for (let index = 0; index < Math.min(a.length, b.length); index++) {
    const difference = a[index]!.codePointAt(0)! - b[index]!.codePointAt(0)!
    if (difference !== 0) return difference
  }
  return a.length - b.length
}

/** Items that a loop visits. @throws TemplateError for values that cannot be iterated */
export function iterate(value: Value): readonly Value[] {
  if (Array.isArray(value)) return value
  if (typeof value === 'string') return [...value]
  if (value instanceof Map) return [...value.keys()]
  if (value instanceof Sequence) return value.items
  if (value instanceof Undefined) return []
  throw new TemplateError('the value is not iterable')
}

export const tuple = (items: readonly Value[]): Sequence => new Sequence('tuple', items)

/** The items of a list, tuple or string that is indexed or sliced; undefined for other types. */
export function indexable(value: Value): readonly Value[] | undefined {
  if (value instanceof Sequence) return value.kind === 'tuple' || value.kind === 'range' ? value.items : undefined
  return Array.isArray(value) || typeof value === 'string' ? iterate(value) : undefined
}
