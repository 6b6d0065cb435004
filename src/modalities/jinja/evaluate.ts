/**
 * Evaluates the syntax tree of a Jinja template, as @huggingface/jinja parses it, with the results of Jinja2 3.1 in the
 * immutable sandbox that Modalities uses: no files, no imports, and nothing of the input is changed.
 */
import { memberOf, sliceOf } from './access.js'
import { applyFilter, isFilter, isTest, isTrueFor } from './filters.js'
import { operate, unary } from './operators.js'
import { CONSTANTS, GLOBALS, loopObject, Scope } from './scope.js'
import {
  type Callable,
  iterate,
  Namespace,
  str,
  TemplateError,
  truth,
  tuple,
  Undefined,
  unsupported,
  type Value,
} from './values.js'

/** A node of the syntax tree; which fields exist depends on its type. */
export interface Node {
  readonly type: string
  readonly value?: unknown
  readonly body?: readonly Node[]
  readonly alternate?: readonly Node[]
  readonly defaultBlock?: readonly Node[]
  readonly args?: readonly Node[]
  readonly test?: Node
  readonly name?: Node
  readonly key?: Node
  readonly loopvar?: Node
  readonly iterable?: Node
  readonly assignee?: Node
  readonly object?: Node
  readonly property?: Node
  readonly callee?: Node
  readonly operator?: { readonly value: string }
  readonly left?: Node
  readonly right?: Node
  readonly operand?: Node
  readonly filter?: Node
  readonly argument?: Node
  readonly lhs?: Node
  readonly condition?: Node
  readonly trueExpr?: Node
  readonly falseExpr?: Node
  readonly start?: Node
  readonly stop?: Node
  readonly step?: Node
  readonly computed?: boolean
  readonly negate?: boolean
}

const UNSUPPORTED_NODES: Readonly<Record<string, string>> = {
  Break: 'break',
  Continue: 'continue',
  CallStatement: 'a call block',
  FilterStatement: 'a filter block',
  SpreadExpression: 'unpacked arguments',
  KeywordSpreadExpression: 'unpacked arguments',
}

/** @throws UNSUPPORTED for syntax that would not give Jinja2's result */
export function checkTemplate(node: Node): void {
  const reason = UNSUPPORTED_NODES[node.type]
  if (reason !== undefined) throw unsupported(reason)
  if (node.type === 'FilterExpression') {
    const name = filterName(node.filter!)
    if (name !== 'safe' && !isFilter(name)) throw unsupported(`the filter ${name}`)
  }
  if (node.type === 'TestExpression' && !isTest(String(node.test!.value))) {
    throw unsupported(`the test ${String(node.test!.value)}`)
  }
  // The parser reads 1e5 as the number 1 and the name e5, and accepts lists without commas.
  const list = node.type === 'ArrayLiteral' ? (node.value as readonly Node[]) : (node.args ?? [])
  if (list.some((item, index) => isNumber(item) && isExponent(list[index + 1]))) {
    throw unsupported('a number with an exponent')
  }
  for (const child of childrenOf(node)) checkTemplate(child)
}

const isNumber = ({ type }: Node): boolean => type === 'IntegerLiteral' || type === 'FloatLiteral'
const isExponent = (node: Node | undefined): boolean =>
  node !== undefined &&
  (node.type === 'Identifier' ? /^e\d*$/i.test(String(node.value)) : node.left !== undefined && isExponent(node.left))

const filterName = (filter: Node): string =>
  String(filter.type === 'CallExpression' ? filter.callee!.value : filter.value)

function childrenOf(node: Node): Node[] {
  const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null && 'type' in value
  return Object.entries(node).flatMap(([key, value]) => {
    if (key === 'operator') return []
    const parts = value instanceof Map ? [...value].flat() : Array.isArray(value) ? value : [value]
    return parts.filter(isNode)
  })
}

/** Renders a template. @throws TemplateError as Jinja2 does; UNSUPPORTED for results that are not known to be Jinja2's */
export function render(program: Node, values: ReadonlyMap<string, Value>): string {
  return block(program.body!, new Scope(values, new Scope(Object.entries(GLOBALS))))
}

function block(nodes: readonly Node[], scope: Scope): string {
  return nodes.map(node => statement(node, scope)).join('')
}

function statement(node: Node, scope: Scope): string {
  switch (node.type) {
    case 'Comment':
      return ''
    case 'Set':
      assign(node.assignee!, node.value ? evaluate(node.value as Node, scope) : block(node.body!, scope), scope)
      return ''
    case 'If':
      return block(truth(evaluate(node.test!, scope)) ? node.body! : node.alternate!, scope)
    case 'For':
      return loop(node, scope)
    case 'Macro':
      scope.variables.set(String(node.name!.value), macro(node, scope))
      return ''
    case 'FilterExpression':
      // The last filter of an output: its text is not escaped, with or without it.
      return str(evaluate(filterName(node.filter!) === 'safe' ? node.operand! : node, scope))
    default:
      return str(evaluate(node, scope))
  }
}

function assign(target: Node, value: Value, scope: Scope): void {
  if (target.type === 'Identifier') {
    const name = String(target.value)
    if (Object.hasOwn(CONSTANTS, name)) throw new TemplateError(`${name} cannot be set`)
    scope.variables.set(name, value)
    return
  }
  if (target.type === 'TupleLiteral') {
    const targets = target.value as readonly Node[]
    const items = iterate(value)
    if (items.length !== targets.length) throw new TemplateError(`cannot unpack ${items.length} values`)
    for (const [index, each] of targets.entries()) assign(each, items[index]!, scope)
    return
  }
  const object = target.type === 'MemberExpression' ? evaluate(target.object!, scope) : undefined
  if (!(object instanceof Namespace && object.isMutable)) throw new TemplateError('only namespaces can be changed')
  object.attributes.set(String(target.property!.value), value)
}

function loop({ iterable, loopvar, body, defaultBlock }: Node, scope: Scope): string {
  const isFiltered = iterable!.type === 'SelectExpression'
  const inScope = (item: Value): Scope => {
    const inner = new Scope([], scope)
    assign(loopvar!, item, inner)
    return inner
  }
  const all = iterate(evaluate(isFiltered ? iterable!.lhs! : iterable!, scope))
  const items = isFiltered ? all.filter(item => truth(evaluate(iterable!.test!, inScope(item)))) : all
  if (items.length === 0) return block(defaultBlock!, new Scope([], scope))
  return items
    .map((item, index) => {
      // Every iteration has its own variables.
      const inner = inScope(item)
      inner.variables.set('loop', loopObject(items, index))
      return block(body!, inner)
    })
    .join('')
}

function macro({ args: parameters, body, name }: Node, defined: Scope): Callable {
  return (args, named) => {
    const inner = new Scope([], defined)
    const rest = new Map(named)
    for (const special of ['varargs', 'kwargs', 'caller']) {
      if (mentions(body!, special)) throw unsupported(`the macro argument ${special}`)
    }
    if (args.length > parameters!.length) throw new TemplateError(`too many arguments for ${String(name!.value)}`)
    for (const [index, parameter] of parameters!.entries()) {
      const hasDefault = parameter.type === 'KeywordArgumentExpression'
      const key = String(hasDefault ? parameter.key!.value : parameter.value)
      const given = index < args.length ? args[index] : rest.get(key)
      rest.delete(key)
      const absent = (): Value => (hasDefault ? evaluate(parameter.value as Node, inner) : new Undefined(key))
      inner.variables.set(key, given === undefined ? absent() : given)
    }
    if (rest.size > 0) throw new TemplateError(`unknown argument ${[...rest.keys()][0]} of ${String(name!.value)}`)
    return block(body!, inner)
  }
}

function mentions(nodes: readonly Node[], name: string): boolean {
  return nodes.some(node => (node.type === 'Identifier' && node.value === name) || mentions(childrenOf(node), name))
}

function evaluate(node: Node, scope: Scope): Value {
  switch (node.type) {
    case 'StringLiteral':
      return node.value as string
    case 'IntegerLiteral':
      if (!Number.isSafeInteger(node.value)) throw unsupported('an integer of more than 53 bits')
      return BigInt(node.value as number)
    case 'FloatLiteral':
      return node.value as number
    case 'ArrayLiteral':
      return (node.value as readonly Node[]).map(item => evaluate(item, scope))
    case 'TupleLiteral':
      return tuple((node.value as readonly Node[]).map(item => evaluate(item, scope)))
    case 'ObjectLiteral':
      return new Map([...(node.value as ReadonlyMap<Node, Node>)].map(([key, value]) => entry(key, value, scope)))
    case 'Identifier': {
      const name = String(node.value)
      return Object.hasOwn(CONSTANTS, name) ? CONSTANTS[name]! : scope.find(name)
    }
    case 'CallExpression':
      return call(node, scope)
    case 'MemberExpression':
      return member(node, scope)
    case 'UnaryExpression':
      return unary(node.operator!.value, evaluate(node.argument!, scope))
    case 'BinaryExpression':
      return binary(node, scope)
    case 'FilterExpression': {
      const name = filterName(node.filter!)
      if (name === 'safe') throw unsupported('the filter safe inside an expression')
      const { args, named } = argumentsOf(node.filter!.type === 'CallExpression' ? node.filter!.args! : [], scope)
      return applyFilter(name, evaluate(node.operand!, scope), args, named)
    }
    case 'TestExpression':
      return isTrueFor(String(node.test!.value), evaluate(node.operand!, scope)) !== node.negate
    case 'SelectExpression':
      return truth(evaluate(node.test!, scope)) ? evaluate(node.lhs!, scope) : new Undefined('if')
    case 'Ternary':
      return evaluate(truth(evaluate(node.condition!, scope)) ? node.trueExpr! : node.falseExpr!, scope)
    default:
      throw unsupported(`a ${node.type}`)
  }
}

function entry(key: Node, value: Node, scope: Scope): [string, Value] {
  const name = evaluate(key, scope)
  if (typeof name !== 'string') throw unsupported('a dict with keys that are not strings')
  return [name, evaluate(value, scope)]
}

function argumentsOf(nodes: readonly Node[], scope: Scope): { args: Value[]; named: Map<string, Value> } {
  const isNamed = ({ type }: Node): boolean => type === 'KeywordArgumentExpression'
  return {
    args: nodes.filter(node => !isNamed(node)).map(node => evaluate(node, scope)),
    named: new Map(
      nodes.filter(isNamed).map(node => [String(node.key!.value), evaluate(node.value as Node, scope)] as const),
    ),
  }
}

function call(node: Node, scope: Scope): Value {
  const callee = evaluate(node.callee!, scope)
  if (typeof callee !== 'function') throw new TemplateError('the value is not callable')
  const { args, named } = argumentsOf(node.args!, scope)
  return callee(args, named)
}

function member({ object, property, computed }: Node, scope: Scope): Value {
  const value = evaluate(object!, scope)
  if (property!.type === 'SliceExpression') {
    const { start, stop, step } = property!
    return sliceOf(
      value,
      [start, stop, step].map(bound => (bound === undefined ? null : evaluate(bound, scope))),
    )
  }
  const isItem = computed === true || property!.type === 'IntegerLiteral'
  return memberOf(value, isItem ? evaluate(property!, scope) : String(property!.value), isItem)
}

function binary({ operator, left, right }: Node, scope: Scope): Value {
  const name = operator!.value
  const first = evaluate(left!, scope)
  if (name === 'and') return truth(first) ? evaluate(right!, scope) : first
  if (name === 'or') return truth(first) ? first : evaluate(right!, scope)
  return operate(name, first, evaluate(right!, scope))
}
