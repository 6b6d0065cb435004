/**
 * Compiles a syntax tree into a function from a value to its outputs. Outputs are lazy, as in jq: what `first` or `?` does
 * not consume is not evaluated, and outputs before a failure are delivered.
 */
import { add, divide, multiply, negate, remainder, subtract } from './arithmetic.js'
import { builtins } from './builtins.js'
import { isFunctionOfJq } from './function-names.js'
import { childrenOf, type Filter, index, iterate, paired, recurse, type Scope, slice } from './steps.js'
import { InvalidFilter, NotCompiled, type Operator, type Tree } from './syntax.js'
import { compare, isEqual, isTrue, JqFailure, type Json, toText, typeOf } from './values.js'

/** @throws NotCompiled */
export function buildFilter(tree: Tree, names: readonly string[] = []): Filter {
  const build = (part: Tree): Filter => buildFilter(part, names)
  switch (tree.kind) {
    case 'identity':
      return input => [input]
    case 'recurse':
      return input => recurse(input)
    case 'literal':
      return () => [tree.value]
    case 'text':
      return textFilter(tree.parts.map(part => (typeof part === 'string' ? part : build(part))))
    case 'index':
      return indexFilter(build(tree.of), build(tree.key), tree.optional)
    case 'slice':
      return sliceFilter(build(tree.of), tree.from && build(tree.from), tree.to && build(tree.to), tree.optional)
    case 'each':
      return eachFilter(build(tree.of), tree.optional)
    case 'try':
      return tryFilter(build(tree.body))
    case 'negate':
      return mapped(build(tree.of), negate)
    case 'array':
      return arrayFilter(tree.items && build(tree.items))
    case 'object':
      refuseConstantKeys(tree.entries.map(({ key }) => key))
      return objectFilter(tree.entries.map(({ key, value }) => ({ key: build(key), value: build(value) })))
    case 'binary':
      return binaryFilter(tree.operator, build(tree.left), build(tree.right))
    case 'if':
      return ifFilter(build(tree.condition), build(tree.then), build(tree.otherwise))
    case 'bind':
      return bindFilter(build(tree.source), tree.name, buildFilter(tree.body, [tree.name, ...names]))
    case 'variable':
      if (!names.includes(tree.name)) throw unknownVariable(tree.name, tree.at)
      return (_, scope) => [lookUp(scope, tree.name)]
    case 'call':
      return callFilter(tree, tree.args.map(build))
  }
}

function callFilter({ name, at }: { readonly name: string; readonly at: number }, args: readonly Filter[]): Filter {
  const builtin = builtins.get(`${name}/${args.length}`)
  if (builtin !== undefined) return builtin(...args)
  throw isFunctionOfJq(name)
    ? new NotCompiled(`${name}/${args.length}`)
    : new InvalidFilter(`jq has no function ${name}`, at)
}

function unknownVariable(name: string, at: number): NotCompiled {
  return name.startsWith('__') || name === 'ENV'
    ? new NotCompiled(`$${name}`)
    : new InvalidFilter(`the variable $${name} is not defined`, at)
}

function lookUp(scope: Scope | null, name: string): Json {
  let at = scope
  while (at !== null && at.name !== name) at = at.outer
  return at?.value
}

function mapped(of: Filter, change: (value: Json) => Json): Filter {
  return function* (input, scope) {
    for (const value of of(input, scope)) yield change(value)
  }
}

/** The outputs of one step; `.a?` suppresses failures of the step itself, but not of its operands. */
function stepped(optional: boolean, step: () => Json): Json[] {
  try {
    return [step()]
  } catch (error) {
    if (optional && error instanceof JqFailure) return []
    throw error
  }
}

function indexFilter(of: Filter, key: Filter, optional: boolean): Filter {
  return function* (input, scope) {
    for (const at of key(input, scope)) {
      for (const value of of(input, scope)) yield* stepped(optional, () => index(value, at))
    }
  }
}

function tryFilter(body: Filter): Filter {
  return function* (input, scope) {
    try {
      yield* body(input, scope)
    } catch (error) {
      if (!(error instanceof JqFailure)) throw error
    }
  }
}

function sliceFilter(of: Filter, from: Filter | null, to: Filter | null, optional: boolean): Filter {
  const none: Filter = () => [null]
  return function* (input, scope) {
    for (const end of (to ?? none)(input, scope)) {
      for (const start of (from ?? none)(input, scope)) {
        for (const value of of(input, scope)) yield* stepped(optional, () => slice(value, start, end))
      }
    }
  }
}

function eachFilter(of: Filter, optional: boolean): Filter {
  return function* (input, scope) {
    for (const value of of(input, scope)) yield* (optional ? childrenOf(value) : iterate(value)) ?? []
  }
}

function arrayFilter(items: Filter | null): Filter {
  return (input, scope) => [items === null ? [] : [...items(input, scope)]]
}

/** Later interpolations are the outer loops: `"\(1, 2) \(3, 4)"` yields 1 3, 2 3, 1 4, 2 4. */
function textFilter(parts: readonly (string | Filter)[]): Filter {
  const [last] = parts.slice(-1)
  if (last === undefined) return () => ['']
  const before = textFilter(parts.slice(0, -1))
  const ends: Filter = typeof last === 'string' ? () => [last] : mapped(last, toText)
  return paired(before, ends, (start, end) => `${start}${end}`)
}

/** jq rejects a constant key that is not a string at compile time. */
function refuseConstantKeys(keys: readonly Tree[]): void {
  const isWrong = (key: Tree) =>
    key.kind === 'array' || key.kind === 'object' || (key.kind === 'literal' && typeof key.value !== 'string')
  if (keys.some(isWrong)) throw new NotCompiled('a constant key that is not a string')
}

function objectFilter(entries: readonly { readonly key: Filter; readonly value: Filter }[]): Filter {
  function* combine(at: number, made: readonly [string, Json][], input: Json, scope: Scope | null): Generator<Json> {
    const entry = entries[at]
    if (entry === undefined) {
      yield Object.fromEntries(made)
      return
    }
    for (const key of entry.key(input, scope)) {
      if (typeof key !== 'string') throw new JqFailure(`Object keys must be strings, not ${typeOf(key)}`)
      for (const value of entry.value(input, scope)) yield* combine(at + 1, [...made, [key, value]], input, scope)
    }
  }
  return (input, scope) => combine(0, [], input, scope)
}

const ARITHMETIC: Partial<Record<Operator, (left: Json, right: Json) => Json>> = {
  '+': add,
  '-': subtract,
  '*': multiply,
  '/': divide,
  '%': remainder,
  '==': isEqual,
  '!=': (left, right) => !isEqual(left, right),
  '<': (left, right) => compare(left, right) < 0,
  '<=': (left, right) => compare(left, right) <= 0,
  '>': (left, right) => compare(left, right) > 0,
  '>=': (left, right) => compare(left, right) >= 0,
}

function binaryFilter(operator: Operator, left: Filter, right: Filter): Filter {
  const join = ARITHMETIC[operator]
  if (join !== undefined) return paired(left, right, join)
  if (operator === ',') return commaFilter(left, right)
  if (operator === '//') return alternativeFilter(left, right)
  if (operator === '|') return pipeFilter(left, right)
  return logicFilter(operator === 'and', left, right)
}

function pipeFilter(left: Filter, right: Filter): Filter {
  return function* (input, scope) {
    for (const value of left(input, scope)) yield* right(value, scope)
  }
}

function commaFilter(left: Filter, right: Filter): Filter {
  return function* (input, scope) {
    yield* left(input, scope)
    yield* right(input, scope)
  }
}

/** All truthy outputs of the left side or, if there are none, those of the right side. Failures of the right side propagate. */
function alternativeFilter(left: Filter, right: Filter): Filter {
  return function* (input, scope) {
    let found = false
    for (const value of left(input, scope)) {
      if (!isTrue(value)) continue
      found = true
      yield value
    }
    if (!found) yield* right(input, scope)
  }
}

/** The right side is evaluated only if the left side does not determine the result. */
function logicFilter(isAnd: boolean, left: Filter, right: Filter): Filter {
  return function* (input, scope) {
    for (const first of left(input, scope)) {
      if (isTrue(first) !== isAnd) yield !isAnd
      else for (const second of right(input, scope)) yield isTrue(second)
    }
  }
}

function ifFilter(condition: Filter, then: Filter, otherwise: Filter): Filter {
  return function* (input, scope) {
    for (const decided of condition(input, scope)) yield* (isTrue(decided) ? then : otherwise)(input, scope)
  }
}

function bindFilter(source: Filter, name: string, body: Filter): Filter {
  return function* (input, scope) {
    for (const value of source(input, scope)) yield* body(input, { name, value, outer: scope })
  }
}
