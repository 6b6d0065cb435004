/** Reads the text of a configuration: parses it, resolves interpolations, migrates deprecated keys, prepares its components. */
import type * as z from 'zod'
import { type Builder, makeBuilder } from '../components/build-components.js'
import { checkOptions } from '../components/check-options.js'
import { modalitiesComponents } from '../components/components.js'
import { Component, type ComputeTools } from '../components/option-types.js'
import { type ConfigPath, configError, pathText } from '../yaml/config-error.js'
import { migrateDeprecatedKeys, type Notice } from '../yaml/deprecated-keys.js'
import { interpolate } from '../yaml/interpolate.js'
import { pythonYaml } from '../yaml/python-yaml.js'
import { modalitiesResolvers, type ResolverContext } from '../yaml/resolvers.js'
import { type MapNode, type Place, parseYamlTree, type TreeNode } from '../yaml/yaml-tree.js'

export interface ReadOptions extends ResolverContext, ComputeTools {}

export interface ReadConfig {
  readonly file: string
  /** The tree with interpolations resolved and deprecated keys migrated. */
  readonly tree: MapNode
  readonly builder: Builder
  /** Top-level names that an interpolation refers to. */
  readonly referred: ReadonlySet<string>
  readonly notices: Notice[]
  /** Keys that occur in `${settings.KEY}`; they are allowed as variables even if they are not settings. */
  readonly variables: ReadonlySet<string>
}

/** @throws CONFIG_INVALID */
export function readConfig(text: string, options: ReadOptions): ReadConfig {
  const file = options.configFilePath
  const referred = new Set<string>()
  const resolved = interpolate(parseYamlTree(text, file), file, modalitiesResolvers(options), name =>
    referred.add(name),
  )
  const { tree, notices } = migrateDeprecatedKeys(resolved, { experimentsRootPath: options.experimentsRootPath })
  const variables = new Set([...text.matchAll(/\$\{settings\.(\w+)/g)].map(([, key]) => key!))
  const builder = makeBuilder(tree, file, modalitiesComponents, options)
  return { file, tree, referred, notices, variables, builder }
}

/**
 * The configuration as YAML with all interpolations resolved, which a run writes next to its copy of the file.
 * @param settings replacements for values in `settings`
 * @throws CONFIG_INVALID
 */
export function resolvedText(
  text: string,
  options: ReadOptions,
  settings: Readonly<Record<string, string>> = {},
): string {
  const file = options.configFilePath
  const tree = interpolate(parseYamlTree(text, file), file, modalitiesResolvers(options))
  const found = tree.entries.get('settings')
  if (found?.kind !== 'map') return pythonYaml(tree, { sortKeys: true })
  const changed = Object.entries(settings).map(
    ([key, value]) => [key, { kind: 'scalar', type: 'text', value, place: found.place }] as const,
  )
  const replaced = { ...found, entries: new Map<string, TreeNode>([...found.entries, ...changed]) }
  return pythonYaml({ ...tree, entries: new Map([...tree.entries, ['settings', replaced]]) }, { sortKeys: true })
}

/** A top-level component of one of the kinds. @throws CONFIG_INVALID if it is missing or of a different kind */
export function topComponent(
  { builder, file, tree }: ReadConfig,
  name: string,
  ...kinds: readonly string[]
): Component {
  const value = builder.top(name)
  if (value instanceof Component && kinds.includes(value.componentKey)) return value
  const place = tree.entries.get(name)?.place ?? tree.place
  const problem = value === undefined ? `${name} is missing` : `${name} has the wrong kind`
  throw configError(`${problem}: expected a component ${kinds.join(' or ')}`, file, [name], place)
}

/** Validates `settings` against a schema. @throws CONFIG_INVALID */
export function readSettingsAs<Schema extends z.ZodObject>(config: ReadConfig, schema: Schema): z.output<Schema> {
  const node = settingsNode(config)
  const found = config.builder.top('settings') as Record<string, unknown>
  const isVariable = (key: string) => config.variables.has(key) && !Object.hasOwn(schema.shape, key)
  const raw = Object.fromEntries(Object.entries(found).filter(([key]) => !isVariable(key)))
  return checkOptions(raw, { options: schema }, { name: 'settings', file: config.file, path: ['settings'], node })
}

/** @throws CONFIG_INVALID if `settings` is missing */
export function settingsNode({ file, tree }: ReadConfig): MapNode {
  const node = tree.entries.get('settings')
  if (node?.kind === 'map') return node
  throw configError('settings is missing: expected a top-level mapping', file, ['settings'], (node ?? tree).place)
}

/** Notices for unused top-level names, which may be misspelt. */
export function unusedNotices({ tree, builder, referred }: ReadConfig): Notice[] {
  return [...tree.entries.keys()]
    .filter(name => !builder.used.has(name) && !referred.has(name))
    .map(name => ({
      message: `${name} is not used`,
      path: [name] as ConfigPath,
      place: keyPlace(tree, name),
    }))
}

function keyPlace(tree: MapNode, name: string): Place {
  return tree.keyPlaces.get(name) ?? tree.place
}

/** A notice as one line: `file:line:column: message (at path)`. */
export function noticeLine(file: string, { message, path, place }: Notice): string {
  const where = path.length === 0 ? '' : ` (at ${pathText(path)})`
  return `${file}:${place.line}:${place.column}: ${message}${where}`
}
