/** Methods of strings and dicts in Jinja templates, with Python's results, and the text functions that filters share. */
import { type Callable, iterate, Sequence, str, TemplateError, tuple, unsupported, type Value } from './values.js'

const SPACE = '[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const START = new RegExp(`^${SPACE}+`)
const END = new RegExp(`${SPACE}+$`)
const GAP = new RegExp(`${SPACE}+`)
/** Where the filter `title` starts a word. */
export const WORD_START = new RegExp(`((?:[-({[<]|${SPACE})+)`)

const LINE_END = '[\\n\\r\\v\\f\\x1c-\\x1e\\x85\\u2028\\u2029]'
const LINE_BREAK = new RegExp(`\\r\\n|${LINE_END}`)

/** Lines of a text, as Python's `splitlines` cuts them; the last is empty after a final line break. */
export const linesOf = (text: string): string[] => text.split(LINE_BREAK)

export const trimmed = (text: string): string => text.replace(START, '').replace(END, '')

export function stripped(text: string, characters: Value | undefined, start: boolean, end: boolean): string {
  if (characters === undefined || characters === null) {
    const left = start ? text.replace(START, '') : text
    return end ? left.replace(END, '') : left
  }
  const set = new Set(str(characters))
  let all = [...text]
  while (start && set.has(all[0]!)) all = all.slice(1)
  while (end && set.has(all.at(-1)!)) all = all.slice(0, -1)
  return all.join('')
}

export function replaced(text: string, old: Value, by: Value, count: Value | undefined): string {
  if (count === undefined || count === null || Number(count) < 0) return text.replaceAll(str(old), () => str(by))
  if (str(old) === '') throw unsupported('a limited replacement of nothing')
  const parts = text.split(str(old))
  const limit = Number(count)
  return parts.slice(1).reduce((done, part, index) => done + str(index < limit ? by : old) + part, parts[0]!)
}

export function capitalized(text: string): string {
  const [first = '', ...rest] = text
  return first.toUpperCase() + rest.join('').toLowerCase()
}

export const pairsOf = (dict: ReadonlyMap<string, Value>): Value[] =>
  [...dict].map(([key, value]) => tuple([key, value]))

type Method<Self> = (self: Self, ...args: readonly (Value | undefined)[]) => Value

const STRING_METHODS: Readonly<Record<string, Method<string>>> = {
  capitalize: capitalized,
  endswith: (self, suffixes = '') => alternatives(suffixes).some(suffix => self.endsWith(suffix)),
  startswith: (self, prefixes = '') => alternatives(prefixes).some(prefix => self.startsWith(prefix)),
  join: (self, items = []) =>
    iterate(items)
      .map(item => {
        if (typeof item !== 'string') throw new TemplateError('join expects strings')
        return item
      })
      .join(self),
  lower: self => self.toLowerCase(),
  upper: self => self.toUpperCase(),
  strip: (self, characters) => stripped(self, characters, true, true),
  lstrip: (self, characters) => stripped(self, characters, true, false),
  rstrip: (self, characters) => stripped(self, characters, false, true),
  removeprefix: (self, prefix = '') => (self.startsWith(str(prefix)) ? self.slice(str(prefix).length) : self),
  removesuffix: (self, suffix = '') =>
    suffix !== '' && self.endsWith(str(suffix)) ? self.slice(0, -str(suffix).length) : self,
  replace: (self, old = '', by = '', count) => replaced(self, old, by, count),
  split: (self, separator, limit = -1n) => split(self, separator, Number(limit)),
  splitlines: self => {
    const lines = linesOf(self)
    return lines.at(-1) === '' ? lines.slice(0, -1) : lines
  },
}

const alternatives = (value: Value): readonly string[] =>
  typeof value === 'string' ? [value] : iterate(value).map(str)

function split(text: string, separator: Value | undefined, limit: number): Value[] {
  const isGap = separator === undefined || separator === null
  if (separator === '') throw new TemplateError('empty separator')
  const parts: string[] = []
  let rest = isGap ? text.replace(START, '') : text
  while (limit < 0 || parts.length < limit) {
    const found = isGap ? GAP.exec(rest) : null
    const at = isGap ? (found?.index ?? -1) : rest.indexOf(str(separator))
    if (at < 0) break
    parts.push(rest.slice(0, at))
    rest = rest.slice(at + (isGap ? found![0].length : str(separator).length))
  }
  return isGap && rest === '' ? parts : [...parts, rest]
}

const DICT_METHODS: Readonly<Record<string, Method<Map<string, Value>>>> = {
  get: (self, key = null, other = null) => (typeof key === 'string' ? self.get(key) : undefined) ?? other,
  items: self => new Sequence('dict_items', pairsOf(self)),
  keys: self => new Sequence('dict_keys', [...self.keys()]),
  values: self => new Sequence('dict_values', [...self.values()]),
}

/** Python's other methods, which templates may not use here. */
const OTHER_METHODS = {
  string:
    'casefold center count encode expandtabs find format format_map index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace istitle isupper ljust maketrans partition rfind rindex rjust rpartition rsplit swapcase title translate zfill',
  dict: 'clear copy fromkeys pop popitem setdefault update',
  list: 'append clear copy count extend index insert pop remove reverse sort',
}

/** A method of a value, bound to it; undefined if its type has none of this name. */
export function methodOf(value: Value, name: string): Callable | undefined {
  const isDict = value instanceof Map
  const kind = typeof value === 'string' ? 'string' : isDict ? 'dict' : 'list'
  const methods = kind === 'string' ? STRING_METHODS : kind === 'dict' ? DICT_METHODS : {}
  if (Object.hasOwn(methods, name)) {
    const method = (methods as Readonly<Record<string, Method<never>>>)[name]!
    return (args, named) => {
      if (named.size > 0) throw unsupported(`named arguments of the method ${name}`)
      return method(value as never, ...args)
    }
  }
  if (name.startsWith('__') || OTHER_METHODS[kind].split(' ').includes(name)) throw unsupported(`the method ${name}`)
  return undefined
}
