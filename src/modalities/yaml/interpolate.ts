/**
 * OmegaConf's interpolation: `${a.b.c}` (absolute), `${.a}` (relative to the enclosing mapping) and `${resolver:argument}`,
 * within a string or as the whole value. A whole value keeps its type and may be a mapping.
 */
import { suggestion } from '../../formats/message-words.js'
import { MAX_NODES } from '../../pipelines/yaml-document.js'
import { type ConfigPath, configError, pathText } from './config-error.js'
import type { MapNode, Place, ScalarNode, TreeNode } from './yaml-tree.js'

export type ResolvedValue = string | number | boolean | null | { readonly [key: string]: ResolvedValue }

/** Returns the value of `${name:argument}`; undefined for an unknown argument. */
export type Resolver = (argument: string) => ResolvedValue | undefined

export type Resolvers = Readonly<Record<string, Resolver>>

/**
 * Returns the tree with all interpolations resolved.
 * @param onReference called with the top-level name of each path
 * @throws CONFIG_INVALID for unknown paths and resolvers, and for circular interpolations
 */
export function interpolate(
  root: MapNode,
  file: string,
  resolvers: Resolvers,
  onReference: (name: string) => void = () => {},
): MapNode {
  return new Interpolator(root, file, resolvers, onReference).resolve(root, []) as MapNode
}

class Interpolator {
  readonly #root: MapNode
  readonly #file: string
  readonly #resolvers: Resolvers
  readonly #onReference: (name: string) => void
  readonly #resolved = new Map<TreeNode, TreeNode>()
  readonly #inProgress = new Set<TreeNode>()
  /** Number of values below each resolved node, to bound the growth by repeated interpolation of mappings. */
  readonly #sizes = new Map<TreeNode, number>()

  constructor(root: MapNode, file: string, resolvers: Resolvers, onReference: (name: string) => void) {
    this.#root = root
    this.#file = file
    this.#resolvers = resolvers
    this.#onReference = onReference
  }

  resolve(node: TreeNode, path: ConfigPath): TreeNode {
    const known = this.#resolved.get(node)
    if (known !== undefined) return known
    if (this.#inProgress.has(node)) throw this.#error('circular interpolation', path, node.place)
    this.#inProgress.add(node)
    const resolved = this.#resolveNew(node, path)
    this.#inProgress.delete(node)
    this.#resolved.set(node, resolved)
    this.#checkSize(resolved, path)
    return resolved
  }

  #resolveNew(node: TreeNode, path: ConfigPath): TreeNode {
    if (node.kind === 'list') {
      return { ...node, items: node.items.map((item, at) => this.resolve(item, [...path, at])) }
    }
    if (node.kind === 'map') {
      const entries = new Map<string, TreeNode>()
      for (const [key, value] of node.entries) entries.set(key, this.resolve(value, [...path, key]))
      return { ...node, entries }
    }
    if (typeof node.value !== 'string' || !node.value.includes('${')) return node
    return this.#text(node.value, path, node.place)
  }

  #checkSize(node: TreeNode, path: ConfigPath): void {
    const children = node.kind === 'map' ? [...node.entries.values()] : node.kind === 'list' ? node.items : []
    const size = children.reduce((sum, child) => sum + (this.#sizes.get(child) ?? 1), 1)
    if (size > MAX_NODES) throw this.#error(`interpolation expands to more than ${MAX_NODES} values`, path, node.place)
    this.#sizes.set(node, size)
  }

  /** Resolves a string with at least one `${`. */
  #text(text: string, path: ConfigPath, place: Place): TreeNode {
    const parts = this.#parts(text, path, place)
    const [only] = parts
    if (parts.length === 1 && typeof only === 'object') return placed(only, place)
    const value = parts.map(part => (typeof part === 'string' ? part : this.#asText(part, path, place))).join('')
    return { kind: 'scalar', type: 'text', value, place }
  }

  /** Splits a string into literal and interpolated parts. `\${` is literal. */
  #parts(text: string, path: ConfigPath, place: Place): (string | TreeNode)[] {
    const parts: (string | TreeNode)[] = []
    let at = 0
    for (;;) {
      const open = text.indexOf('${', at)
      const before = /\\*$/.exec(text.slice(at, Math.max(open, at)))?.[0] ?? ''
      if (open < 0) break
      const literal = text.slice(at, open - before.length) + '\\'.repeat(before.length >> 1)
      if (before.length % 2 === 1) {
        parts.push(`${literal}\${`)
        at = open + 2
        continue
      }
      if (literal !== '') parts.push(literal)
      const close = this.#closing(text, open, path, place)
      parts.push(this.#reference(text.slice(open + 2, close), path, place))
      at = close + 1
    }
    if (at < text.length) parts.push(text.slice(at))
    return parts
  }

  /** Index of the closing brace of the `${` at `open`. */
  #closing(text: string, open: number, path: ConfigPath, place: Place): number {
    let depth = 0
    for (let at = open; at < text.length; at++) {
      if (text[at] === '{') depth++
      else if (text[at] === '}' && --depth === 0) return at
    }
    throw this.#error(`interpolation without a closing brace: ${text.slice(open)}`, path, place)
  }

  #reference(written: string, path: ConfigPath, place: Place): TreeNode {
    const nested = written.includes('${') ? this.#text(written, path, place) : undefined
    const body = (nested === undefined ? written : this.#asText(nested, path, place)).trim()
    const call = /^([A-Za-z_][\w.]*)\s*:(.*)$/s.exec(body)
    if (call !== null) return this.#call(call[1]!, unquoted(call[2]!.trim()), path, place)
    const ups = /^\.*/.exec(body)![0].length
    const start = ups === 0 ? [] : path.slice(0, Math.max(0, path.length - ups))
    const steps = [...body.slice(ups).matchAll(/[^.[\]]+/g)].map(([step]) => step)
    return this.#follow([...start, ...steps], body, path, place)
  }

  #call(name: string, argument: string, path: ConfigPath, place: Place): TreeNode {
    const resolver = Object.hasOwn(this.#resolvers, name) ? this.#resolvers[name] : undefined
    if (resolver === undefined) {
      throw this.#error(`unknown resolver ${name}${suggestion(name, Object.keys(this.#resolvers))}`, path, place)
    }
    const value = resolver(argument)
    if (value === undefined) throw this.#error(`\${${name}:${argument}} has no value here`, path, place)
    return nodeOf(value, place)
  }

  /** The node at an absolute path; interpolations in the path are followed. */
  #follow(target: ConfigPath, body: string, path: ConfigPath, place: Place): TreeNode {
    let node: TreeNode = this.#root
    if (target.length > 0) this.#onReference(String(target[0]))
    for (const [depth, step] of target.entries()) {
      if (node.kind === 'scalar') node = this.resolve(node, target.slice(0, depth))
      const next: TreeNode | undefined =
        node.kind === 'map'
          ? node.entries.get(String(step))
          : node.kind === 'list'
            ? node.items[Number(step)]
            : undefined
      if (next === undefined) {
        const known = node.kind === 'map' ? node.entries.keys() : []
        const missing = pathText(target.slice(0, depth + 1))
        throw this.#error(`\${${body}}: no key ${missing}${suggestion(String(step), known)}`, path, place)
      }
      node = next
    }
    return this.resolve(node, target)
  }

  #asText(node: TreeNode, path: ConfigPath, place: Place): string {
    if (node.kind === 'scalar') return pythonText(node)
    throw this.#error('a mapping or list cannot be interpolated into a string', path, place)
  }

  #error(message: string, path: ConfigPath, place: Place) {
    return configError(message, this.#file, path, place)
  }
}

/** Moves a resolved node to the place of its interpolation. */
function placed(node: TreeNode, place: Place): TreeNode {
  return { ...node, place }
}

function unquoted(argument: string): string {
  return /^(['"])(.*)\1$/s.exec(argument)?.[2] ?? argument
}

function nodeOf(value: ResolvedValue, place: Place): TreeNode {
  if (value !== null && typeof value === 'object') {
    const entries = new Map(Object.entries(value).map(([key, inner]) => [key, nodeOf(inner, place)]))
    return { kind: 'map', entries, keyPlaces: new Map(), place }
  }
  return { kind: 'scalar', type: typeOf(value), value, place }
}

function typeOf(value: string | number | boolean | null): ScalarNode['type'] {
  if (value === null) return 'null'
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'float'
  return typeof value === 'string' ? 'text' : 'boolean'
}

/** Formats a scalar like Python's `str()`. */
export function pythonText({ type, value }: ScalarNode): string {
  if (type === 'null') return 'None'
  if (type === 'boolean') return value ? 'True' : 'False'
  if (type === 'float') return pythonFloat(value as number)
  return String(value)
}

/** Formats a float like Python's `repr()`. */
export function pythonFloat(value: number): string {
  if (Number.isNaN(value)) return 'nan'
  if (!Number.isFinite(value)) return value > 0 ? 'inf' : '-inf'
  const magnitude = Math.abs(value)
  if (magnitude !== 0 && (magnitude < 1e-4 || magnitude >= 1e16)) {
    const [mantissa, exponent = ''] = value.toExponential().split('e')
    return `${mantissa}e${exponent[0]}${exponent.slice(1).padStart(2, '0')}`
  }
  if (Number.isInteger(value)) return `${Object.is(value, -0) ? '-' : ''}${value}.0`
  return String(value)
}
