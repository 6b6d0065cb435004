/** Filters and tests of Jinja templates, with the results of Jinja2 3.1. Unlisted ones are not supported. */

import { pythonFloat } from '../yaml/interpolate.js'
import { capitalized, linesOf, pairsOf, replaced, stripped, trimmed, WORD_START } from './methods.js'
import {
  compare,
  compareText,
  equal,
  indexable,
  iterate,
  numeric,
  Sequence,
  str,
  TemplateError,
  truth,
  Undefined,
  unsupported,
  type Value,
} from './values.js'

type Filter = (value: Value, ...args: readonly (Value | undefined)[]) => Value
interface Signature {
  /** Names of the arguments after the filtered value. */
  readonly names: readonly string[]
  readonly apply: Filter
}

const generator = (items: readonly Value[]): Sequence => new Sequence('generator', items)

function lengthOf(value: Value): bigint {
  if (value instanceof Sequence && value.kind === 'generator') throw new TemplateError('a generator has no length')
  return BigInt(iterate(value).length)
}

/** An item's attribute along a dotted path: a key of a dict, or an index. */
function attributeOf(item: Value, path: Value): Value {
  return str(path)
    .split('.')
    .reduce<Value>((value, step) => {
      const items = indexable(value)
      if (items === undefined && !(value instanceof Map))
        throw unsupported('an attribute of a value that is not a dict')
      const found = value instanceof Map ? value.get(step) : /^\d+$/.test(step) ? items![Number(step)] : undefined
      return found === undefined ? new Undefined(step) : found
    }, item)
}

function test(name: Value | undefined): (value: Value, argument?: Value) => boolean {
  if (name === undefined) return truth
  const found = TESTS[str(name)]
  if (found === undefined) throw unsupported(`the test ${str(name)}`)
  return found
}

function chosen(keep: boolean, ofAttribute: boolean): Filter {
  return (value, ...args) => {
    const [attribute, name, argument] = ofAttribute ? args : [undefined, ...args]
    const accepts = test(name)
    const subject = (item: Value) => (attribute === undefined ? item : attributeOf(item, attribute))
    return generator(iterate(value).filter(item => accepts(subject(item), argument ?? undefined) === keep))
  }
}

const folded = (value: Value, caseSensitive: Value | undefined): Value =>
  typeof value === 'string' && !truth(caseSensitive ?? false) ? value.toLowerCase() : value

function sorted(items: readonly Value[], keyOf: (item: Value) => Value, reverse: Value | undefined): Value[] {
  const sign = truth(reverse ?? false) ? -1 : 1
  return items.toSorted((first, second) => sign * compare(keyOf(first), keyOf(second)))
}

function dictOf(value: Value): Map<string, Value> {
  if (value instanceof Map) return value
  throw new TemplateError('expected a dict')
}

function indented(value: Value, width: Value = 4n, first: Value = false, blank: Value = false): string {
  const margin = typeof width === 'string' ? width : ' '.repeat(Number(width))
  const lines = linesOf(str(value))
  const rest = lines.slice(1).map(line => (line === '' && !truth(blank) ? '' : margin + line))
  return [(truth(first) ? margin : '') + lines[0]!, ...rest].join('\n')
}

function toInt(value: Value, fallback: Value = 0n): Value {
  const found = numeric(value)
  if (typeof found === 'bigint') return found
  if (typeof found === 'number') return Number.isFinite(found) ? BigInt(Math.trunc(found)) : fallback
  if (typeof value !== 'string') return fallback
  const text = trimmed(value)
  if (/^[+-]?\d+(?:_\d+)*$/.test(text)) return BigInt(text.replaceAll('_', '').replace(/^\+/, ''))
  const float = toFloat(text, null)
  return typeof float === 'number' && Number.isFinite(float) ? BigInt(Math.trunc(float)) : fallback
}

function toFloat(value: Value, fallback: Value = 0): Value {
  const found = numeric(value)
  if (found !== undefined) return Number(found)
  const text = typeof value === 'string' ? trimmed(value) : ''
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : fallback
}

/** `json.dumps` with the options that Modalities' filter has. */
export function toJson(value: Value, ensureAscii: Value, indent: Value, separators: Value, sortKeys: Value): string {
  const isIndented = indent !== null
  const [between, colon] = separators === null ? [isIndented ? ',' : ', ', ': '] : iterate(separators).map(str)
  const unit = typeof indent === 'string' ? indent : ' '.repeat(Math.max(0, Number(indent ?? 0)))
  const quoted = (text: string): string => {
    const json = JSON.stringify(text)
    if (!truth(ensureAscii)) return json
    return json.replaceAll(/[\x7f-\uffff]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
  }
  const wrap = (open: string, close: string, items: string[], depth: number): string => {
    if (items.length === 0) return open + close
    if (!isIndented) return open + items.join(between) + close
    const line = `\n${unit.repeat(depth + 1)}`
    return `${open}${line}${items.join(`${between}${line}`)}\n${unit.repeat(depth)}${close}`
  }
  const dump = (part: Value, depth: number): string => {
    if (part === null) return 'null'
    if (typeof part === 'boolean' || typeof part === 'bigint') return String(part)
    if (typeof part === 'number') return Number.isFinite(part) ? pythonFloat(part) : nonFinite(part)
    if (typeof part === 'string') return quoted(part)
    if (Array.isArray(part) || (part instanceof Sequence && part.kind === 'tuple')) {
      return wrap(
        '[',
        ']',
        iterate(part).map(item => dump(item, depth + 1)),
        depth,
      )
    }
    if (!(part instanceof Map)) throw new TemplateError('the value is not JSON serializable')
    const entries = truth(sortKeys) ? [...part].toSorted(([a], [b]) => compareText(a, b)) : [...part]
    return wrap(
      '{',
      '}',
      entries.map(([key, item]) => quoted(key) + colon + dump(item, depth + 1)),
      depth,
    )
  }
  return dump(value, 0)
}

const nonFinite = (value: number): string => (Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity')

const signature = (names: string, apply: Filter): Signature => ({ names: names.split(' ').filter(Boolean), apply })

const length = signature('', lengthOf)
const fallback = signature('default_value boolean', (value, other = '', boolean = false) =>
  value instanceof Undefined || (truth(boolean) && !truth(value)) ? other : value,
)

const FILTERS: Readonly<Record<string, Signature>> = {
  abs: signature('', value => {
    const number = numeric(value)
    if (number === undefined) throw new TemplateError('abs expects a number')
    return number < 0 ? -number : number
  }),
  count: length,
  length,
  d: fallback,
  default: fallback,
  capitalize: signature('', value => capitalized(str(value))),
  dictsort: signature('case_sensitive by reverse', (value, caseSensitive, by = 'key', reverse) => {
    const place = by === 'key' ? 0 : 1
    const keyOf = (pair: Value) => folded(iterate(pair)[place]!, caseSensitive)
    return sorted(pairsOf(dictOf(value)), keyOf, reverse)
  }),
  first: signature('', value => iterate(value)[0] ?? new Undefined('first')),
  last: signature('', value => {
    if (value instanceof Sequence && value.kind === 'generator') throw new TemplateError('a generator has no last item')
    return iterate(value).at(-1) ?? new Undefined('last')
  }),
  float: signature('default', toFloat),
  indent: signature('width first blank', indented),
  int: signature('default', toInt),
  items: signature('', value => generator(value instanceof Undefined ? [] : pairsOf(dictOf(value)))),
  join: signature('d attribute', (value, separator = '', attribute) =>
    iterate(value)
      .map(item => str(attribute === undefined || attribute === null ? item : attributeOf(item, attribute)))
      .join(str(separator)),
  ),
  list: signature('', value => [...iterate(value)]),
  lower: signature('', value => str(value).toLowerCase()),
  upper: signature('', value => str(value).toUpperCase()),
  map: signature('filter', (value, name, ...args) => {
    if (name === undefined) throw unsupported('map without a filter or attribute')
    return generator(iterate(value).map(item => filterOf(str(name)).apply(item, ...args)))
  }),
  reject: signature('test argument', chosen(false, false)),
  rejectattr: signature('attribute test argument', chosen(false, true)),
  select: signature('test argument', chosen(true, false)),
  selectattr: signature('attribute test argument', chosen(true, true)),
  replace: signature('old new count', (value, old = '', by = '', count) => replaced(str(value), old, by, count)),
  reverse: signature('', value =>
    typeof value === 'string' ? [...value].reverse().join('') : generator(iterate(value).toReversed()),
  ),
  sort: signature('reverse case_sensitive attribute', (value, reverse, caseSensitive, attribute) => {
    const keyOf = (item: Value) =>
      folded(attribute === undefined || attribute === null ? item : attributeOf(item, attribute), caseSensitive)
    return sorted(iterate(value), keyOf, reverse)
  }),
  string: signature('', str),
  title: signature('', value =>
    str(value)
      .split(WORD_START)
      .map(part => capitalized(part))
      .join(''),
  ),
  tojson: signature('ensure_ascii indent separators sort_keys', (value, ascii = false, indent = null, ...rest) =>
    toJson(value, ascii, indent, rest[0] ?? null, rest[1] ?? false),
  ),
  trim: signature('chars', (value, characters) => stripped(str(value), characters, true, true)),
  unique: signature('case_sensitive', (value, caseSensitive) => {
    const seen: Value[] = []
    return generator(
      iterate(value).filter(item => {
        const key = folded(item, caseSensitive)
        return seen.some(other => equal(other, key)) ? false : seen.push(key)
      }),
    )
  }),
}

function filterOf(name: string): Signature {
  const found = Object.hasOwn(FILTERS, name) ? FILTERS[name] : undefined
  if (found === undefined) throw unsupported(`the filter ${name}`)
  return found
}

export const isFilter = (name: string): boolean => Object.hasOwn(FILTERS, name)
export const isTest = (name: string): boolean => Object.hasOwn(TESTS, name)

export function applyFilter(
  name: string,
  value: Value,
  args: readonly Value[],
  named: ReadonlyMap<string, Value>,
): Value {
  if (name === 'map' && named.has('attribute')) {
    const missing = named.get('default')
    const items = iterate(value).map(item => attributeOf(item, named.get('attribute')!))
    return generator(items.map(item => (item instanceof Undefined && missing !== undefined ? missing : item)))
  }
  const { names, apply } = filterOf(name)
  const all: (Value | undefined)[] = [...args]
  for (const [key, argument] of named) {
    const place = names.indexOf(key)
    if (place < 0) throw unsupported(`the argument ${key} of the filter ${name}`)
    all[place] = argument
  }
  if (all.length > names.length && name !== 'map') throw unsupported(`these arguments of the filter ${name}`)
  return apply(value, ...all)
}

type Test = (value: Value, argument?: Value) => boolean
const isInteger: Test = value => typeof value === 'bigint'
const equals: Test = (value, other) => equal(value, other ?? new Undefined(''))
const TESTS: Readonly<Record<string, Test>> = {
  boolean: value => typeof value === 'boolean',
  callable: value => typeof value === 'function',
  defined: value => !(value instanceof Undefined),
  undefined: value => value instanceof Undefined,
  eq: equals,
  equalto: equals,
  '==': equals,
  ne: (value, other) => !equals(value, other),
  even: value => remainder(value) === 0n,
  odd: value => remainder(value) !== 0n,
  false: value => value === false,
  true: value => value === true,
  float: value => typeof value === 'number',
  integer: isInteger,
  number: value => numeric(value) !== undefined,
  in: (value, others) => contains(others ?? [], value),
  iterable: value => typeof value === 'string' || !(numeric(value) !== undefined || value === null || isObject(value)),
  mapping: value => value instanceof Map,
  none: value => value === null,
  sequence: value =>
    typeof value === 'string' ||
    Array.isArray(value) ||
    value instanceof Map ||
    value instanceof Undefined ||
    (value instanceof Sequence && value.kind === 'tuple'),
  string: value => typeof value === 'string',
}

const isObject = (value: Value): boolean =>
  typeof value === 'function' || (typeof value === 'object' && isOpaque(value))
const isOpaque = (value: Value): boolean =>
  !(Array.isArray(value) || value instanceof Map || value instanceof Sequence || value instanceof Undefined)

function remainder(value: Value): bigint {
  const number = numeric(value)
  if (typeof number !== 'bigint') throw unsupported('the tests odd and even of a value that is not an integer')
  return number % 2n
}

export function isTrueFor(name: string, value: Value): boolean {
  return TESTS[name]!(value)
}

/** Python's `value in container`. */
export function contains(container: Value, value: Value): boolean {
  if (typeof container === 'string') {
    if (typeof value !== 'string') throw new TemplateError('in a string, only strings can be searched')
    return container.includes(value)
  }
  return iterate(container).some(item => equal(item, value))
}
