/**
 * Compiled jq functions, by `name/arity`. Each takes its arguments as filters and returns a filter. Functions that need
 * regular expressions, dates, paths as values, input or the environment run in the full language.
 */
import { add, negate, splitText } from './arithmetic.js'
import { doubleOf, isNegative, literalOf, NumberLiteral, withSign } from './numbers.js'
import { type Filter, index, iterate, paired, recurse, slice } from './steps.js'
import { NotCompiled } from './syntax.js'
import {
  codePoints,
  compare,
  isEqual,
  isObject,
  isTrue,
  JqFailure,
  type Json,
  sortedKeys,
  toJson,
  toText,
  typeOf,
} from './values.js'

type Builtin = (...args: readonly Filter[]) => Filter

/** A function of the input only. */
function plain(compute: (input: Json) => Json): Builtin {
  return () => input => [compute(input)]
}

/** A function of the input and of each output of its argument. */
function withArgument(compute: (input: Json, argument: Json) => Json): Builtin {
  return argument => paired(input => [input], argument!, compute)
}

/** Yields the input if the predicate holds. */
function selecting(keep: (input: Json) => boolean): Builtin {
  return () => input => (keep(input) ? [input] : [])
}

/** A function of an array's items, each with the filter outputs by which it is ordered or grouped. */
function byKey(compute: (items: readonly { readonly item: Json; readonly key: Json }[]) => Json): Builtin {
  return key => (input, scope) => [compute(asArray(input).map(item => ({ item, key: [...key!(item, scope)] })))]
}

function fail(message: Json): never {
  throw new JqFailure(toText(message))
}

function asArray(value: Json): readonly Json[] {
  if (!Array.isArray(value)) throw new JqFailure(`${typeOf(value)} is not an array`)
  return value
}

function asText(value: Json, what: string): string {
  if (typeof value !== 'string') throw new JqFailure(`${what} needs a string, not ${typeOf(value)}`)
  return value
}

function asNumber(value: Json, what: string): number {
  const number = doubleOf(value)
  if (number === undefined) throw new JqFailure(`${what} needs a number, not ${typeOf(value)}`)
  return number
}

function lengthOf(value: Json): Json {
  if (value === null) return 0
  if (value instanceof NumberLiteral) return withSign(value, '')
  if (typeof value === 'number') return Math.abs(value)
  if (typeof value === 'string') return codePoints(value).length
  if (typeof value === 'boolean') throw new JqFailure('boolean has no length')
  return iterate(value).length
}

function changeCase(from: RegExp, change: (letter: string) => string, name: string): Builtin {
  return plain(input => asText(input, name).replaceAll(from, change))
}

function has(input: Json, key: Json): boolean {
  if (input === null) return false
  if (isObject(input) && typeof key === 'string') return Object.hasOwn(input, key)
  const place = doubleOf(key)
  if (Array.isArray(input) && place !== undefined) return place >= 0 && place < input.length
  throw new JqFailure(`Cannot check whether ${typeOf(input)} has a ${typeOf(key)} key`)
}

function contains(whole: Json, part: Json): boolean {
  if (isObject(whole) && isObject(part)) {
    return Object.keys(part).every(key => Object.hasOwn(whole, key) && contains(whole[key], part[key]))
  }
  if (Array.isArray(whole) && Array.isArray(part)) return part.every(item => whole.some(other => contains(other, item)))
  if (typeof whole === 'string' && typeof part === 'string') return whole.includes(part)
  if (typeOf(whole) === typeOf(part)) return isEqual(whole, part)
  throw new JqFailure(`${typeOf(whole)} and ${typeOf(part)} cannot have their containment checked`)
}

function join(input: Json, separator: Json): Json {
  const items = iterate(input)
  if (items.length === 0) return ''
  let joined: Json = null
  for (const item of items) {
    if (Array.isArray(item) || isObject(item)) throw new JqFailure(`string and ${typeOf(item)} cannot be added`)
    const text = item === null ? '' : toText(item)
    joined = joined === null ? text : add(add(joined, separator), text)
  }
  return joined
}

function flatten(items: readonly Json[], depth: number): Json[] {
  return items.flatMap(item => (Array.isArray(item) && depth > 0 ? flatten(item, depth - 1) : [item]))
}

function toNumber(value: Json): Json {
  if (doubleOf(value) !== undefined) return value
  const text = asText(value, 'tonumber')
  if (!/^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/.test(text)) throw new JqFailure(`Cannot parse "${text}" as a number`)
  return literalOf(text.replace(/^\+/, ''))
}

function toEntries(input: Json): Json[] {
  if (Array.isArray(input)) return input.map((value, key) => ({ key, value }))
  if (!isObject(input)) throw new JqFailure(`${typeOf(input)} has no keys`)
  return Object.entries(input).map(([key, value]) => ({ key, value }))
}

function ordered(items: readonly { readonly item: Json; readonly key: Json }[]) {
  return [...items].sort((left, right) => compare(left.key, right.key))
}

/** Runs of items with equal keys, in the order of the keys. */
function grouped(items: readonly { readonly item: Json; readonly key: Json }[]): Json[][] {
  const groups: { key: Json; items: Json[] }[] = []
  for (const { item, key } of ordered(items)) {
    const last = groups.at(-1)
    if (last !== undefined && isEqual(last.key, key)) last.items.push(item)
    else groups.push({ key, items: [item] })
  }
  return groups.map(group => group.items)
}

/** The item with the maximum key (the last of equals), or the minimum key (the first of equals). */
function extreme(direction: 1 | -1): Parameters<typeof byKey>[0] {
  return items => {
    let best = items[0]
    for (const candidate of items.slice(1)) {
      const order = compare(candidate.key, best!.key) * direction
      if (order > 0 || (order === 0 && direction > 0)) best = candidate
    }
    return best?.item ?? null
  }
}

const keyed = (input: Json) => asArray(input).map(item => ({ item, key: item }))

function mapObject(input: Json, filter: Filter, scope: Parameters<Filter>[1]): Json {
  if (!isObject(input)) return iterate(input).flatMap(item => firstOf(filter(item, scope)))
  return Object.fromEntries(
    Object.entries(input).flatMap(([key, value]) => firstOf(filter(value, scope)).map(changed => [key, changed])),
  )
}

/** The first output in a list, or an empty list. */
function firstOf(outputs: Iterable<Json>): Json[] {
  for (const output of outputs) return [output]
  return []
}

/** `any` and `all` over items or a filter's outputs, with early exit. */
function quantifier(stopAt: boolean): (items: Iterable<Json>) => boolean {
  return items => {
    for (const item of items) if (isTrue(item) === stopAt) return stopAt
    return !stopAt
  }
}

const any = quantifier(true)
const all = quantifier(false)

function limited(count: Json, outputs: () => Iterable<Json>): Json[] {
  const limit = asNumber(count, 'limit')
  if (limit < 0) throw new JqFailure("limit doesn't support negative count")
  const taken: Json[] = []
  if (limit === 0) return taken
  for (const output of outputs()) if (taken.push(output) >= limit) break
  return taken
}

/** The outputs after the first `count`. */
function* skipped(count: Json, outputs: Iterable<Json>): Generator<Json> {
  let left = asNumber(count, 'skip')
  if (left < 0) throw new JqFailure("skip doesn't support negative count")
  for (const output of outputs) if (left-- <= 0) yield output
}

/** Characters with the Unicode property White_Space, which `trim` of JavaScript differs from in two. */
const SPACE = '[\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]'
const LEADING_SPACE = new RegExp(`^${SPACE}+`)

function trimStart(input: Json): string {
  return asText(input, 'trim').replace(LEADING_SPACE, '')
}

/** Without a regular expression, which would take quadratic time in long runs of spaces inside the text. */
function trimEnd(input: Json): string {
  const text = asText(input, 'trim')
  let end = text.length
  while (end > 0 && isSpace(text.charAt(end - 1))) end--
  return text.slice(0, end)
}

const ANY_SPACE = new RegExp(SPACE)
const isSpace = (char: string): boolean => ANY_SPACE.test(char)

function withoutPrefix(input: Json, start: Json): string {
  const [text, prefix] = [asText(input, 'ltrimstr'), asText(start, 'ltrimstr')]
  return text.startsWith(prefix) ? text.slice(prefix.length) : text
}

function withoutSuffix(input: Json, end: Json): string {
  const [text, suffix] = [asText(input, 'rtrimstr'), asText(end, 'rtrimstr')]
  return suffix !== '' && text.endsWith(suffix) ? text.slice(0, -suffix.length) : text
}

function absolute(input: Json): Json {
  if (input instanceof NumberLiteral) return isNegative(input) && input.valueOf() < 0 ? withSign(input, '') : input
  // jq defines abs by a comparison, in which strings, lists and objects are greater than 0.
  if (compare(input, 0) >= 0) return input
  return negate(input)
}

/** All positions of a string, in code points, or of an item or run of items. */
function indices(input: Json, wanted: Json): Json {
  if (input === null) return null
  if (typeof input === 'string' && typeof wanted === 'string') return textIndices(input, wanted)
  if (!Array.isArray(input)) return index(input, wanted)
  const run: readonly Json[] = Array.isArray(wanted) ? wanted : [wanted]
  if (run.length === 0) return []
  return input.flatMap((_, at) => (run.every((item, offset) => matches(input, at + offset, item)) ? [at] : []))
}

function matches(items: readonly Json[], at: number, item: Json): boolean {
  return at < items.length && isEqual(items[at], item)
}

function textIndices(text: string, wanted: string): number[] {
  const found: number[] = []
  if (wanted === '') return found
  let [counted, place] = [0, 0]
  for (let at = text.indexOf(wanted); at >= 0; at = text.indexOf(wanted, at + 1)) {
    place += codePoints(text.slice(counted, at)).length
    counted = at
    found.push(place)
  }
  return found
}

const firstIndex = (input: Json, wanted: Json): Json => index(indices(input, wanted), 0)
const lastIndex = (input: Json, wanted: Json): Json => index(slice(indices(input, wanted), -1, null), 0)

/** Limit of range outputs per value; above it the full language runs, which can be interrupted. */
const MAX_RANGED = 1e6
let ranged = 0

/** Called before a filter is applied to the next value. */
export function forgetRanges(): void {
  ranged = 0
}

function* range(from: Json, to: Json): Generator<Json> {
  for (let at = asNumber(from, 'range'); at < asNumber(to, 'range'); at++) {
    if (++ranged > MAX_RANGED) throw new NotCompiled('ranges of more than a million numbers')
    yield at
  }
}

const isType = (...types: readonly string[]) => selecting(input => types.includes(typeOf(input)))

export const builtins: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  ['empty/0', () => () => []],
  ['error/0', plain(fail)],
  ['error/1', withArgument((_, message) => fail(message))],
  ['not/0', plain(input => !isTrue(input))],
  ['length/0', plain(lengthOf)],
  ['utf8bytelength/0', plain(input => new TextEncoder().encode(asText(input, 'utf8bytelength')).length)],
  ['type/0', plain(typeOf)],
  ['tostring/0', plain(toText)],
  ['tojson/0', plain(toJson)],
  ['tonumber/0', plain(toNumber)],
  ['ascii_downcase/0', changeCase(/[A-Z]/g, letter => letter.toLowerCase(), 'ascii_downcase')],
  ['ascii_upcase/0', changeCase(/[a-z]/g, letter => letter.toUpperCase(), 'ascii_upcase')],
  ['startswith/1', withArgument((input, start) => asText(input, 'startswith').startsWith(asText(start, 'startswith')))],
  ['endswith/1', withArgument((input, end) => asText(input, 'endswith').endsWith(asText(end, 'endswith')))],
  ['ltrimstr/1', withArgument(withoutPrefix)],
  ['rtrimstr/1', withArgument(withoutSuffix)],
  ['trimstr/1', withArgument((input, ends) => withoutSuffix(withoutPrefix(input, ends), ends))],
  ['trim/0', plain(input => trimEnd(trimStart(input)))],
  ['ltrim/0', plain(trimStart)],
  ['rtrim/0', plain(trimEnd)],
  ['index/1', withArgument(firstIndex)],
  ['rindex/1', withArgument(lastIndex)],
  ['indices/1', withArgument(indices)],
  ['abs/0', plain(absolute)],
  ['toarray/0', plain(input => (Array.isArray(input) ? input : [input]))],
  ['have_literal_numbers/0', plain(() => true)],
  ['have_decnum/0', plain(() => true)],
  ['split/1', withArgument((input, separator) => splitText(asText(input, 'split'), asText(separator, 'split')))],
  ['join/1', withArgument(join)],
  ['explode/0', plain(input => codePoints(asText(input, 'explode')).map(char => char.codePointAt(0)))],
  ['keys/0', plain(input => (isObject(input) ? sortedKeys(input) : iterate(input).map((_, at) => at)))],
  ['keys_unsorted/0', plain(input => (isObject(input) ? Object.keys(input) : iterate(input).map((_, at) => at)))],
  ['has/1', withArgument(has)],
  ['contains/1', withArgument(contains)],
  ['inside/1', withArgument((input, whole) => contains(whole, input))],
  ['add/0', plain(input => iterate(input).reduce(add, null))],
  ['any/0', plain(input => any(iterate(input)))],
  ['all/0', plain(input => all(iterate(input)))],
  ['any/1', test => (input, scope) => [any(mapItems(input, test!, scope))]],
  ['all/1', test => (input, scope) => [all(mapItems(input, test!, scope))]],
  ['map/1', change => (input, scope) => [[...mapItems(input, change!, scope)]]],
  ['map_values/1', change => (input, scope) => [mapObject(input, change!, scope)]],
  ['select/1', test => selectFilter(test!)],
  ['recurse/0', () => input => recurse(input)],
  ['first/0', plain(input => index(input, 0))],
  ['last/0', plain(input => index(input, -1))],
  ['first/1', of => (input, scope) => firstOf(of!(input, scope))],
  ['last/1', of => (input, scope) => [...of!(input, scope)].slice(-1)],
  ['add/1', of => (input, scope) => [[...of!(input, scope)].reduce(add, null)]],
  ['skip/2', skipFilter],
  ['isempty/1', of => (input, scope) => [firstOf(of!(input, scope)).length === 0]],
  ['limit/2', limitFilter],
  ['nth/1', withArgument((input, place) => index(input, place))],
  ['range/1', to => rangeFilter(() => [0], to!)],
  ['range/2', (from, to) => rangeFilter(from!, to!)],
  ['reverse/0', plain(reversed)],
  ['sort/0', plain(input => ordered(keyed(input)).map(({ item }) => item))],
  ['sort_by/1', byKey(items => ordered(items).map(({ item }) => item))],
  ['group_by/1', byKey(grouped)],
  ['unique/0', plain(input => grouped(keyed(input)).map(group => group[0]))],
  ['unique_by/1', byKey(items => grouped(items).map(group => group[0]))],
  ['min/0', plain(input => extreme(-1)(keyed(input)))],
  ['max/0', plain(input => extreme(1)(keyed(input)))],
  ['min_by/1', byKey(extreme(-1))],
  ['max_by/1', byKey(extreme(1))],
  ['flatten/0', plain(input => flatten(iterate(input), Number.POSITIVE_INFINITY))],
  ['flatten/1', withArgument((input, depth) => flatten(iterate(input), flattenDepth(depth)))],
  ['to_entries/0', plain(toEntries)],
  ['floor/0', plain(input => Math.floor(asNumber(input, 'floor')))],
  ['ceil/0', plain(input => Math.ceil(asNumber(input, 'ceil')))],
  ['sqrt/0', plain(input => Math.sqrt(asNumber(input, 'sqrt')))],
  ['values/0', selecting(input => input !== null)],
  ['nulls/0', isType('null')],
  ['booleans/0', isType('boolean')],
  ['numbers/0', isType('number')],
  ['strings/0', isType('string')],
  ['arrays/0', isType('array')],
  ['objects/0', isType('object')],
  ['iterables/0', isType('array', 'object')],
  ['scalars/0', isType('null', 'boolean', 'number', 'string')],
])

function* mapItems(input: Json, change: Filter, scope: Parameters<Filter>[1]): Generator<Json> {
  for (const item of iterate(input)) yield* change(item, scope)
}

function selectFilter(test: Filter): Filter {
  return function* (input, scope) {
    for (const decided of test(input, scope)) if (isTrue(decided)) yield input
  }
}

function limitFilter(count?: Filter, of?: Filter): Filter {
  return function* (input, scope) {
    for (const limit of count!(input, scope)) yield* limited(limit, () => of!(input, scope))
  }
}

function skipFilter(count?: Filter, of?: Filter): Filter {
  return function* (input, scope) {
    for (const skip of count!(input, scope)) yield* skipped(skip, of!(input, scope))
  }
}

function rangeFilter(from: Filter, to: Filter): Filter {
  return function* (input, scope) {
    for (const start of from(input, scope)) for (const end of to(input, scope)) yield* range(start, end)
  }
}

function reversed(input: Json): Json {
  if (lengthOf(input) === 0) return []
  return [...asArray(input)].reverse()
}

function flattenDepth(depth: Json): number {
  const limit = asNumber(depth, 'flatten')
  if (limit < 0) throw new JqFailure('flatten depth must not be negative')
  return limit
}
