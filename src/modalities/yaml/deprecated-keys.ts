/**
 * Migrates configurations for older versions of Modalities: renamed keys, and keys that were added later. Every change
 * is reported as a notice.
 */
import type { ConfigPath } from './config-error.js'
import { pathText } from './config-error.js'
import type { MapNode, Place, ScalarNode, TreeNode } from './yaml-tree.js'

export interface Notice {
  readonly message: string
  readonly path: ConfigPath
  readonly place: Place
}

export interface MigrationOptions {
  /** Default of `settings.paths.experiments_root_path`. */
  readonly experimentsRootPath?: string | undefined
}

const RENAMED_VARIANTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  model: { fsdp_wrapped: 'fsdp1_wrapped', checkpointed: 'fsdp1_checkpointed' },
  optimizer: { checkpointed: 'fsdp1_checkpointed' },
  gradient_clipper: { fsdp: 'fsdp1', fsdp_logging_only: 'fsdp1_logging_only' },
  checkpoint_saving_execution: { fsdp: 'fsdp1' },
  checkpoint_loading: { fsdp: 'fsdp1' },
}

const RENAMED_NORMS = {
  attention_norm: 'attention_norm_config',
  ffn_norm: 'ffn_norm_config',
  lm_head_norm: 'lm_head_norm_config',
}

/** The tree with current keys, and a notice for each change. */
export function migrateDeprecatedKeys(root: MapNode, options: MigrationOptions): { tree: MapNode; notices: Notice[] } {
  const notices: Notice[] = []
  const note = (path: ConfigPath, place: Place, message: string) => notices.push({ path, place, message })
  let tree = migrate(root, [], note) as MapNode
  tree = withAppState(tree, note)
  tree = withExperimentsRoot(tree, options.experimentsRootPath, note)
  return { tree, notices }
}

type Note = (path: ConfigPath, place: Place, message: string) => void

/** Migrates components at any depth. */
function migrate(node: TreeNode, path: ConfigPath, note: Note): TreeNode {
  if (node.kind === 'scalar') return node
  if (node.kind === 'list') return { ...node, items: node.items.map((item, at) => migrate(item, [...path, at], note)) }
  let migrated: MapNode = {
    ...node,
    entries: new Map([...node.entries].map(([key, value]) => [key, migrate(value, [...path, key], note)])),
  }
  const kind = textAt(migrated, 'component_key')
  const variant = textAt(migrated, 'variant_key')
  if (kind === undefined || variant === undefined) return migrated
  const current = RENAMED_VARIANTS[kind]?.[variant]
  if (current !== undefined) {
    note([...path, 'variant_key'], placeOf(migrated, 'variant_key'), `${kind}.${variant} is read as ${kind}.${current}`)
    migrated = withEntry(migrated, 'variant_key', current)
  }
  return kind === 'model' && variant === 'gpt2' ? migrateGpt2(migrated, path, note) : migrated
}

function migrateGpt2(component: MapNode, path: ConfigPath, note: Note): MapNode {
  const config = component.entries.get('config')
  if (config?.kind !== 'map') return component
  let migrated = config
  for (const [old, current] of Object.entries(RENAMED_NORMS)) {
    const norm = migrated.entries.get(old)
    if (norm?.kind !== 'map' || migrated.entries.has(current)) continue
    note([...path, 'config', old], placeOf(migrated, old), `${old} is read as ${current}`)
    migrated = withoutEntry(withEntry(migrated, current, normConfig(norm)), old)
  }
  if (!migrated.entries.has('use_weight_tying')) {
    const message = 'use_weight_tying is missing: using true, the behaviour before the option existed'
    note([...path, 'config'], migrated.place, message)
    migrated = withEntry(migrated, 'use_weight_tying', true)
  }
  return withEntry(component, 'config', migrated)
}

/** Converts a norm component to the pair of norm_type and config. */
function normConfig(norm: MapNode): MapNode {
  const type = norm.entries.get('variant_key')
  const config = norm.entries.get('config')
  if (type === undefined || config === undefined) return norm
  return {
    ...norm,
    entries: new Map([
      ['norm_type', type],
      ['config', config],
    ]),
  }
}

/** Adds `app_state` to older configurations, which have top-level components for optimizer and scheduler only. */
function withAppState(root: MapNode, note: Note): MapNode {
  const optimizer = root.entries.get('optimizer')
  if (root.entries.has('app_state') || optimizer?.kind !== 'map') return root
  const optimizerConfig = optimizer.entries.get('config')
  const model = optimizerConfig?.kind === 'map' ? optimizerConfig.entries.get('wrapped_model') : undefined
  if (model === undefined) return root
  const hasScheduler = root.entries.has('scheduler')
  note(
    [],
    optimizer.place,
    `app_state is missing: using the optimizer${hasScheduler ? ', the scheduler' : ''} and the model of the optimizer`,
  )
  const { place } = optimizer
  const config = mapOf(place, {
    model,
    optimizer: referenceTo('optimizer', place),
    ...(hasScheduler ? { lr_scheduler: referenceTo('scheduler', place) } : {}),
  })
  const appState = mapOf(place, {
    component_key: scalar('app_state', place),
    variant_key: scalar('raw', place),
    config,
  })
  return withEntry(root, 'app_state', appState)
}

function withExperimentsRoot(root: MapNode, experimentsRootPath: string | undefined, note: Note): MapNode {
  const settings = root.entries.get('settings')
  const paths = settings?.kind === 'map' ? settings.entries.get('paths') : undefined
  if (settings?.kind !== 'map' || paths?.kind !== 'map') return root
  if (experimentsRootPath === undefined || paths.entries.has('experiments_root_path')) return root
  const path = ['settings', 'paths', 'experiments_root_path']
  note(path, paths.place, `${pathText(path)} is missing: using ${experimentsRootPath} from the command line`)
  return withEntry(root, 'settings', withEntry(settings, 'paths', withEntry(paths, path[2]!, experimentsRootPath)))
}

function textAt(node: MapNode, key: string): string | undefined {
  const value = node.entries.get(key)
  return value?.kind === 'scalar' && typeof value.value === 'string' ? value.value : undefined
}

function placeOf(node: MapNode, key: string): Place {
  return node.keyPlaces.get(key) ?? node.place
}

function withEntry(node: MapNode, key: string, value: TreeNode | string | boolean): MapNode {
  const entry = typeof value === 'object' ? value : scalar(value, node.entries.get(key)?.place ?? node.place)
  return { ...node, entries: new Map(node.entries).set(key, entry) }
}

function withoutEntry(node: MapNode, key: string): MapNode {
  return { ...node, entries: new Map([...node.entries].filter(([name]) => name !== key)) }
}

function scalar(value: string | boolean, place: Place): ScalarNode {
  return { kind: 'scalar', type: typeof value === 'string' ? 'text' : 'boolean', value, place }
}

function mapOf(place: Place, entries: Readonly<Record<string, TreeNode>>): MapNode {
  return { kind: 'map', entries: new Map(Object.entries(entries)), keyPlaces: new Map(), place }
}

function referenceTo(name: string, place: Place): MapNode {
  return mapOf(place, { instance_key: scalar(name, place), pass_type: scalar('BY_REFERENCE', place) })
}
