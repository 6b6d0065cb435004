// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations are what is tested
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { modalitiesComponents } from '#src/modalities/components/components'
import { packingJsonSchema, trainingJsonSchema } from '#src/modalities/json-schema'

const text = readFileSync(new URL('training.yaml', import.meta.url), 'utf8')
const accepts = (schema: object, value: unknown) => z.fromJSONSchema(schema as never).safeParse(value).success
const yaml = (source: string): unknown => parse(source, { version: '1.1', merge: true })

describe('trainingJsonSchema', () => {
  const schema = trainingJsonSchema()

  it('accepts a valid configuration', () => {
    expect(accepts(schema, yaml(text))).toBe(true)
  })

  it.each([
    ['n_layer: 2', 'n_layers: 2'],
    ['n_layer: 2', 'n_layer: two'],
    ['norm_type: P2_NORM', 'norm_type: p2'],
    ['num_workers: 0', 'num_workers: -1'],
    ['training_log_interval_in_steps: 2', 'training_log_interval: 2'],
    ['variant_key: adam_w', 'variant_key: adamw'],
    ['betas: [0.9, 0.95]', 'betas: [0.9]'],
    ['loss_fn:', 'lossfn:'],
  ])('rejects %j -> %j', (from, to) => {
    expect(accepts(schema, yaml(text.replace(from, to)))).toBe(false)
  })

  it('covers every component', () => {
    const definitions = schema.$defs as Record<string, { anyOf: unknown[] }>
    for (const [kind, variants] of Object.entries(modalitiesComponents)) {
      expect(definitions[kind]!.anyOf.length).toBe(Object.keys(variants).length + 2)
    }
  })
})

describe('packingJsonSchema', () => {
  const file = {
    settings: {
      ...{ src_path: 'a', jq_pattern: '.text', eod_token: 'x', num_cpus: '${node_env:num_cpus}' },
      ...{ processing_batch_size: 1, raw_samples_queue_size: 1, processed_samples_queue_size: 1 },
    },
    tokenizer: {
      component_key: 'tokenizer',
      variant_key: 'pretrained_hf_tokenizer',
      config: { pretrained_model_name_or_path: 'x', padding: false },
    },
  }

  it('accepts a packing file and rejects a misspelt key', () => {
    expect(accepts(packingJsonSchema(), file)).toBe(true)
    expect(accepts(packingJsonSchema(), { ...file, settings: { ...file.settings, jq: '.x' } })).toBe(false)
  })
})
