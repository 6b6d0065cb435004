/**
 * JSON Schema of definitions, for completion and inline errors in editors. Generated from the schemas that validate the
 * options of each stage and sink. `${name}` is allowed in place of any value.
 */
import * as z from 'zod'
import { sinkSchemas } from '../monitoring/options.js'
import { type StageRegistry, stageRegistry } from './registry.js'

type JsonSchema = Record<string, unknown>

const VARIABLE = { type: 'string', pattern: '\\$\\{' }
const steps = { $ref: '#/$defs/steps' }

export function definitionJsonSchema(registry: StageRegistry = stageRegistry): JsonSchema {
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    oneOf: [
      definitionWith('stages', steps),
      definitionWith('pipelines', { type: 'object', additionalProperties: steps }),
    ],
    $defs: {
      steps: { type: 'array', minItems: 1, items: { $ref: '#/$defs/step' } },
      branches: { type: 'array', minItems: 2, items: steps },
      step: { anyOf: [{ enum: Object.keys(registry) }, stepWithOptions(registry)] },
    },
  }
}

function definitionWith(key: string, content: JsonSchema): JsonSchema {
  return {
    type: 'object',
    properties: {
      name: { type: 'string' },
      description: { type: 'string' },
      variables: { type: 'object', additionalProperties: { type: ['string', 'number', 'boolean'] } },
      monitoring: monitoringSchema(),
      [key]: content,
    },
    required: [key],
    additionalProperties: false,
  }
}

function stepWithOptions(registry: StageRegistry): JsonSchema {
  const stages = Object.entries(registry).map(([name, { summary, options }]) => [
    name,
    { ...optionsSchema(options), description: summary },
  ])
  const branches = { $ref: '#/$defs/branches' }
  return {
    type: 'object',
    properties: { ...Object.fromEntries(stages), merge: branches, fork: branches },
    minProperties: 1,
    maxProperties: 1,
    additionalProperties: false,
  }
}

function monitoringSchema(): JsonSchema {
  const sinks = Object.entries(sinkSchemas).map(([name, options]) => [
    name,
    { anyOf: [optionsSchema(options), { type: ['boolean', 'null'] }] },
  ])
  return {
    type: 'object',
    properties: { folder: { type: 'string' }, ...Object.fromEntries(sinks) },
    additionalProperties: false,
  }
}

function optionsSchema(options: z.ZodType): JsonSchema {
  const { $schema: _, ...schema } = z.toJSONSchema(options, { io: 'input' })
  return withVariables(schema as JsonSchema)
}

/** The schema with `${name}` allowed in place of each nested value. */
function withVariables({ properties, ...schema }: JsonSchema): JsonSchema {
  if (properties === undefined) return schema
  const open = Object.entries(properties as Record<string, JsonSchema>).map(([name, inner]) => {
    const { description, default: preset, ...value } = withVariables(inner)
    const about = {
      ...(description === undefined ? {} : { description }),
      ...(preset === undefined ? {} : { default: preset }),
    }
    return [name, value.type === 'string' && value.enum === undefined ? inner : { anyOf: [value, VARIABLE], ...about }]
  })
  return { ...schema, properties: Object.fromEntries(open) }
}
