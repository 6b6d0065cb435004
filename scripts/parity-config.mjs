// Configurations: interpolation against OmegaConf, the keys of every component against the registry, settings against its models.
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { modalitiesComponents, unsupportedKinds } from '../dist/pipelines/modalities/components.js'
import { interpolate } from '../dist/pipelines/modalities/interpolate.js'
import { modalitiesResolvers } from '../dist/pipelines/modalities/resolvers.js'
import { checkSettings, trainingSettings } from '../dist/pipelines/modalities/settings.js'
import { parseYamlTree } from '../dist/pipelines/modalities/yaml-tree.js'

export function configurationChecks({ root }) {
  return [...resolutionChecks(root), ...registryChecks(), ...settingsChecks(root)]
}

function plain(node) {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plain)
  return Object.fromEntries([...node.entries].map(([key, value]) => [key, plain(value)]))
}

function resolutionChecks(root) {
  const reference = join(root, '..', 'shared', 'reference', 'modalities')
  const files = [
    join(root, 'test', 'pipelines', 'modalities', 'training.yaml'),
    join(reference, 'pretraining_config.yaml'),
    join(reference, 'tokenization_config.yaml'),
  ].filter(existsSync)
  return files.map(file => ({
    name: `resolve ${file}`,
    job: {
      do: 'resolve',
      path: file,
      environment: { RANK: '1', LOCAL_RANK: '1', WORLD_SIZE: '4' },
      experiments_root_path: '/experiments',
      experiment_id: 'run',
    },
    ours: answer => {
      const resolvers = modalitiesResolvers({
        configFilePath: file,
        configFolderPath: join(file, '..'),
        experimentId: 'run',
        experimentsRootPath: '/experiments',
        world: { rank: 1, localRank: 1, worldSize: 4 },
        cpuCount: answer.value?.settings?.num_cpus,
      })
      return [plain(interpolate(parseYamlTree(readFileSync(file, 'utf8'), file), file, resolvers)), answer.value]
    },
  }))
}

// Keys that only the reference's newest sources have; version 0.5.0 on the package index does not know them.
const NEWER_KEYS = { 'results_subscriber.wandb': ['entity'] }

/** One check for each variant that is supported here, and one that names all others. */
function registryChecks() {
  const job = { do: 'registry' }
  const names = Object.entries(modalitiesComponents).flatMap(([kind, variants]) =>
    Object.keys(variants).map(name => `${kind}.${name}`),
  )
  const keysOf = (name, entry) =>
    ['required', 'optional'].map(which => entry[which].flatMap(key => todayOf(name, entry.aliases[key])).sort())
  return [
    ...names.map(name => ({
      name: `keys of ${name}`,
      job,
      ours: ({ value }) => [
        ourKeys(name),
        value[name] === undefined ? 'not in the registry' : keysOf(name, value[name]),
      ],
      reason:
        name === 'inference_component.text' ? 'a component that its generation command registers later' : undefined,
    })),
    {
      name: 'components that are not supported',
      job,
      ours: ({ value }) => {
        const missing = Object.keys(value).filter(
          name => !names.includes(name) && !(name.split('.')[0] in unsupportedKinds),
        )
        return [missing.sort(), NOT_SUPPORTED]
      },
    },
  ]
}

const NOT_SUPPORTED = [
  'model.coca',
  'model.debugging_enriched',
  'steppable_profiler.combined',
  'steppable_profiler.kernel_tracing',
  'steppable_profiler.memory_tracing',
]

function ourKeys(name) {
  const [kind, variant] = name.split('.')
  const { shape } = modalitiesComponents[kind][variant].options
  const keys = Object.keys(shape).filter(key => !NEWER_KEYS[name]?.includes(key))
  const isOptional = key => shape[key].safeParse(undefined).success
  return [keys.filter(key => !isOptional(key)).sort(), keys.filter(isOptional).sort()]
}

/** The key under which we take an option that the reference knows by several names. */
function todayOf(name, keys) {
  const [kind, variant] = name.split('.')
  const { shape } = modalitiesComponents[kind][variant].options
  return [keys.find(key => key in shape) ?? keys[0]]
}

const base = root => ({
  experiment_id: 'run',
  config_file_path: join(root, 'package.json'),
  referencing_keys: { sample_key: 'a', target_key: 'b', prediction_key: 'c' },
  cuda_env: { local_rank: 0, world_size: 4, global_rank: 2 },
  paths: { experiments_root_path: '/x', other: 'y' },
  intervals: { training_log_interval_in_steps: 2, checkpointing_interval_in_steps: 4, evaluation_interval_in_steps: 8 },
  consistency_enforcement: {},
  step_profile: { gradient_accumulation_steps: 1, local_train_micro_batch_size: 2, sequence_length: 16, dp_degree: 4 },
  training_target: { num_target_tokens: 1536, num_target_steps: 12 },
  training_progress: { global_num_seen_tokens: 512, num_seen_steps: 4, num_seen_samples: 32, last_step: 3 },
})

const STRICTER = 'unknown keys of settings are errors here'

// Path -> value, and why the two differ where they do on purpose.
const CHANGES = [
  ['experiment_id', 'other'],
  ['experiment_id', undefined],
  ['paths.experiments_root_path', undefined],
  ['paths.more', 5],
  ['cuda_env.world_size', 0],
  ['cuda_env.global_rank', '2'],
  ['intervals.training_log_interval_in_steps', 3],
  ['intervals.training_log_interval_in_steps', 0],
  ['intervals.training_log_interval_in_steps', 2.5],
  ['intervals.checkpointing_interval_in_steps', 5],
  ['intervals.evaluation_interval_in_steps', 3],
  ['consistency_enforcement.enforce_last_step_logged', false],
  ['consistency_enforcement.enforce_last_step_logged', null],
  ['consistency_enforcement', undefined],
  ['step_profile.dp_degree', 2],
  ['step_profile.sequence_length', 0],
  ['training_target.num_target_tokens', 1537],
  ['training_target.num_target_steps', 4],
  ['training_target.num_target_steps', 13],
  ['training_progress.last_step', -2],
  ['training_progress.num_seen_steps', undefined],
  ['warmstart_checkpoint_paths', { checkpoint_folder_path: '/x' }],
  ['warmstart_checkpoint_paths', { model_checkpoint_path: '/x' }],
  ['warmstart_checkpoint_paths', {}],
  ['unknown', 1, STRICTER],
  ['intervals.unknown', 1, STRICTER],
]

function settingsChecks(root) {
  return [['', null], ...CHANGES].map(([path, value, reason]) => {
    const settings = base(root)
    if (path !== '') change(settings, path.split('.'), value)
    return {
      name: `settings with ${path || 'nothing changed'}${path === '' ? '' : ` = ${JSON.stringify(value)}`}`,
      job: { do: 'accepts_settings', settings },
      ours: answer => [accepts(settings), answer.value ?? false],
      reason,
    }
  })
}

function change(settings, path, value) {
  const last = path.pop()
  const owner = path.reduce((part, key) => part[key], settings)
  if (value === undefined) delete owner[last]
  else owner[last] = value
}

function accepts(settings) {
  const parsed = trainingSettings.safeParse(settings)
  if (!parsed.success) return false
  const place = { line: 1, column: 1 }
  try {
    checkSettings(parsed.data, Number.MAX_SAFE_INTEGER, 'file', {
      kind: 'map',
      entries: new Map(),
      keyPlaces: new Map(),
      place,
    })
    return true
  } catch {
    return false
  }
}
