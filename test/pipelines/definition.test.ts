import { describe, expect, it } from 'vitest'
import { checkDefinition, definitionOf, readDefinition, withStageOptions } from '#src/pipelines/index'

/** The error of a definition, with its position as `line:column path`. */
function errorOf(text: string, overrides = {}): { code: string; place: string; message: string } {
  try {
    checkDefinition(readDefinition(text, 'x.yaml', overrides))
  } catch (error) {
    const { code, message, where } = error as { code: string; message: string; where: Record<string, unknown> }
    expect(where.file).toBe('x.yaml')
    return { code, message, place: `${where.line}:${where.column} ${where.path ?? ''}`.trim() }
  }
  throw new Error('no error')
}

const index = (options: string): string => `stages:
  - read-file: { path: in.jsonl }
  - read-lines
  - write-index: ${options}
`

describe('a definition', () => {
  it('becomes steps with options, and variables keep their types', () => {
    const text = `
variables: { folder: data, lines: 10, name: "\${folder}/x" }
stages:
  - read-file: { path: "\${name}.jsonl" }
  - read-lines: { limit: "\${lines}" }
  - write-index: { path: "\${name}.idx" }
`
    const [pipeline] = checkDefinition(readDefinition(text, 'x.yaml', { lines: 3 }))
    const options = pipeline!.chain.steps.map(step => step.options)
    expect(options[0]).toMatchObject({ path: 'data/x.jsonl', compression: 'auto' })
    expect(options[1]).toMatchObject({ limit: 3, source: 'data/x.jsonl' })
    expect(options[2]).toMatchObject({ path: 'data/x.idx', if_exists: 'error' })
  })

  it.each([
    ['invalid YAML', 'stages: [', 'CONFIG_INVALID', '1:10'],
    ['an unknown top-level key', 'stage: []', 'CONFIG_INVALID', '1:1 stage'],
    ['no pipelines', 'name: x', 'CONFIG_INVALID', '1:1'],
    ['an unknown stage', 'stages:\n  - read-lnes', 'STAGE_UNKNOWN', '2:5 stages[0]'],
    [
      'an unknown option',
      index('{ path: out.idx, overwrite: yes }'),
      'CONFIG_INVALID',
      '4:35 stages[2].write-index.overwrite',
    ],
    ['a missing option', index('{}'), 'CONFIG_INVALID', '4:18 stages[2].write-index.path'],
    ['an option of the wrong type', index('{ path: 5 }'), 'CONFIG_INVALID', '4:26 stages[2].write-index.path'],
    [
      'a wrong choice',
      index('{ path: x, if_exists: maybe }'),
      'CONFIG_INVALID',
      '4:40 stages[2].write-index.if_exists',
    ],
    // biome-ignore lint/suspicious/noTemplateCurlyInString: a variable of a definition
    ['an unknown variable', index('{ path: "${out}" }'), 'CONFIG_INVALID', '4:26 stages[2].write-index.path'],
    ['mismatched stages', 'stages:\n  - read-file: { path: a }\n  - validate-json', 'STAGES_MISFIT', '3:5 stages[1]'],
    [
      'a source in the middle',
      'stages:\n  - read-file: { path: a }\n  - read-file: { path: b }',
      'STAGES_MISFIT',
      '3:16 stages[1].read-file',
    ],
    ['a missing sink', 'stages:\n  - read-file: { path: a }\n  - read-lines', 'STAGES_MISFIT', '2:3 stages'],
    [
      'an output that is the input',
      index('{ path: in.jsonl, if_exists: override }'),
      'FILE_IS_SOURCE',
      '4:18 stages[2].write-index',
    ],
    [
      'a fork before the end',
      'stages:\n  - read-file: { path: a }\n  - fork: [[read-lines], [read-lines]]\n  - read-lines',
      'CONFIG_INVALID',
      '3:5 stages[1]',
    ],
  ])('is rejected for %s, with its position', (_name, text, code, place) => {
    expect(errorOf(text)).toMatchObject({ code, place })
  })

  it('is rejected with a suggestion', () => {
    expect(errorOf('stages:\n  - read-lnes').message).toContain('did you mean read-lines?')
    expect(errorOf(index('{ pth: x }')).message).toContain('did you mean path?')
    expect(errorOf(index('{}')).message).toContain('requires the option path')
    expect(errorOf(index('{ path: x, if_exist: skip }')).message).toContain('did you mean if_exists?')
    expect(errorOf(index('{ path: 5 }')).message).toBe('option path of write-index: expected a string, found 5')
  })

  it.each([
    [
      'exponential aliases',
      `a: &a [x,x,x,x,x,x,x,x,x,x]\n${'bcdefghij'
        .split('')
        .map((key, i) => `${key}: &${key} [${`*${'abcdefghi'[i]},`.repeat(10)}]`)
        .join('\n')}`,
    ],
    ['deeply nested lists', `stages: ${'['.repeat(100_000)}`],
    ['deeply nested maps', Array.from({ length: 5000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
    ['a huge size', `stages: [${'x, '.repeat(500_000)}]`],
  ])('is rejected for %s within a second', (_name, text) => {
    const started = performance.now()
    expect(errorOf(text).code).toBe('CONFIG_INVALID')
    expect(performance.now() - started).toBeLessThan(1000)
  })

  // biome-ignore-start lint/suspicious/noTemplateCurlyInString: file names that look like variables of a definition
  const pathOf = (text: string, variables = {}): unknown =>
    readDefinition(text, 'test.yaml', variables).pipelines[0]!.chain.steps[0]!.options.path

  it('has $${name} for the text ${name}', () => {
    expect(pathOf('variables: { a: b }\nstages: [{ read-file: { path: "$${a}-${a}-$5-${a}" } }]')).toBe('${a}-b-$5-b')
    expect(pathOf('stages: [{ read-file: { path: "$${a}" } }]')).toBe('${a}')
  })

  it('takes ${name} literally in overrides, and in definitions by programs without variables', () => {
    const text = 'variables: { a: b }\nstages: [{ read-file: { path: "${a}" } }]'
    expect(pathOf(text, { a: 'x${a}' })).toBe('x${a}')
    const { pipelines } = definitionOf({ stages: [{ 'read-file': { path: '${x}.jsonl' } }] })
    expect(pipelines[0]!.chain.steps[0]!.options.path).toBe('${x}.jsonl')
  })
  // biome-ignore-end lint/suspicious/noTemplateCurlyInString: file names that look like variables of a definition

  it('cannot set a prototype', () => {
    expect(errorOf('__proto__: { polluted: 1 }\nstages: [read-lines]').code).toBe('CONFIG_INVALID')
    expect(errorOf(index('{ path: x, __proto__: { polluted: 1 } }')).code).toBe('CONFIG_INVALID')
    expect(errorOf('stages:\n  - constructor: { a: 1 }').code).toBe('STAGE_UNKNOWN')
    expect(({} as Record<string, unknown>).polluted).toBeUndefined()
  })

  it('accepts options set by a program', () => {
    const definition = withStageOptions(readDefinition(index('{ path: a.idx }'), 'x.yaml'), 'write-index', {
      path: 'b.idx',
    })
    expect(checkDefinition(definition)[0]!.chain.steps[2]!.options.path).toBe('b.idx')
    expect(() => withStageOptions(definition, 'feed-trainer', {})).toThrow('no stage feed-trainer')
  })
})
