// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations are what is tested
import { existsSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { explainPacking, explainTraining } from '#src/modalities/explain'
import { readGenerationPlan, readInstructionPlan } from '#src/modalities/plans/other-plans'
import { readPackPlan } from '#src/modalities/plans/pack-plan'
import type { ReadOptions } from '#src/modalities/plans/read-config'
import { readTrainingPlan } from '#src/modalities/plans/training-plan'
import { toPenstockTraining } from '#src/modalities/to-penstock'
import { feedTrainerOptions } from '#src/stages/feed-trainer/options'
import { shuffleSamplesOptions } from '#src/stages/samples/shuffle-samples'

const text = readFileSync(new URL('../training.yaml', import.meta.url), 'utf8')
const options: ReadOptions = {
  configFilePath: 'train.yaml',
  configFolderPath: '.',
  experimentId: 'run',
  experimentsRootPath: '/experiments',
  world: { rank: 2, localRank: 0, worldSize: 4 },
  cpuCount: 3,
  readTokenCount: () => 2000,
}

const EVALUATES_ON_TRAINING_DATA = 'evaluates on train.pbin, which the run also trains on'

describe('readTrainingPlan', () => {
  const plan = readTrainingPlan(text, options)

  it('returns data, model and run as plain values', () => {
    expect(plan.train).toEqual({
      ...{ tag: 'train', dataPaths: ['train.pbin'], sequenceLength: 16, reuseLastTarget: true, microBatchSize: 2 },
      ...{ shuffle: true, seed: 7, epoch: 0, skipSamples: 32, rank: 2, worldSize: 4, mask: null },
    })
    expect(plan.evaluation.map(({ tag, shuffle, rank }) => [tag, shuffle, rank])).toEqual([['held out', false, 0]])
    expect(plan.settings.training_progress).toEqual({
      ...{ global_num_seen_tokens: 512, num_seen_steps: 4, num_seen_samples: 32, last_step: 3 },
    })
    expect(plan.settings.training_target).toEqual({ num_target_tokens: 1536, num_target_steps: 12 })
    expect(plan.settings.step_profile.dp_degree).toBe(4)
    expect(plan.model.attention_norm_config.config).toEqual({
      ...{ normalized_shape: 128, eps: 1e-5, elementwise_affine: true, bias: true },
    })
    expect(plan.initialization).toEqual({ type: 'scaled', mean: 0, std: Math.sqrt(2 / (5 * 128)), layers: 2 })
    expect(plan.wrappers.map(({ variant }) => variant)).toEqual(['fsdp2_wrapped'])
    expect(plan.schedule).toBeNull()
    expect(plan.gradientClip).toEqual({ norm: 'P2_NORM', maxNorm: 1 })
    expect(plan.checkpoint).toEqual({ folder: '/experiments/run/checkpoints', format: 'dcp', everySteps: 4, keep: 2 })
    expect(plan.mesh).toEqual({ dp_shard: 4, dp_replicate: 1, tp: 1, pp: 1, cp: 1 })
    expect(plan.warmstartFrom).toMatch(/seen_steps_4/)
    expect(plan.notices.map(({ message }) => message)).toEqual([EVALUATES_ON_TRAINING_DATA])
    expect(plan.unsupported).toEqual([])
  })

  it('translates to options that the stages accept', () => {
    const training = toPenstockTraining(plan)
    const trainer = feedTrainerOptions().parse(training.feedTrainer)
    expect(trainer.model).toMatchObject({ width: 128, heads: 4, kv_heads: 2, position: 'learned', norm: 'layer' })
    expect(trainer).toMatchObject({
      steps: 12,
      batch_size: 2,
      accumulation_steps: 4,
      gradient_clip: 1,
      held_out: { path: 'train.pbin' },
    })
    expect(shuffleSamplesOptions.parse(training.shuffleSamples)).toMatchObject({
      shuffle: 'torch',
      seed: 7,
      rank: 0,
      world_size: 1,
    })
    expect(training.differences).toEqual([
      'training uses 32-bit precision; the configuration uses 16-bit mixed precision',
    ])
  })

  it('can be explained line by line', () => {
    const lines = explainTraining(plan, 'train.yaml')
    expect(lines.find(line => line.startsWith('for'))).toMatch(
      /12 steps of 128 tokens \(1536 tokens in total\), 4 steps completed/,
    )
    expect(lines.find(line => line.startsWith('warmstart from'))).toMatch(/seen_steps_4/)
  })

  // A replacement in the file, and the path in the error.
  it.each([
    ['n_layer: 2', 'n_layer: 2.0', 'model_raw.config.n_layer'],
    ['n_layer: 2', 'n_layer: "2"', 'model_raw.config.n_layer'],
    ['n_layer: 2', 'n_layers: 2', 'model_raw.config.n_layers'],
    ['n_layer: 2', '__proto__: 2', 'model_raw.config.__proto__'],
    ['vocab_size: 256', 'vocab_size: 257', 'model_raw.config.vocab_size'],
    ['n_head_kv: 2', 'n_head_kv: 3', 'model_raw.config.n_head_kv'],
    ['dropout: 0.0', 'dropout: none', 'model_raw.config.dropout'],
    ['norm_type: layer_norm', 'norm_type: layernorm', 'model_raw.config.attention_norm_config.norm_type'],
    ['eps: 1e-5', 'epsilon: 1e-5', 'model_raw.config.attention_norm_config.config.epsilon'],
    [
      'attention_config: { qkv_transforms: [] }',
      'attention_config: {}',
      'model_raw.config.attention_config.qkv_transforms',
    ],
    ['param_dtype: BF_16', 'param_dtype: bf16', 'wrapped_model.config.mixed_precision_settings.param_dtype'],
    ['num_workers: 0', 'num_workers: -1', 'train_dataloader.config.num_workers'],
    ['pin_memory: off', 'pin_memory: 0', 'train_dataloader.config.pin_memory'],
    [
      'batch_size: 2\n        sampler',
      'batch_size: 2\n        drop_last: no\n        sampler',
      'train_dataloader.config.batch_sampler.config.drop_last',
    ],
    ['num_replicas: 4', 'num_replica: 4', 'eval_dataloaders[0].config.batch_sampler.config.sampler.config.num_replica'],
    ['variant_key: adam_w', 'variant_key: adamw', 'optimizer.variant_key'],
    ['component_key: loss', 'component_key: los', 'loss_fn.component_key'],
    ['loss_fn:\n', 'los_fn:\n', 'loss_fn'],
    [
      'wrapped_model: { instance_key: model,',
      'wrapped_model: { instance_key: modell,',
      'optimizer.config.wrapped_model.instance_key',
    ],
    ['raw_data_path: "${settings.paths.train_dataset_path}"', 'raw_data_path: 5', 'train_dataset.config.raw_data_path'],
    ['{ data_parallel_shard_degree: -1', '{ data_parallel_shard_degree: 3', 'device_mesh.config.world_size'],
    ['weight_init_type: scaled', 'weight_init_type: plain', 'model.config.model_initializer.config.num_layers'],
    ['training_log_interval_in_steps: 2', 'training_log_intervals: 2', 'settings.intervals.training_log_intervals'],
    [
      'training_log_interval_in_steps: 2',
      'training_log_interval_in_steps: 3',
      'settings.intervals.training_log_interval_in_steps',
    ],
    [
      'checkpointing_interval_in_steps: 4',
      'checkpointing_interval_in_steps: 5',
      'settings.intervals.checkpointing_interval_in_steps',
    ],
    [
      'evaluation_interval_in_steps: 8',
      'evaluation_interval_in_steps: 3',
      'settings.intervals.evaluation_interval_in_steps',
    ],
    ['num_target_steps: 12', 'num_target_steps: 4', 'settings.training_target.num_target_steps'],
    ['        dp_degree: 4', '        dp_degree: 2', 'settings.training_target.num_target_tokens'],
    ['num_target_steps: 12', 'num_target_steps: 4004', 'settings.training_target.num_target_tokens'],
    [
      'consistency_enforcement: {',
      'consistency_enforcement: { enforce: no,',
      'settings.consistency_enforcement.enforce',
    ],
    ['seen_steps_4-', 'seen_steps_4-seen_steps_5-', 'settings.training_progress.num_seen_steps'],
    ['model: { instance_key: model_raw,', 'model: { instance_key: optimizer,', 'model'],
    ['sequence_length: 16, sample_key', 'sequence_length: 32, sample_key', 'model_raw.config.sequence_length'],
    ['config: { k: 2 }', 'config: 2', 'checkpoint_saving.config.checkpoint_saving_strategy'],
  ])('rejects %j -> %j', (from, to, path) => {
    expect(text).toContain(from)
    const line = expect.any(Number)
    expect(() => readTrainingPlan(text.replace(from, to), options)).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        where: expect.objectContaining({ file: 'train.yaml', line, column: line, path }),
      }),
    )
  })

  it('returns a plan or an error with any single line removed', () => {
    const lines = text.split('\n')
    for (const [at, line] of lines.entries()) {
      const shorter = lines.toSpliced(at, 1).join('\n')
      try {
        toPenstockTraining(readTrainingPlan(shorter, options))
      } catch (error) {
        expect(error, line).toMatchObject({ name: 'PenstockError', where: { file: 'train.yaml' } })
      }
    }
  })

  it('reports the line and suggests the nearest key', () => {
    const broken = text.replace('use_weight_tying: false', 'use_weight_tieing: false')
    const line = broken.split('\n').findIndex(content => content.includes('use_weight_tieing')) + 1
    const error = refusalOf(() => readTrainingPlan(broken, options))
    expect(error.where).toMatchObject({ line, column: 5 })
    expect(error.message).toMatch(
      /did you mean use_weight_tying\?; required: sample_key, .*; optional: use_meta_device, /,
    )
  })

  it('gives a notice for violations that the file does not enforce', () => {
    const lax = text
      .replace('enforce_last_step_logged: yes', 'enforce_last_step_checkpointed: no')
      .replace('checkpointing_interval_in_steps: 4', 'checkpointing_interval_in_steps: 5')
    const { notices } = readTrainingPlan(lax, options)
    expect(notices.map(({ path }) => path.join('.'))).toEqual([
      'settings.intervals.checkpointing_interval_in_steps',
      'eval_dataloaders.0',
    ])
  })

  it('lists unsupported components and unused names', () => {
    const { unsupported, notices } = readTrainingPlan(
      `${text}\nleftover: {a: 1}\n`.replace('variant_key: adam_w', 'variant_key: adam'),
      options,
    )
    expect(unsupported.map(({ what }) => what)).toEqual(['optimizer.adam'])
    expect(notices.map(({ path }) => path)).toEqual([['eval_dataloaders', 0], ['leftover']])
  })

  it('resolves only the environment variables of a launch', () => {
    const environment = { SECRET: 'canary', MASTER_ADDR: 'host' }
    const withVariable = (name: string) =>
      text.replace('train_dataset_path: train.pbin', `train_dataset_path: \${cuda_env:${name}}`)
    expect(readTrainingPlan(withVariable('MASTER_ADDR'), { ...options, environment }).train.dataPaths).toEqual(['host'])
    const error = refusalOf(() => readTrainingPlan(withVariable('SECRET'), { ...options, environment }))
    expect(error.message).not.toContain('canary')
  })
})

function refusalOf(run: () => unknown): { message: string; where: object } {
  try {
    run()
  } catch (error) {
    return error as { message: string; where: object }
  }
  throw new Error('nothing was refused')
}

const shared = new URL('../../../../shared/reference/modalities/', import.meta.url)

describe.skipIf(!existsSync(shared))('the original tutorial files of Modalities', () => {
  const read = (name: string) => readFileSync(new URL(name, shared), 'utf8')
  const tutorial = { ...options, world: { rank: 1, localRank: 1, worldSize: 2 }, readTokenCount: () => 10_000_000 }

  it('migrates deprecated keys of the training file, each with a notice', () => {
    const plan = readTrainingPlan(read('pretraining_config.yaml'), tutorial)
    expect(plan.settings.training_target).toEqual({ num_target_tokens: 9_994_240, num_target_steps: 305 })
    expect(plan.model.use_weight_tying).toBe(true)
    expect(plan.wrappers.map(({ variant }) => variant)).toEqual(['fsdp1_wrapped'])
    expect(plan.schedule).toMatchObject({ variant: 'onecycle_lr', options: { max_lr: 6e-4, total_steps: 305 } })
    expect(plan.checkpoint).toEqual({ folder: 'data/checkpoints', format: 'fsdp1', everySteps: 50, keep: null })
    expect(plan.notices.map(({ message }) => message.split(/: (?!the)| is read/)[0])).toEqual([
      'model.fsdp_wrapped',
      'use_weight_tying is missing',
      'gradient_clipper.fsdp',
      'app_state is missing',
      'settings.paths.experiments_root_path is missing',
      '305 remaining steps are not a multiple of 50: the last step is evaluated outside the interval',
      '305 remaining steps are not a multiple of 50: the last step is checkpointed outside the interval',
    ])
    feedTrainerOptions().parse(toPenstockTraining(plan).feedTrainer)
  })

  it('reports how many samples one step needs if the training file has too few', () => {
    const small = { ...tutorial, readTokenCount: () => 3000 }
    expect(() => readTrainingPlan(read('pretraining_config.yaml'), small)).toThrow(
      /data\/\S+ has 11 samples, but one step needs 128 samples of 256 tokens/,
    )
  })

  it('reads the packing file', () => {
    const plan = readPackPlan(read('tokenization_config.yaml'), { ...tutorial, configFilePath: 'pack.yaml' })
    expect(plan).toMatchObject({ filter: '.text', endOfDocument: '<|endoftext|>', workers: 3, notices: [] })
    expect(plan.tokenizer).toMatchObject({ kind: 'hugging-face', source: 'data/tokenizer', truncation: false })
    expect(explainPacking(plan, 'pack.yaml')[1]).toMatch(/\.text of each record/)
  })
})

const PACK = `
settings: {src_path: a/b.c.jsonl, jq_pattern: .text, eod_token: "<eod>", processing_batch_size: 1,
  raw_samples_queue_size: 1, processed_samples_queue_size: 1}
tokenizer: {component_key: tokenizer, variant_key: pretrained_sp_tokenizer, config: {tokenizer_model_file: m.model}}
`

describe('readPackPlan', () => {
  it('applies defaults', () => {
    const plan = readPackPlan(PACK, options)
    expect(plan).toMatchObject({ outputPath: 'a/b.c.pbin', indexPath: 'a/b.c.idx', workers: 3 })
    expect(plan.tokenizer).toEqual({ kind: 'sentencepiece', source: 'm.model' })
    expect(plan.notices.length).toBe(1)
  })

  it('rejects missing and unknown keys', () => {
    for (const [from, to] of [
      ['jq_pattern: .text,', ''],
      ['jq_pattern', 'jq_patern'],
      ['tokenizer:', 'tokeniser:'],
    ] as const) {
      expect(() => readPackPlan(PACK.replace(from, to), options)).toThrow(
        expect.objectContaining({ code: 'CONFIG_INVALID' }),
      )
    }
  })
})

describe('readGenerationPlan', () => {
  it('reads an older file with norms as components', () => {
    const norm = '{component_key: layer_norm, variant_key: rms_norm, config: {ndim: 128}}'
    const model = text
      .slice(text.indexOf('model_raw:'), text.indexOf('wrapped_model:'))
      .replace(/(attention|ffn|lm_head)_norm_config: .*/g, (_, name) => `${name}_norm: ${norm}`)
    const plan = readGenerationPlan(
      `${model}
settings: {model_path: m.bin, sequence_length: 16, device: 0, referencing_keys: {}}
text_inference_component:
  component_key: inference_component
  variant_key: text
  config:
    device: \${settings.device}
    model: {instance_key: model_raw, pass_type: BY_REFERENCE}
    tokenizer: {component_key: tokenizer, variant_key: pretrained_hf_tokenizer, config: {pretrained_model_name_or_path: t}}
    sequence_length: \${settings.sequence_length}
    eod_token: <eod>
    prompt_template: "{prompt_input}"
`,
      options,
    )
    expect(plan).toMatchObject({ modelPath: 'm.bin', temperature: 1, promptTemplate: '{prompt_input}', device: 0 })
    expect(plan.model.ffn_norm_config).toEqual({
      norm_type: 'rms_norm',
      config: { ndim: 128, epsilon: 1e-6, bias: true },
    })
    expect(plan.notices.length).toBe(3)
  })
})

const INSTRUCTION = `
settings:
  src_path: in.jsonl
  dst_path: out.jsonl
  messages_key: conversations
  split_config: {splitting: {train: 70, val: 15, test: 15}, seed: 1234}
instruction_data_transformation: {role_mapping: {human: User}}
jinja2_chat_template: "{{ chat_template_data.x }}"
chat_template_data: {x: 1}
`

describe('readInstructionPlan', () => {
  it('reads split, roles and template', () => {
    expect(readInstructionPlan(INSTRUCTION, options)).toEqual({
      ...{ sourcePath: 'in.jsonl', outputPath: 'out.jsonl', messagesKey: 'conversations', packConfigPath: null },
      split: { train: 70, val: 15, test: 15, seed: 1234 },
      roleMapping: { human: 'User' },
      chatTemplate: '{{ chat_template_data.x }}',
      chatTemplateData: { x: 1 },
    })
  })

  it('rejects percentages that do not add up to 100', () => {
    expect(() => readInstructionPlan(INSTRUCTION.replace('70', '71'), options)).toThrow(
      expect.objectContaining({ where: expect.objectContaining({ path: 'settings.split_config.splitting', line: 6 }) }),
    )
  })
})
