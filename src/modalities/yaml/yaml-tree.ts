/**
 * Parses YAML into a tree of nodes with places. Scalars follow OmegaConf: YAML 1.1 booleans, integers and nulls, an extended
 * syntax of floats (`1e-5`), no dates. Integers and floats are distinct, because options distinguish 5 from 5.0.
 * In addition to the limits of `yaml-document.ts`, the expansion of aliases is limited and tags are rejected.
 */
import { isAlias, isMap, isScalar, isSeq, type Node, Scalar, type YAMLMap } from 'yaml'
import { PenstockError } from '../../errors.js'
import { MAX_DEPTH, MAX_NODES, parseYamlDocument, type YamlDocument } from '../../pipelines/yaml-document.js'

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
  /** Place of each key, for messages about keys. */
  readonly keyPlaces: ReadonlyMap<string, Place>
  readonly place: Place
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: readonly TreeNode[]
  readonly place: Place
}

export type TreeNode = ScalarNode | MapNode | ListNode

type PlainScalar = (text: string) => Pick<ScalarNode, 'type' | 'value'>

/**
 * @param plain type and value of plain scalars
 * @throws CONFIG_INVALID with file, line and column
 */
export function parseYamlTree(text: string, file: string, plain: PlainScalar = plainScalar): MapNode {
  const root = new Reader(parseYamlDocument(text, file, 'failsafe'), file, plain).read()
  if (root.kind === 'map') return root
  throw new PenstockError('CONFIG_INVALID', 'expected a mapping at the top level', { file, ...root.place })
}

class Reader {
  readonly #source: YamlDocument
  readonly #file: string
  readonly #plain: PlainScalar
  #nodes = 0

  constructor(source: YamlDocument, file: string, plain: PlainScalar) {
    this.#source = source
    this.#file = file
    this.#plain = plain
  }

  read(): TreeNode {
    return this.#node(this.#source.document.contents, 0)
  }

  #node(node: unknown, depth: number): TreeNode {
    if (++this.#nodes > MAX_NODES)
      this.#refuse(`more than ${MAX_NODES} values: check for aliases that multiply them`, node)
    if (depth > MAX_DEPTH) this.#refuse(`nested deeper than ${MAX_DEPTH} levels`, node)
    if (isAlias(node)) {
      const target = node.resolve(this.#source.document)
      if (target === undefined) this.#refuse(`alias *${node.source} has no anchor`, node)
      return this.#node(target, depth + 1)
    }
    if (node !== null && (node as Node).tag?.startsWith('!')) this.#refuse('YAML tags are not supported', node)
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
        entries.set(key, value)
        keyPlaces.set(key, this.#place(pair.key))
      }
    }
    for (const from of merged) {
      if (from.kind !== 'map') this.#refuse('<< expects a mapping or a list of mappings', node)
      for (const [key, value] of from.entries) {
        if (entries.has(key)) continue
        entries.set(key, value)
        keyPlaces.set(key, from.keyPlaces.get(key) ?? from.place)
      }
    }
    return { kind: 'map', entries, keyPlaces, place: this.#place(node) }
  }

  #key(node: unknown): string {
    if (!isScalar(node) || typeof node.value !== 'string') this.#refuse('expected a plain string as the key', node)
    return node.value
  }

  #scalar(node: unknown): ScalarNode {
    const place = this.#place(node)
    if (!isScalar(node) || typeof node.value !== 'string') return { kind: 'scalar', type: 'null', value: null, place }
    if (node.type !== Scalar.PLAIN) return { kind: 'scalar', type: 'text', value: node.value, place }
    return { kind: 'scalar', ...this.#plain(node.value), place }
  }

  #place(node: unknown): Place {
    return this.#source.placeOf(node)
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

/** Type and value of a plain (unquoted) scalar in OmegaConf. */
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

const PYYAML_FLOAT =
  /^(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$/
const PYYAML_OTHERS =
  /^(?:[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*|<<|=|\d{4}-\d\d-\d\d|\d{4}-\d\d?-\d\d?(?:[Tt]|[ \t]+)\d\d?:\d\d:\d\d(?:\.\d*)?(?:[ \t]*(?:Z|[-+]\d\d?(?::\d\d)?))?)$/

/** The same for PyYAML, which reads `1e-5` as a string; for files that Modalities reads without OmegaConf. */
export function pyYamlScalar(text: string): Pick<ScalarNode, 'type' | 'value'> {
  const scalar = plainScalar(text)
  return scalar.type === 'float' && !PYYAML_FLOAT.test(text) ? { type: 'text', value: text } : scalar
}

/** Whether PyYAML reads the unquoted text as a string, not as a number or a date. */
export function isPyYamlText(text: string): boolean {
  return pyYamlScalar(text).type === 'text' && !PYYAML_OTHERS.test(text)
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
