// Configurations: compares interpolation with OmegaConf, the keys of components with Modalities' registry, and settings
// with its models.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { compileJq } from '../dist/formats/jq.js'
import { modalitiesComponents, unsupportedKinds } from '../dist/modalities/components/components.js'
import { checkSettings, trainingSettings } from '../dist/modalities/components/settings.js'
import { interpolate } from '../dist/modalities/yaml/interpolate.js'
import { modalitiesResolvers } from '../dist/modalities/yaml/resolvers.js'
import { parseYamlTree } from '../dist/modalities/yaml/yaml-tree.js'

export function configurationChecks({ root }) {
  return [
    ...resolutionChecks(root),
    ...registryChecks(),
    ...settingsChecks(root),
    ...componentChecks(),
    ...filterChecks(),
  ]
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

// Keys that only Modalities' newest sources have; version 0.5.0 on the package index lacks them.
const NEWER_KEYS = { 'results_subscriber.wandb': ['entity'] }

/** One check per supported variant, and one for the list of unsupported ones. */
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

const NOT_SUPPORTED = ['model.coca', 'model.debugging_enriched']

function ourKeys(name) {
  const [kind, variant] = name.split('.')
  const { shape } = modalitiesComponents[kind][variant].options
  const keys = Object.keys(shape).filter(key => !NEWER_KEYS[name]?.includes(key))
  const isOptional = key => shape[key].safeParse(undefined).success
  return [keys.filter(key => !isOptional(key)).sort(), keys.filter(isOptional).sort()]
}

/** Our key of an option that has several names in Modalities. */
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

// Path -> value, and the reason for an intended difference.
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

const norm = { norm_type: 'rms_norm', config: { ndim: 128, bias: true, epsilon: 1e-5 } }
const rotary = { n_embd: 128, n_head: 8, seq_length_dim: -2, base_freq: 100000 }

/** Valid options of components without subcomponents, and changes: path, value, and the reason for an intended difference. */
const COMPONENTS = {
  'model.gpt2': [
    {
      ...{
        sample_key: 'a',
        prediction_key: 'b',
        poe_type: 'NOPE',
        sequence_length: 256,
        vocab_size: 50304,
        n_layer: 2,
      },
      ...{ n_head_q: 8, n_head_kv: 4, ffn_hidden: 128, n_embd: 128, dropout: 0.1, bias: false, use_weight_tying: true },
      attention_config: { qkv_transforms: [{ type_hint: 'RotaryTransform', config: rotary }] },
      ...{ attention_implementation: 'pytorch_flash', activation_type: 'swiglu' },
      ...{ attention_norm_config: norm, ffn_norm_config: norm, lm_head_norm_config: norm },
    },
    ['n_layer', 0],
    ['n_layer', '2'],
    ['n_layer', 2.5],
    ['n_layer', null],
    ['n_layer', undefined],
    ['vocab_size', 50257],
    ['n_embd', 100],
    ['ffn_hidden', 129],
    ['n_head_kv', 3],
    ['dropout', -0.1],
    ['dropout', 1],
    ['poe_type', 'nope'],
    ['activation_type', 'relu'],
    ['attention_implementation', 'dao_flash'],
    ['seed', 5],
    ['seed', null],
    ['extra', 1],
    ['use_meta_device', true],
    ['attention_config.qk_norm_config', norm],
    ['attention_config.qkv_transforms', []],
    ['attention_config.qkv_transforms.0.config.base_freq', 9999],
    [
      'attention_config.qkv_transforms.0.type_hint',
      'IdentityTransform',
      'options of another transform are errors here',
    ],
    ['attention_config.qkv_transforms.0.type_hint', 'Rotary'],
    ['ffn_norm_config.norm_type', 'rms'],
    ['ffn_norm_config.config.ndim', 0],
    ['ffn_norm_config.config.ndim', undefined],
    ['ffn_norm_config.norm_type', 'layer_norm', 'options of another norm are errors here; Modalities fails later'],
  ],
  'device_mesh.default': [
    { data_parallel_shard_degree: 4, world_size: 4 },
    ['data_parallel_shard_degree', -1],
    ['data_parallel_shard_degree', 3],
    ['data_parallel_shard_degree', 0],
    ['data_parallel_replicate_degree', -1],
    ['data_parallel_replicate_degree', 2],
    ['tensor_parallel_degree', 0],
    ['pipeline_parallel_degree', 2],
    ['world_size', 8],
    ['device_type', 'cpu'],
  ],
  'model_initialization.composed': [
    { model_type: 'gpt2', weight_init_type: 'scaled', mean: 0.1, std: 0.02, num_layers: 2 },
    ['num_layers', undefined],
    ['num_layers', 0],
    ['weight_init_type', 'plain'],
    ['weight_init_type', 'scaled_embed'],
    ['std', 'auto'],
    ['std', -1.5],
    ['hidden_dim', 128],
    ['model_type', 'gpt3'],
  ],
  'tokenizer.pretrained_hf_tokenizer': [
    { pretrained_model_name_or_path: 'x' },
    ['max_length', 5],
    ['max_length', -1],
    ['padding', 'max_length'],
    ['padding', true],
    ['truncation', true],
    ['special_tokens', { pad_token: 'x', additional_special_tokens: ['a', 'b'] }],
    ['special_tokens', ['a']],
    ['pretrained_model_name_or_path', undefined],
  ],
  'dataset.packed_mem_map_dataset_continuous': [
    { raw_data_path: 'x', sequence_length: 16, sample_key: 'a' },
    ['sequence_length', 1],
    ['sequence_length', 2],
    ['reuse_last_target', false],
    ['sample_key', undefined],
  ],
  'checkpoint_saving_strategy.save_k_most_recent_checkpoints_strategy': [{ k: 2 }, ['k', -1], ['k', -2], ['k', 0]],
  'checkpoint_saving_strategy.save_every_k_steps_checkpointing_strategy': [{ k: 2 }, ['k', 0]],
  'checkpoint_saving_execution.dcp': [
    { checkpoint_path: 'x', global_rank: 0, experiment_id: 'e' },
    ['global_rank', -1],
    ['experiment_id', undefined],
  ],
  'results_subscriber.wandb': [
    { global_rank: 0, project: 'p', experiment_id: 'e', mode: 'OFFLINE', directory: 'd', config_file_path: 'c' },
    ['mode', 'offline'],
    ['mode', 'ONLINE'],
    ['project', undefined],
  ],
  'progress_subscriber.rich': [
    { train_dataloader_tag: 't', num_seen_steps: 0, num_target_steps: 5, global_rank: 0 },
    ['num_target_steps', 0],
    ['num_seen_steps', -1],
  ],
  'layer_norm.layer_norm': [{ normalized_shape: 128 }, ['eps', 0], ['bias', 'yes'], ['elementwise_affine', false]],
  'loss.clm_cross_entropy_loss': [{ target_key: 'a', prediction_key: 'b' }, ['target_key', 5], ['extra', 1]],
}

function componentChecks() {
  return Object.entries(COMPONENTS).flatMap(([name, [good, ...changes]]) =>
    [['', null], ...changes].map(([path, value, reason]) => {
      const options = structuredClone(good)
      if (path !== '') change(options, path.split('.'), value)
      const [kind, variant] = name.split('.')
      return {
        name: `${name} with ${path || 'nothing changed'}${path === '' ? '' : ` = ${JSON.stringify(value)}`}`,
        job: { do: 'accepts_component', name, options },
        ours: answer => [modalitiesComponents[kind][variant].options.safeParse(options).success, answer.value ?? false],
        reason,
      }
    }),
  )
}

const RECORD = {
  text: 'Hello "World"',
  n: 5,
  none: null,
  tags: ['b', 'a'],
  m: [
    { role: 'user', c: 'Hi 😀' },
    { role: 'bot', c: null },
  ],
}

const FILTERS = [
  '.text',
  '.["text"]',
  '.m[0].c',
  '.m[-1].role',
  '.tags[5]',
  '.none // .text',
  '.text + "!"',
  '"\\(.text) \\(.n) \\(.tags)"',
  '.tags | join(", ")',
  '[.m[] | select(.c != null) | .c] | join("\\n")',
  '.m | map(.role)',
  '.n * 2',
  '.n / 2',
  '.text | length',
  '.m[0].c | length',
  '.tags | sort',
  'keys',
  'if .n > 3 then "big" else "small" end',
  '.text.x',
  '.tags | tostring',
  '.m | tojson',
  '.text | ascii_downcase',
  '.text[1:4]',
  '.n | . as $x | $x + 1',
  '[..|strings] | length',
  '.missing',
  '.text, .n',
  '.tags | add',
  '.m | length',
  '.tags | contains(["a"])',
  '.text | split(" ")',
  '.m[0] | to_entries',
]

/** Modalities uses the first output of its filter. */
function filterChecks() {
  return FILTERS.map(filter => ({
    name: `jq ${filter}`,
    job: { do: 'extract', filter, line: JSON.stringify(RECORD) },
    ours: answer => [firstOutput(filter), answer.error === undefined ? (answer.value ?? null) : 'refused'],
  }))
}

function firstOutput(filter) {
  try {
    return compileJq(filter).first(RECORD)
  } catch {
    return 'refused'
  }
}
