import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import * as z from 'zod'
import { definitionJsonSchema } from '#src/pipelines/definition-schema'

const configs = new URL('../../configs/', import.meta.url)
const accepts = (value: unknown) => z.fromJSONSchema(definitionJsonSchema() as never).safeParse(value).success

describe('definitionJsonSchema', () => {
  it.each(readdirSync(configs))('accepts configs/%s', name => {
    expect(accepts(parse(readFileSync(new URL(name, configs), 'utf8')))).toBe(true)
  })

  const reading = (options: object, more: object = {}) => ({ stages: [{ 'read-file': options }], ...more })
  it.each([
    ['a misspelt option', reading({ pth: 'x' })],
    ['a missing option', reading({})],
    ['a wrong type', reading({ path: 'x', chunk_bytes: 'many' })],
    ['an unknown stage', { stages: ['read-files'] }],
    ['two stages in one step', { stages: [{ 'read-lines': {}, 'validate-json': {} }] }],
    ['neither stages nor pipelines', { name: 'x' }],
    ['an unknown sink', reading({ path: 'x' }, { monitoring: { tensorbord: {} } })],
  ])('rejects %s', (_name, value) => {
    expect(accepts(value)).toBe(false)
  })

  it('allows a variable in place of a value', () => {
    expect(accepts(reading({ path: 'x', chunk_bytes: `\${size}` }))).toBe(true)
  })
})
