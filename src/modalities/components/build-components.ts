/**
 * Builds validated components from a resolved tree. As in Modalities, only the requested names and their dependencies are
 * built, innermost first. A top-level component is built once; all references to it share that object.
 */
import { PenstockError, toPenstockError } from '../../errors.js'
import { suggestion } from '../../formats/message-words.js'
import { type ConfigPath, configError, pathText } from '../yaml/config-error.js'
import type { MapNode, ScalarNode, TreeNode } from '../yaml/yaml-tree.js'
import { checkOptions } from './check-options.js'
import { unsupportedKinds } from './components.js'
import { Component, type ComponentRegistry, type ComponentSpec, type ComputeTools, WholeFloat } from './option-types.js'

export interface Unsupported {
  readonly what: string
  readonly why: string
  readonly path: ConfigPath
}

export interface Builder {
  /** The top-level value of this name: a component, a number or plain data; undefined if the file has none. */
  top(name: string): unknown
  /** Top-level names that were requested or referenced. */
  readonly used: ReadonlySet<string>
  /** The built components that Modalities has and Penstock does not support. */
  readonly unsupported: readonly Unsupported[]
}

export function makeBuilder(root: MapNode, file: string, registry: ComponentRegistry, tools: ComputeTools): Builder {
  const built = new Map<string, unknown>()
  const inProgress: string[] = []
  const unsupported: Unsupported[] = []

  function top(name: string): unknown {
    const node = root.entries.get(name)
    if (node === undefined) return undefined
    if (built.has(name)) return built.get(name)
    if (inProgress.includes(name)) {
      throw fail(`circular dependency between components: ${[...inProgress, name].join(' -> ')}`, [name], node)
    }
    inProgress.push(name)
    const value = build(node, [name])
    inProgress.pop()
    built.set(name, value)
    return value
  }

  function build(node: TreeNode, path: ConfigPath): unknown {
    if (node.kind === 'scalar') return scalarValue(node)
    if (node.kind === 'list') return node.items.map((item, at) => build(item, [...path, at]))
    if (node.entries.has('component_key')) return component(node, path)
    if (isReference(node)) return referenced(node, path)
    return Object.fromEntries([...node.entries].map(([key, value]) => [key, build(value, [...path, key])]))
  }

  function referenced(node: MapNode, path: ConfigPath): unknown {
    const name = textOf(node, 'instance_key', path)
    if (root.entries.has(name)) return top(name)
    throw fail(
      `no top-level component ${name}${suggestion(name, root.entries.keys())}`,
      [...path, 'instance_key'],
      node,
    )
  }

  function component(node: MapNode, path: ConfigPath): unknown {
    const kind = textOf(node, 'component_key', path)
    const variant = textOf(node, 'variant_key', path)
    const spec = specOf(kind, variant, node, path)
    const config = node.entries.get('config')
    if (spec === undefined || config?.kind !== 'map') {
      if (spec === undefined) return new Component(kind, variant, {}, path, node.place)
      throw fail(`${kind}.${variant} needs a mapping under config`, path, node)
    }
    const configPath = [...path, 'config']
    const raw = build(config, configPath) as Record<string, unknown>
    const options = checkOptions(raw, spec, { name: `${kind}.${variant}`, file, path: configPath, node: config })
    if (spec.unsupported !== undefined) {
      unsupported.push({ what: `${kind}.${variant}`, why: spec.unsupported, path })
    }
    if (spec.compute === undefined) return new Component(kind, variant, options, path, node.place)
    return computed(spec.compute, options, path, node)
  }

  /** The spec of a variant; undefined for a kind that Modalities has and Penstock does not support. */
  function specOf(kind: string, variant: string, node: MapNode, path: ConfigPath): ComponentSpec | undefined {
    const variants = Object.hasOwn(registry, kind) ? registry[kind]! : undefined
    if (variants !== undefined && Object.hasOwn(variants, variant)) return variants[variant]!
    if (Object.hasOwn(unsupportedKinds, kind)) {
      unsupported.push({ what: `${kind}.${variant}`, why: unsupportedKinds[kind]!, path })
      return undefined
    }
    const [key, what, word, known] =
      variants === undefined
        ? (['component_key', `component ${kind}`, kind, Object.keys(registry)] as const)
        : (['variant_key', `variant ${variant} of ${kind}`, variant, Object.keys(variants)] as const)
    const list = known.length > 12 ? '' : `; known: ${known.join(', ')}`
    throw fail(`unknown ${what}${suggestion(word, known)}${list}`, [...path, key], node.entries.get(key) ?? node)
  }

  function computed(
    compute: NonNullable<ComponentSpec['compute']>,
    options: Readonly<Record<string, unknown>>,
    path: ConfigPath,
    node: MapNode,
  ): number {
    try {
      return compute(options, tools)
    } catch (error) {
      const { code, message } = toPenstockError(error, 'CONFIG_INVALID')
      throw new PenstockError(code, message, { file, ...node.place, path: pathText(path) }, error)
    }
  }

  function textOf(node: MapNode, key: string, path: ConfigPath): string {
    const value = node.entries.get(key)
    if (value?.kind === 'scalar' && typeof value.value === 'string') return value.value
    throw fail(`expected a string under ${key}`, path, value ?? node)
  }

  function fail(message: string, path: ConfigPath, node: TreeNode): PenstockError {
    return configError(message, file, path, node.place)
  }

  return {
    top,
    get used() {
      return new Set(built.keys())
    },
    unsupported,
  }
}

function isReference(node: MapNode): boolean {
  return node.entries.size === 2 && node.entries.has('instance_key') && node.entries.has('pass_type')
}

function scalarValue({ type, value }: ScalarNode): unknown {
  return type === 'float' && Number.isInteger(value) ? new WholeFloat(value as number) : value
}
