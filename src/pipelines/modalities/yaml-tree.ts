/**
 * YAML text -> a tree of nodes that know their place, with the scalars of OmegaConf: YAML 1.1 booleans, whole numbers and nulls,
 * floats in its wider spelling (`1e-5`), no dates. Whole numbers and floats stay apart, because options tell 5 from 5.0.
 * The text is not trusted: its size, depth and the growth of aliases are bounded, tags and repeated keys are refused.
 */
import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  parseDocument,
  Scalar,
  stringify,
  type YAMLMap,
} from 'yaml'
import { PenstockError, toPenstockError } from '../../errors.js'

/** Line and column, from 1. */
export interface Place {
  readonly line: number
  readonly column: number
}

export type ScalarType = 'text' | 'integer' | 'float' | 'boolean' | 'null'

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly type: ScalarType
  readonly value: string | number | boolean | null
  readonly place: Place
}

export interface MapNode {
  readonly kind: 'map'
  readonly entries: ReadonlyMap<string, TreeNode>
  /** Where each key stands, for messages about the key itself. */
  readonly keyPlaces: ReadonlyMap<string, Place>
  readonly place: Place
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: readonly TreeNode[]
  readonly place: Place
}

export type TreeNode = ScalarNode | MapNode | ListNode

const MAX_CHARACTERS = 1024 * 1024
const MAX_DEPTH = 64
/** Nodes after aliases are followed: a bomb of nine lines would have a billion. */
export const MAX_NODES = 20_000

/** @throws CONFIG_INVALID with file, line and column */
export function parseYamlTree(text: string, file: string): MapNode {
  if (text.length > MAX_CHARACTERS) {
    throw new PenstockError(
      'CONFIG_INVALID',
      `a configuration of ${text.length} characters; at most ${MAX_CHARACTERS}`,
      { file },
    )
  }
  refuseBulk(text, file)
  const lines = new LineCounter()
  const document = parsed(text, file, lines)
  const root = new Reader(document, lines, file).read()
  if (root.kind === 'map') return root
  throw new PenstockError('CONFIG_INVALID', 'expected a mapping of keys at the top', { file, ...root.place })
}

function parsed(text: string, file: string, lineCounter: LineCounter): Document.Parsed {
  let document: Document.Parsed
  try {
    // Repeated keys are found below: the package compares every key of a mapping with every other, which takes minutes.
    document = parseDocument(text, { schema: 'failsafe', lineCounter, uniqueKeys: false, prettyErrors: false })
  } catch (error) {
    throw toPenstockError(error, 'CONFIG_INVALID', { file })
  }
  const problem = document.errors[0] ?? document.warnings[0]
  if (problem !== undefined) {
    const { line, col } = lineCounter.linePos(problem.pos[0])
    throw new PenstockError('CONFIG_INVALID', problem.message, { file, line, column: col })
  }
  return document
}

/** What would keep the parser busy for seconds, or exhaust its stack, shows before it is parsed. */
function refuseBulk(text: string, file: string): void {
  let depth = 0
  let separators = 0
  for (const char of text) {
    if (char === '[' || char === '{') depth++
    else if (char === ']' || char === '}') depth = Math.max(0, depth - 1)
    else if (char === ',' || char === ':' || char === '\n') separators++
    if (depth > MAX_DEPTH * 4) throw new PenstockError('CONFIG_INVALID', 'brackets nested too deeply', { file })
    if (separators > 2 * MAX_NODES) throw new PenstockError('CONFIG_INVALID', `more than ${MAX_NODES} values`, { file })
  }
  if (/^ *(?:[-?] ){64}/m.test(text)) throw new PenstockError('CONFIG_INVALID', 'lists nested too deeply', { file })
}

/** A tree as YAML text. Whole floats keep their fraction, so that reading it again gives the same types. */
export function yamlText(root: TreeNode): string {
  return stringify(plainValue(root), { schema: 'yaml-1.1', aliasDuplicateObjects: false, lineWidth: 0 })
}

function plainValue(node: TreeNode): unknown {
  if (node.kind === 'list') return node.items.map(plainValue)
  if (node.kind === 'map') return new Map([...node.entries].map(([key, value]) => [key, plainValue(value)]))
  const scalar = new Scalar(node.value)
  if (node.type === 'float') scalar.minFractionDigits = 1
  return scalar
}

class Reader {
  readonly #document: Document.Parsed
  readonly #lines: LineCounter
  readonly #file: string
  #nodes = 0

  constructor(document: Document.Parsed, lines: LineCounter, file: string) {
    this.#document = document
    this.#lines = lines
    this.#file = file
  }

  read(): TreeNode {
    return this.#node(this.#document.contents, 0)
  }

  #node(node: unknown, depth: number): TreeNode {
    if (++this.#nodes > MAX_NODES) this.#refuse('too many values: an alias that multiplies them?', node)
    if (depth > MAX_DEPTH) this.#refuse('nested too deeply', node)
    if (isAlias(node)) {
      const target = node.resolve(this.#document)
      if (target === undefined) this.#refuse(`an alias *${node.source} without its anchor`, node)
      return this.#node(target, depth + 1)
    }
    if (node !== null && (node as Node).tag?.startsWith('!')) this.#refuse('a tag; tags are not supported', node)
    if (isMap(node)) return this.#map(node, depth)
    if (isSeq(node)) {
      return { kind: 'list', items: node.items.map(item => this.#node(item, depth + 1)), place: this.#place(node) }
    }
    return this.#scalar(node)
  }

  #map(node: YAMLMap, depth: number): MapNode {
    const entries = new Map<string, TreeNode>()
    const keyPlaces = new Map<string, Place>()
    const merged: TreeNode[] = []
    for (const pair of node.items) {
      const key = this.#key(pair.key)
      const value = this.#node(pair.value, depth + 1)
      if (key === '<<') merged.push(...(value.kind === 'list' ? value.items : [value]))
      else {
        if (entries.has(key)) this.#refuse(`the key ${key} a second time`, pair.key)
        entries.set(key, value)
        keyPlaces.set(key, this.#place(pair.key))
      }
    }
    for (const from of merged) {
      if (from.kind !== 'map') this.#refuse('<< takes a mapping or a list of mappings', node)
      for (const [key, value] of from.entries) {
        if (entries.has(key)) continue
        entries.set(key, value)
        keyPlaces.set(key, from.keyPlaces.get(key) ?? from.place)
      }
    }
    return { kind: 'map', entries, keyPlaces, place: this.#place(node) }
  }

  #key(node: unknown): string {
    if (!isScalar(node) || typeof node.value !== 'string') this.#refuse('a key that is no plain text', node)
    return node.value
  }

  #scalar(node: unknown): ScalarNode {
    const place = this.#place(node)
    if (!isScalar(node) || typeof node.value !== 'string') return { kind: 'scalar', type: 'null', value: null, place }
    if (node.type !== Scalar.PLAIN) return { kind: 'scalar', type: 'text', value: node.value, place }
    return { kind: 'scalar', ...plainScalar(node.value), place }
  }

  #place(node: unknown): Place {
    const range = (node as Node | null)?.range
    const { line, col } = this.#lines.linePos(range?.[0] ?? 0)
    return { line: Math.max(1, line), column: Math.max(1, col) }
  }

  #refuse(message: string, node: unknown): never {
    throw new PenstockError('CONFIG_INVALID', message, { file: this.#file, ...this.#place(node) })
  }
}

const BOOLEANS = new Map(
  ['yes', 'true', 'on', 'no', 'false', 'off'].flatMap((word, index) =>
    [word, word.toUpperCase(), word[0]!.toUpperCase() + word.slice(1)].map(spelling => [spelling, index < 3] as const),
  ),
)

const DECIMAL = /^[-+]?(?:0|[1-9][0-9_]*)$/
const OTHER_RADIX = /^([-+]?)0(?:(b)([01_]+)|(x)([0-9a-fA-F_]+)|()([0-7_]+))$/
const BASE_60 = /^[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+$/
const FLOAT =
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+|\.[0-9_]+(?:[eE][-+][0-9]+)?)$/
const INFINITY = /^([-+]?)\.(?:inf|Inf|INF)$/
const NAN = /^\.(?:nan|NaN|NAN)$/

/** The type and value that OmegaConf gives a plain (unquoted) scalar. */
export function plainScalar(text: string): Pick<ScalarNode, 'type' | 'value'> {
  const boolean = BOOLEANS.get(text)
  if (boolean !== undefined) return { type: 'boolean', value: boolean }
  if (/^(?:~|null|Null|NULL|)$/.test(text)) return { type: 'null', value: null }
  const digits = text.replaceAll('_', '')
  if (DECIMAL.test(text)) return { type: 'integer', value: Number(digits) }
  const radix = OTHER_RADIX.exec(text)
  if (radix !== null) return { type: 'integer', value: radixValue(radix) }
  if (BASE_60.test(text)) return { type: 'integer', value: base60Value(digits) }
  if (FLOAT.test(text)) return { type: 'float', value: Number(digits) }
  const infinity = INFINITY.exec(text)
  if (infinity !== null) return { type: 'float', value: infinity[1] === '-' ? -Infinity : Infinity }
  if (NAN.test(text)) return { type: 'float', value: Number.NaN }
  return { type: 'text', value: text }
}

function radixValue([, sign, binary, binaryDigits, hexadecimal, hexDigits, , octalDigits]: RegExpExecArray): number {
  const digits = (binaryDigits ?? hexDigits ?? octalDigits ?? '').replaceAll('_', '')
  const magnitude = Number.parseInt(digits, binary ? 2 : hexadecimal ? 16 : 8)
  return sign === '-' ? -magnitude : magnitude
}

/** `1:30` is 90, as in YAML 1.1. */
function base60Value(text: string): number {
  const magnitude = text
    .replace(/^[-+]/, '')
    .split(':')
    .reduce((sum, part) => sum * 60 + Number(part), 0)
  return text.startsWith('-') ? -magnitude : magnitude
}
