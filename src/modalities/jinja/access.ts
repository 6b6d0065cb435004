/** Attributes, items and slices of values in Jinja templates, with Jinja2's results. */
import { methodOf } from './methods.js'
import {
  indexable,
  Namespace,
  numeric,
  Sequence,
  str,
  TemplateError,
  tuple,
  Undefined,
  unsupported,
  type Value,
} from './values.js'

const NUMBER_ATTRIBUTES =
  'real imag numerator denominator conjugate bit_length bit_count as_integer_ratio is_integer hex fromhex to_bytes from_bytes'

/**
 * `object.key` prefers a method, `object[key]` an item.
 * @param isItem whether the brackets are written
 */
export function memberOf(object: Value, key: Value, isItem: boolean): Value {
  if (object instanceof Undefined) throw new TemplateError(`${object.name} is undefined`)
  const missing = new Undefined(str(key))
  if (typeof key !== 'string') {
    const index = numeric(key)
    const found = typeof index === 'bigint' ? indexable(object)?.at(Number(index)) : undefined
    return found === undefined ? missing : found
  }
  if (object instanceof Namespace) return object.attributes.has(key) ? object.attributes.get(key)! : missing
  if (object === null || numeric(object) !== undefined || typeof object === 'function') {
    if (key.startsWith('__') || NUMBER_ATTRIBUTES.split(' ').includes(key)) throw unsupported(`the attribute ${key}`)
    return missing
  }
  if (object instanceof Sequence) return missing
  const item = object instanceof Map && object.has(key) ? object.get(key)! : missing
  return isItem && !(item instanceof Undefined) ? item : (methodOf(object, key) ?? item)
}

/** `object[start:stop:step]`, where null means that a bound is not given. */
export function sliceOf(object: Value, bounds: readonly Value[]): Value {
  const items = indexable(object)
  if (items === undefined) throw new TemplateError('the value cannot be sliced')
  const [start, stop, step = 1] = bounds.map(boundOf)
  if (step === 0) throw new TemplateError('slice step cannot be zero')
  const [low, high] = step > 0 ? [0, items.length] : [-1, items.length - 1]
  const place = (bound: number): number => Math.min(Math.max(bound < 0 ? bound + items.length : bound, low), high)
  const [first, end] = [start ?? (step > 0 ? low : high), stop ?? (step > 0 ? high : low)]
  const to = stop === undefined ? end : place(end)
  const chosen: Value[] = []
  for (let index = start === undefined ? first : place(first); step > 0 ? index < to : index > to; index += step) {
    chosen.push(items[index]!)
  }
  if (typeof object === 'string') return chosen.join('')
  return Array.isArray(object) ? chosen : tuple(chosen)
}

function boundOf(value: Value): number | undefined {
  if (value === null) return undefined
  const number = numeric(value)
  if (typeof number !== 'bigint') throw new TemplateError('slice indices must be integers')
  return Number(number)
}
