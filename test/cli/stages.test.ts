import { expect, it } from 'vitest'
import { describeStages } from '#src/cli/actions/describe'
import { exampleOf, exampleValue, optionAt, optionRows, optionSchema } from '#src/cli/actions/option-rows'
import { stageRegistry } from '#src/pipelines/registry'

const stages = Object.keys(stageRegistry)

it.each(stages)('describes every option of %s, with an example that the stage accepts', stage => {
  const { options } = stageRegistry[stage]!
  const schema = optionSchema(options)
  for (const { path, type } of optionRows(schema)) {
    expect(type, path).not.toBe('any')
    expect(optionAt(schema, path.replaceAll('[]', '').split('.')), path).toBeDefined()
  }
  expect(options.safeParse(exampleOf(schema)).error).toBeUndefined()
})

it('describes an object among the options', () => {
  const text = describeStages('feed-trainer.schedule', false)
  expect(text).toMatch(/^feed-trainer\.schedule: object, learning rate schedule\n/)
  expect(text).toMatch(/ {2}decay +cosine \| linear \|.*\(required\)/)
  expect(text).toMatch(/pct_start .*\(decay: onecycle\) \[0\.3\]/)
  expect(text).toContain('    - feed-trainer:\n        schedule:\n          decay: cosine\n')
})

it('describes a single option, also as JSON', () => {
  expect(describeStages('read-corpus.sources', false)).toContain('sources:\n          - SOURCES\n')
  expect(JSON.parse(describeStages('feed-trainer.batch_size', true))).toMatchObject({ type: 'integer', default: 8 })
})

it('lists the options of objects in arrays below the array', () => {
  const element = { type: 'object', properties: { name: { type: 'string' } }, required: ['name'] }
  const schema = { type: 'object', properties: { sets: { type: 'array', items: element } } }
  expect(optionRows(schema).map(row => row.path)).toEqual(['sets', 'sets[].name'])
  expect(exampleValue(schema.properties.sets, 'sets')).toEqual([{ name: 'NAME' }])
})

it('suggests the option that was probably meant', () => {
  expect(() => describeStages('feed-trainer.modl', false)).toThrow('did you mean model?')
  expect(() => describeStages('feed-trainer.model.layer', false)).toThrow('did you mean model.layers?')
})
