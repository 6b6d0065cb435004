/**
 * Configurations written for older versions of the reference, read as today's: names that changed, keys that were added since.
 * Each reading gives a notice that says what was read as what, so that nothing happens unseen.
 */
import type { ConfigPath } from './config-error.js'
import { pathText } from './config-error.js'
import type { MapNode, Place, ScalarNode, TreeNode } from './yaml-tree.js'

export interface Notice {
  readonly message: string
  readonly path: ConfigPath
  readonly place: Place
}

export interface StaleOptions {
  /** What `settings.paths.experiments_root_path` is where the file does not say. */
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

/** The tree as today's version would have it, and what was changed. */
export function migrateDeprecatedKeys(root: MapNode, options: StaleOptions): { tree: MapNode; notices: Notice[] } {
  const notices: Notice[] = []
  const note = (path: ConfigPath, place: Place, message: string) => notices.push({ path, place, message })
  let tree = migrate(root, [], note) as MapNode
  tree = withAppState(tree, note)
  tree = withExperimentsRoot(tree, options.experimentsRootPath, note)
  return { tree, notices }
}

type Note = (path: ConfigPath, place: Place, message: string) => void

/** Components at any depth. */
function migrate(node: TreeNode, path: ConfigPath, note: Note): TreeNode {
  if (node.kind === 'scalar') return node
  if (node.kind === 'list') return { ...node, items: node.items.map((item, at) => migrate(item, [...path, at], note)) }
  let renewed: MapNode = {
    ...node,
    entries: new Map([...node.entries].map(([key, value]) => [key, migrate(value, [...path, key], note)])),
  }
  const kind = textAt(renewed, 'component_key')
  const variant = textAt(renewed, 'variant_key')
  if (kind === undefined || variant === undefined) return renewed
  const today = RENAMED_VARIANTS[kind]?.[variant]
  if (today !== undefined) {
    note([...path, 'variant_key'], placeOf(renewed, 'variant_key'), `${kind}.${variant} is read as ${kind}.${today}`)
    renewed = withEntry(renewed, 'variant_key', today)
  }
  return kind === 'model' && variant === 'gpt2' ? renewGpt2(renewed, path, note) : renewed
}

function renewGpt2(component: MapNode, path: ConfigPath, note: Note): MapNode {
  const config = component.entries.get('config')
  if (config?.kind !== 'map') return component
  let renewed = config
  for (const [old, today] of Object.entries(RENAMED_NORMS)) {
    const norm = renewed.entries.get(old)
    if (norm?.kind !== 'map' || renewed.entries.has(today)) continue
    note([...path, 'config', old], placeOf(renewed, old), `${old} is read as ${today}`)
    renewed = withoutEntry(withEntry(renewed, today, normConfig(norm)), old)
  }
  if (!renewed.entries.has('use_weight_tying')) {
    const message = 'use_weight_tying is missing: read as true, as it was before it could be chosen'
    note([...path, 'config'], renewed.place, message)
    renewed = withEntry(renewed, 'use_weight_tying', true)
  }
  return withEntry(component, 'config', renewed)
}

/** A norm as a component of its own -> the pair of norm_type and config. */
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

/** Optimizer and scheduler stood at the top, before `app_state` held them together with the model. */
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
    `app_state is missing: read as made of optimizer${hasScheduler ? ', scheduler' : ''} and their model`,
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
  note(path, paths.place, `${pathText(path)} is missing: read as ${experimentsRootPath}, as given to the command`)
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
