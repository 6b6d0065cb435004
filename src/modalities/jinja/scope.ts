/** Variables of Jinja templates: scopes, constants, global functions and `loop`. */
import {
  type Callable,
  Namespace,
  numeric,
  Sequence,
  str,
  TemplateError,
  Undefined,
  unsupported,
  type Value,
} from './values.js'

/** The sandbox of Jinja2 allows no longer ranges. */
const MAX_RANGE = 100_000

/** Names that Jinja2 defines and that are not supported. */
const SPECIAL_NAMES = ['lipsum', 'cycler', 'joiner', 'self', 'caller', 'varargs', 'kwargs']

export class Scope {
  readonly variables: Map<string, Value>
  readonly parent: Scope | undefined

  constructor(variables: Iterable<readonly [string, Value]>, parent?: Scope) {
    this.variables = new Map(variables)
    this.parent = parent
  }

  find(name: string): Value {
    for (let scope: Scope | undefined = this; scope !== undefined; scope = scope.parent) {
      const found = scope.variables.get(name)
      if (found !== undefined) return found
    }
    if (SPECIAL_NAMES.includes(name)) throw unsupported(`the name ${name}`)
    return new Undefined(name)
  }
}

export const CONSTANTS: Readonly<Record<string, Value>> = {
  true: true,
  True: true,
  false: false,
  False: false,
  none: null,
  None: null,
}

export const GLOBALS: Readonly<Record<string, Callable>> = {
  raise_exception: ([message = '']) => {
    throw new TemplateError(str(message))
  },
  range: args => {
    const numbers = args.map(argument => Number(numeric(argument) ?? Number.NaN))
    const [start, stop, step = 1] = numbers.length === 1 ? [0, numbers[0]!] : numbers
    if (!numbers.every(Number.isSafeInteger) || step === 0) throw new TemplateError('range expects integers')
    const count = Math.max(0, Math.ceil((stop! - start!) / step))
    if (count > MAX_RANGE) throw new TemplateError(`a range may have at most ${MAX_RANGE} items`)
    return new Sequence(
      'range',
      Array.from({ length: count }, (_, index) => BigInt(start! + index * step)),
    )
  },
  dict: ([from], named) => new Map([...(from instanceof Map ? from : []), ...named]),
  namespace: ([from], named) => new Namespace(new Map([...(from instanceof Map ? from : []), ...named]), true),
}

/** The variable `loop` of one iteration. */
export function loopObject(items: readonly Value[], index: number): Namespace {
  const cycle: Callable = args => {
    if (args.length === 0) throw new TemplateError('no items for cycling given')
    return args[index % args.length]!
  }
  const attributes: Record<string, Value> = {
    index: BigInt(index + 1),
    index0: BigInt(index),
    revindex: BigInt(items.length - index),
    revindex0: BigInt(items.length - index - 1),
    first: index === 0,
    last: index === items.length - 1,
    length: BigInt(items.length),
    previtem: index > 0 ? items[index - 1]! : new Undefined('previtem'),
    nextitem: index < items.length - 1 ? items[index + 1]! : new Undefined('nextitem'),
    // Deeper in recursive loops only, which are not supported.
    depth: 1n,
    depth0: 0n,
    cycle,
    changed: () => {
      throw unsupported('loop.changed')
    },
  }
  return new Namespace(new Map(Object.entries(attributes)), false)
}
