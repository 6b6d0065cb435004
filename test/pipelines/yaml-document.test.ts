/** Rejection of hostile YAML in definitions; `modalities/yaml.test.ts` has the tests for Modalities' configurations. */
import { describe, expect, it } from 'vitest'
import { readDefinition } from '#src/pipelines/read-definition'

describe('a definition', () => {
  it.each([
    ['a duplicate key', 'stages:\n  - read-file: { path: a, path: b }', { line: 2, column: 27 }],
    ['a tag', 'stages: !!python/object:os.system x', { line: 1, column: 9 }],
    ['exponential aliases', `a: &a [x, x]\nb: &b [*a, *a]\n${bomb()}`, {}],
    ['forty thousand keys', `a: {${Array.from({ length: 40_000 }, (_, at) => `k${at}: 1`).join(',')}}`, { line: 1 }],
    ['deeply nested brackets', `a: ${'['.repeat(100_000)}`, { line: 1 }],
    ['deeply nested lists', `${'- '.repeat(100_000)}x`, {}],
  ])('is rejected immediately for %s', (_name, text, where) => {
    const started = performance.now()
    expect(() => readDefinition(text, 'hostile.yaml')).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        where: expect.objectContaining({ file: 'hostile.yaml', ...where }),
      }),
    )
    expect(performance.now() - started).toBeLessThan(10_000)
  })
})

function bomb(): string {
  const letters = 'bcdefghij'
  return [...letters.slice(1)].map((letter, at) => `${letter}: &${letter} [${`*${letters[at]},`.repeat(9)}]`).join('\n')
}
