// biome-ignore-all lint/suspicious/noTemplateCurlyInString: interpolations are what is tested
/** Parsing and interpolation. OmegaConf 2.4 produced the expected values from the same text. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { interpolate } from '#src/modalities/yaml/interpolate'
import { pythonYaml } from '#src/modalities/yaml/python-yaml'
import { parseYamlTree, pyYamlScalar, type TreeNode } from '#src/modalities/yaml/yaml-tree'

const template = readFileSync(new URL('../training.yaml', import.meta.url), 'utf8')

function plain(node: TreeNode): unknown {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(plain)
  return Object.fromEntries([...node.entries].map(([key, value]) => [key, plain(value)]))
}

const parsed = (text: string) => plain(parseYamlTree(text, 'file.yaml'))
const resolvers = { env: (name: string) => (name === 'x' ? 3 : undefined) }
const resolved = (text: string) => plain(interpolate(parseYamlTree(text, 'file.yaml'), 'file.yaml', resolvers))
const refusal = (where: object) =>
  expect.objectContaining({ code: 'CONFIG_INVALID', where: expect.objectContaining({ file: 'file.yaml', ...where }) })

describe('parseYamlTree', () => {
  it('reads scalars as OmegaConf does', () => {
    const scalars =
      'yes, 0o7, 017, 0x1F, 0b11, 1_000, 1e-5, 1.5e3, .5, 1:30, 2024-01-01, ~, "5", on, .inf, 5.0, 1e5, -3, +4, 08, 1., NO, n, y, "", null, 1e+3, 1_0.5, 0_7, -017, 1e5x, -.inf'
    expect(parsed(`x: [${scalars}]`)).toEqual({
      x: [true, '0o7', 15, 31, 3, 1000, 1e-5, 1500, 0.5, 90, '2024-01-01', null, '5', true, Infinity, 5, 100000].concat(
        [-3, 4, '08', 1, false, 'n', 'y', '', null, 1000, 10.5, 7, -15, '1e5x', -Infinity] as never,
      ),
    })
  })

  it('distinguishes integers and floats', () => {
    const { entries } = parseYamlTree('a: 5\nb: 5.0\nc: "5"', 'file.yaml')
    expect([...entries.values()].map(node => node.kind === 'scalar' && node.type)).toEqual(['integer', 'float', 'text'])
  })

  it('resolves aliases and merge keys; explicit keys take precedence', () => {
    expect(parsed('base: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\nd: *b')).toEqual({
      base: { x: 1, y: 2 },
      c: { x: 1, y: 3 },
      d: { x: 1, y: 2 },
    })
  })

  it.each([
    ['a: 1\nb: 2\na: 3', { line: 3, column: 1 }],
    ['a:\n\t- 1', { line: 2, column: 1 }],
    ['a: !!python/object:os.system x', { line: 1, column: 4 }],
    ['a: !mine x', { line: 1, column: 4 }],
    ['a: *nowhere', { line: 1, column: 4 }],
    ['a: &a [*a]', {}],
    ['- 1\n- 2', { line: 1, column: 1 }],
    ['', { line: 1, column: 1 }],
    ['a: 1\n---\nb: 2', { line: 2, column: 1 }],
    ['a: [1', {}],
    ['? [1, 2]\n: 3', { line: 1, column: 3 }],
  ])('rejects %j', (text, where) => {
    expect(() => parsed(text)).toThrow(refusal(where))
  })

  it.each([
    ['aliases that multiply', bomb()],
    ['deeply nested brackets', `a: ${'['.repeat(100_000)}`],
    ['deeply nested lists', `${'- '.repeat(100_000)}x`],
    ['deeply nested mappings', Array.from({ length: 1000 }, (_, depth) => `${' '.repeat(depth)}a:`).join('\n')],
    ['a huge string', `a: "${'x'.repeat(5_000_000)}"`],
    ['many lines', 'a:\n'.repeat(200_000)],
    ['a long flow of keys', `a: {${Array.from({ length: 19_000 }, (_, at) => `k${at}: [1]`).join(',')}}`],
    ['too many values', `a: [${'1,'.repeat(200_000)}]`],
  ])('rejects %s quickly', (_, text) => {
    const started = performance.now()
    expect(() => parsed(text)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
    expect(performance.now() - started).toBeLessThan(10_000)
  })

  it('does not modify prototypes', () => {
    const tree = parseYamlTree('__proto__: {polluted: 1}\nconstructor: {prototype: {polluted: 1}}', 'file.yaml')
    expect([...tree.entries.keys()]).toEqual(['__proto__', 'constructor'])
    plain(interpolate(tree, 'file.yaml', {}))
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })
})

function bomb(): string {
  const levels = 'bcdefghij'.split('')
  const lines = levels.map((name, at) => `${name}: &${name} [${Array(9).fill(`*${'abcdefghij'[at]}`).join(',')}]`)
  return ['a: &a [x,x,x,x,x,x,x,x,x]', ...lines].join('\n')
}

describe('interpolate', () => {
  it('resolves as OmegaConf does', () => {
    const text = `
a: 1
b: \${a}
c: "x\${a}y \${b}"
d:
  e: \${c}
  f: \${.e}
  g: \${..a}
h: \${d}
i: \${h.e}
j: [1, "\${j[0]}"]
k: \${env:x}
l: "\${env: x}0"
m: '\\\${a}'
n: "t\${o}"
o: 1e-5
p: \${\${q}}
q: a
s: "\${t}|\${u}|\${v}|\${w}"
t: true
u: null
v: 1e20
w: 3.0`
    expect(resolved(text)).toEqual({
      ...{ a: 1, b: 1, c: 'x1y 1', d: { e: 'x1y 1', f: 'x1y 1', g: 1 }, h: { e: 'x1y 1', f: 'x1y 1', g: 1 } },
      ...{ i: 'x1y 1', j: [1, 1], k: 3, l: '30', m: '${a}', n: 't1e-05', o: 1e-5, p: 1, q: 'a' },
      ...{ s: 'True|None|1e+20|3.0', t: true, u: null, v: 1e20, w: 3 },
    })
  })

  it.each([
    ['a: ${b}\nb: ${a}', { line: 1, column: 4, path: 'a' }],
    ['a:\n  b: ${a}', {}],
    ['a: x\nb: ${a.c}', { line: 2, column: 4, path: 'b' }],
    ['a: ${nothing}', { line: 1, column: 4 }],
    ['a: ${env:SECRET}', { line: 1, column: 4 }],
    ['a: ${oc.env:HOME}', { line: 1, column: 4 }],
    ['a: "${b"', { line: 1, column: 4 }],
    ['a: {x: 1}\nb: "t${a}"', { line: 2, column: 4 }],
  ])('rejects %j', (text, where) => {
    expect(() => resolved(text)).toThrow(refusal(where))
  })

  it('limits the growth by interpolation', () => {
    const lines = Array.from({ length: 40 }, (_, level) =>
      level === 0 ? 'b0: [1, 1]' : `b${level}: ["\${b${level - 1}}", "\${b${level - 1}}"]`,
    )
    expect(() => resolved(lines.join('\n'))).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })

  it('suggests the nearest key', () => {
    expect(() => resolved('s:\n  n_layer: 2\nx: ${s.n_layers}')).toThrow(/did you mean n_layer\?/)
  })
})

describe('pythonYaml', () => {
  it('writes what PyYAML 6.0 writes, byte for byte', () => {
    // Output of yaml.dump(..., sort_keys=False) for strings that need quotes, escapes or folding, numbers and nested lists.
    const text = readFileSync(new URL('pyyaml-dump.txt', import.meta.url), 'utf8')
    expect(pythonYaml(parseYamlTree(text, 'file.yaml', pyYamlScalar), { sortKeys: false })).toBe(text)
  })

  it('round-trips with types', () => {
    const text = 'f: 5.0\ni: 5\ns: "5"\nb: "yes"\ne: 1e-8\nn: null\nl:\n- a: 1\n- []\nk: {}\n"true": x\nt: "a: b # c"\n'
    const tree = parseYamlTree(text, 'file.yaml')
    const again = parseYamlTree(pythonYaml(tree, { sortKeys: true }), 'file.yaml')
    const types = (node: TreeNode): unknown =>
      node.kind === 'scalar'
        ? `${node.type} ${String(node.value)}`
        : node.kind === 'list'
          ? node.items.map(types)
          : Object.fromEntries([...node.entries].map(([key, value]) => [key, types(value)]))
    expect(types(again)).toEqual(types(tree))
    expect(
      plain(parseYamlTree(pythonYaml(parseYamlTree(template, 'file.yaml'), { sortKeys: true }), 'file.yaml')),
    ).toEqual(parsed(template))
  })
})
