import { describe, expect, it } from 'vitest'
import * as z from 'zod'
import { describeIssue } from '#src/formats/option-issue'
import { checkDefinition, definitionOf, stageRegistry } from '#src/pipelines/index'
import { parseOptions } from '#src/stages/stream/stage-options'
import { parseTraining } from '#src/training/options'

const schema = z.strictObject({
  name: z.string().min(1).optional(),
  count: z.int().positive().max(9).optional(),
  even: z.number().multipleOf(2).optional(),
  kind: z.enum(['list', 'map']).optional(),
  size: z.union([z.literal('auto'), z.int()]).optional(),
  paths: z.array(z.string()).min(1).optional(),
  inner: z.strictObject({ depth: z.number() }).optional(),
})

function messageFor(options: unknown): string {
  const { error } = schema.safeParse(options)
  return describeIssue(error!.issues, options, schema, 'pump').message
}

describe('an invalid option', () => {
  it.each([
    [{ name: 5 }, 'option name of pump: expected a string, found 5'],
    [{ name: '' }, 'option name of pump: expected a string that is not empty, found ""'],
    [{ count: 0 }, 'option count of pump: expected more than 0, found 0'],
    [{ count: 10 }, 'option count of pump: expected at most 9, found 10'],
    [{ count: 1.5 }, 'option count of pump: expected an integer, found 1.5'],
    [{ count: Number.NaN }, 'option count of pump: expected a number, found NaN'],
    [{ even: 3 }, 'option even of pump: expected a multiple of 2, found 3'],
    [{ kind: 'lst' }, 'option kind of pump: expected one of list, map, found "lst"; did you mean list?'],
    [{ size: 1.5 }, 'option size of pump: expected "auto" or an integer, found 1.5'],
    [{ paths: [] }, 'option paths of pump: expected a list that is not empty, found a list'],
    [{ paths: ['a', 1] }, 'option paths.1 of pump: expected a string, found 1'],
    [{ inner: {} }, 'pump requires the option inner.depth: expected a number'],
    [{ inner: { dept: 1 } }, 'unknown option dept of pump; did you mean depth?'],
    [{ nme: 'x' }, 'unknown option nme of pump; did you mean name?'],
    [7, 'expected the options of pump as a map, found 7'],
    [null, 'expected the options of pump as a map, found null'],
  ])('%j names option, expected and found', (options, message) => {
    expect(messageFor(options)).toBe(message)
  })
})

const ZOD_WORDS = /Invalid (input|option)|Too (small|big)|Unrecognized|received/

function messageOf(check: () => unknown): string {
  try {
    check()
    return ''
  } catch (error) {
    return (error as Error).message
  }
}

describe.each(Object.entries(stageRegistry))('options of %s', (name, { options }) => {
  const keys = Object.keys((options as z.ZodObject).shape ?? {})
  it.each(keys.length === 0 ? ['other'] : keys)('with a wrong %s are explained in our words', key => {
    for (const value of [{}, [], '', -1.5, Number.NaN, true, null, () => 1]) {
      for (const check of [
        () => parseOptions(options as z.ZodType, { [key]: value }, name),
        () => checkDefinition(definitionOf({ stages: [{ [name]: { [key]: value } }] })),
      ]) {
        expect(messageOf(check)).not.toMatch(ZOD_WORDS)
      }
    }
  })
})

it('options of a training are explained in our words', () => {
  expect(() => parseTraining({ steps: -1 })).toThrow(/option steps of the training: expected .*, found -1/)
})
