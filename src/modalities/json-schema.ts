/**
 * JSON Schema of Modalities' configurations for editors, generated from the schemas that validate them. It gives completion
 * and marks misspelt keys while typing. Every value may also be an interpolation `${...}`.
 */
import * as z from 'zod'
import { modalitiesComponents } from './components/components.js'
import { componentKinds } from './components/option-types.js'
import { trainingSettings } from './components/settings.js'
import { packSettings } from './plans/pack-plan.js'

export type JsonSchema = { readonly [key: string]: unknown }

const INTERPOLATION = { $ref: '#/$defs/interpolation' }

const DEFINITIONS = {
  interpolation: { type: 'string', pattern: '\\$\\{' },
  reference: {
    type: 'object',
    properties: { instance_key: { type: 'string' }, pass_type: { enum: ['BY_REFERENCE', 'BY_VALUE'] } },
    required: ['instance_key', 'pass_type'],
    additionalProperties: false,
  },
  ...Object.fromEntries(Object.keys(modalitiesComponents).map(kind => [kind, componentSchema(kind)])),
}

/** JSON Schema of a training configuration. */
export function trainingJsonSchema(): JsonSchema {
  const required = {
    settings: fromZod(trainingSettings),
    app_state: definition('app_state'),
    loss_fn: definition('loss'),
    train_dataset: definition('dataset'),
    train_dataloader: definition('data_loader'),
    eval_dataloaders: { type: 'array', items: definition('data_loader') },
    progress_subscriber: definition('progress_subscriber'),
    evaluation_subscriber: definition('results_subscriber'),
    checkpoint_saving: definition('checkpoint_saving'),
    gradient_clipper: definition('gradient_clipper'),
    model_raw: definition('model'),
  }
  return document(required, { device_mesh: definition('device_mesh'), mfu_calculator: definition('mfu_calculator') })
}

/** JSON Schema of a packing configuration. */
export function packingJsonSchema(): JsonSchema {
  return document({ settings: fromZod(packSettings), tokenizer: definition('tokenizer') }, {})
}

/** Allows additional top-level names: components for references, or plain values. */
function document(required: Record<string, unknown>, optional: Record<string, unknown>): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: {
      anyOf: [
        ...Object.keys(modalitiesComponents).map(definition),
        { type: ['string', 'number', 'boolean', 'null', 'array'] },
        { type: 'object', properties: { component_key: false } },
      ],
    },
    $defs: DEFINITIONS,
  }
}

function definition(kind: string): JsonSchema {
  return { $ref: `#/$defs/${kind}` }
}

function componentSchema(kind: string): JsonSchema {
  const variants = Object.entries(modalitiesComponents[kind]!).map(([variant, { options, unsupported }]) => ({
    type: 'object',
    ...(unsupported === undefined ? {} : { description: `not supported: ${unsupported}` }),
    properties: { component_key: { const: kind }, variant_key: { const: variant }, config: fromZod(options) },
    required: ['component_key', 'variant_key', 'config'],
    additionalProperties: false,
  }))
  return { anyOf: [INTERPOLATION, { $ref: '#/$defs/reference' }, ...variants] }
}

function fromZod(schema: z.ZodType): JsonSchema {
  const { $schema: _, ...body } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any', override: adapt })
  return body
}

/**
 * Adapts the schema of an option: a part accepts its kinds of components, a preprocessed number is a number, and every value
 * may be an interpolation.
 */
function adapt({ zodSchema, jsonSchema }: { zodSchema: z.core.$ZodType; jsonSchema: Record<string, unknown> }): void {
  const kinds = componentKinds(zodSchema)
  if (kinds !== undefined) {
    replace(jsonSchema, { anyOf: kinds.filter(kind => kind in modalitiesComponents).map(definition) })
    return
  }
  if (zodSchema._zod.def.type === 'pipe') replace(jsonSchema, { type: 'number' })
  const { default: preset, ...plain } = jsonSchema
  if (Math.abs(Number(plain.minimum)) === Number.MAX_SAFE_INTEGER) delete plain.minimum
  if (plain.maximum === Number.MAX_SAFE_INTEGER) delete plain.maximum
  const isNumber = plain.type === 'number' || plain.type === 'integer'
  // Strings accept interpolations already, and the branches of a union are adapted one by one.
  if (plain.type === 'string' && !('enum' in plain) && !('const' in plain)) return
  if ('anyOf' in plain || 'oneOf' in plain || Object.keys(plain).length === 0) return
  const anyOf = [plain, INTERPOLATION, ...(isNumber ? [definition('number_conversion')] : [])]
  replace(jsonSchema, { anyOf, ...(preset === undefined ? {} : { default: preset }) })
}

function replace(target: Record<string, unknown>, content: Record<string, unknown>): void {
  for (const key of Object.keys(target)) delete target[key]
  Object.assign(target, content)
}
