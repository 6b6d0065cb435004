/** Smaller Modalities configurations as plain data: text generation, checkpoint conversion and instruction data. */
import * as z from 'zod'
import { checkOptions } from '../components/check-options.js'
import { Component, maybe, text, whole } from '../components/option-types.js'
import { configError } from '../yaml/config-error.js'
import type { Notice } from '../yaml/deprecated-keys.js'
import { type TokenizerPlan, tokenizerPlan } from './pack-plan.js'
import { type ReadConfig, type ReadOptions, readConfig, readSettingsAs, topComponent } from './read-config.js'
import type { Gpt2Options } from './training-plan.js'

export interface ModalitiesGenerationPlan {
  readonly modelPath: string
  readonly device: string | number
  readonly sequenceLength: number
  readonly promptTemplate: string
  /** 0 selects the most likely token. */
  readonly temperature: number
  readonly endOfDocument: string
  readonly tokenizer: TokenizerPlan
  readonly model: Gpt2Options
  readonly notices: readonly Notice[]
}

const device = z.union([text, whole(0)])

const generationSettings = z.strictObject({
  model_path: text,
  sequence_length: whole(1),
  device,
  referencing_keys: z.record(text, text),
})

type WithoutFiles = Omit<ReadOptions, 'readTokenCount'>

/** @throws CONFIG_INVALID; UNSUPPORTED for a model other than gpt2 */
export function readGenerationPlan(source: string, options: WithoutFiles): ModalitiesGenerationPlan {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  const settings = readSettingsAs(config, generationSettings)
  const inference = topComponent(config, 'text_inference_component', 'inference_component').options
  return {
    modelPath: settings.model_path,
    device: inference.device as string | number,
    sequenceLength: inference.sequence_length as number,
    promptTemplate: inference.prompt_template as string,
    temperature: (inference.temperature as number | null) ?? 1,
    endOfDocument: (inference.eod_token as string | null) ?? '<eod>',
    tokenizer: tokenizerPlan(inference.tokenizer as Component),
    model: innermostModel(inference.model as Component, config).options as Gpt2Options,
    notices: config.notices,
  }
}

/** The wrapped gpt2 model. @throws UNSUPPORTED for other models */
export function innermostModel(model: Component, { file }: Pick<ReadConfig, 'file'>): Component {
  if (model.options.model instanceof Component) return innermostModel(model.options.model, { file })
  if (model.variantKey === 'gpt2') return model
  const message = `model.${model.variantKey} is not supported: expected gpt2`
  throw configError(message, file, model.path, model.place, 'UNSUPPORTED')
}

export interface ModalitiesCheckpointPlan {
  readonly checkpointPath: string
  readonly model: Gpt2Options
  /** Path of the configuration's tokenizer; null if it has none. */
  readonly tokenizerPath: string | null
}

/** Reads a configuration of `convert_pytorch_to_hf_checkpoint`. @throws CONFIG_INVALID, UNSUPPORTED */
export function readCheckpointPlan(source: string, options: WithoutFiles): ModalitiesCheckpointPlan {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  let model = topComponent(config, 'checkpointed_model', 'model')
  const { path, place } = model
  const gpt2 = innermostModel(model, config).options as Gpt2Options
  while (model.options.checkpoint_path === undefined && model.options.model instanceof Component) {
    model = model.options.model
  }
  const { checkpoint_path: checkpointPath } = model.options
  if (typeof checkpointPath !== 'string') {
    throw configError('checkpointed_model has no checkpoint_path', config.file, path, place)
  }
  const tokenizer = config.builder.top('tokenizer')
  const plan = tokenizer instanceof Component ? tokenizerPlan(tokenizer) : null
  return { checkpointPath, model: gpt2, tokenizerPath: plan?.kind === 'hugging-face' ? plan.source : null }
}

/** The model of a configuration, under model_raw or model. @throws CONFIG_INVALID, UNSUPPORTED */
export function readModel(source: string, options: WithoutFiles): Gpt2Options {
  const config = readConfig(source, { ...options, readTokenCount: () => 0 })
  const name = config.tree.entries.has('model_raw') ? 'model_raw' : 'model'
  return innermostModel(topComponent(config, name, 'model'), config).options as Gpt2Options
}

export interface ModalitiesInstructionPlan {
  readonly sourcePath: string
  readonly outputPath: string
  /** Key of the list of messages in a record. */
  readonly messagesKey: string
  /** Percentages of the parts, which add up to 100; null for a single part. */
  readonly split: { readonly train: number; readonly val: number; readonly test: number; readonly seed: number } | null
  readonly packConfigPath: string | null
  readonly roleMapping: Readonly<Record<string, string>>
  readonly chatTemplate: string
  readonly chatTemplateData: Readonly<Record<string, unknown>>
}

const percent = whole(0)

const instructionConfig = z.object({
  settings: z.strictObject({
    src_path: text,
    dst_path: text,
    messages_key: text,
    split_config: maybe(
      z.strictObject({
        splitting: z
          .strictObject({ train: percent, val: percent, test: percent })
          .refine(({ train, val, test }) => train + val + test === 100, 'train, val and test must add up to 100'),
        seed: whole(Number.MIN_SAFE_INTEGER),
      }),
    ),
    pbin_creation_config_file_path: maybe(text),
  }),
  instruction_data_transformation: z.strictObject({ role_mapping: z.record(text, text) }),
  jinja2_chat_template: text,
  chat_template_data: z.record(text, z.unknown()),
})

/** @throws CONFIG_INVALID */
export function readInstructionPlan(source: string, options: WithoutFiles): ModalitiesInstructionPlan {
  const { builder, file, tree } = readConfig(source, { ...options, readTokenCount: () => 0 })
  const names = Object.keys(instructionConfig.shape)
  const raw = Object.fromEntries(names.map(name => [name, builder.top(name)]))
  const context = { name: 'the configuration', file, path: [], node: tree }
  const config = checkOptions(raw, { options: instructionConfig }, context)
  const { settings } = config
  return {
    sourcePath: settings.src_path,
    outputPath: settings.dst_path,
    messagesKey: settings.messages_key,
    split:
      settings.split_config == null ? null : { ...settings.split_config.splitting, seed: settings.split_config.seed },
    packConfigPath: settings.pbin_creation_config_file_path ?? null,
    roleMapping: config.instruction_data_transformation.role_mapping,
    chatTemplate: config.jinja2_chat_template,
    chatTemplateData: config.chat_template_data,
  }
}
