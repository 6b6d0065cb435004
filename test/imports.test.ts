/** Arrows between the folders of src point one way, and the pure folders know nothing of Node. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SRC = resolve(dirname(fileURLToPath(import.meta.url)), '../src')

/** What the files of each folder may import, beside their own folder. `errors.ts` is open to all. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'errors.ts': [],
  formats: [],
  tokenizer: ['formats'],
  sampling: ['formats'],
  training: ['formats', 'tokenizer', 'sampling'],
  stages: ['formats', 'tokenizer', 'sampling', 'training'],
  monitoring: ['formats', 'training', 'stages'],
  pipelines: ['formats', 'tokenizer', 'sampling', 'training', 'monitoring', 'stages'],
  integrity: ['formats', 'training', 'stages', 'pipelines'],
  cli: ['formats', 'tokenizer', 'sampling', 'training', 'monitoring', 'stages', 'pipelines', 'integrity'],
  'index.ts': ['formats', 'tokenizer', 'sampling', 'training', 'monitoring', 'stages', 'pipelines', 'integrity'],
}
const PURE = ['errors.ts', 'formats', 'tokenizer', 'sampling']

interface Import {
  readonly from: string
  readonly to: string
}

const room = (file: string): string => relative(SRC, file).split(/[\\/]/)[0]!

function importsIn(folder: string): Import[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry =>
    entry.name.endsWith('.ts'),
  )
  return files.flatMap(entry => {
    const from = join(entry.parentPath, entry.name)
    const text = readFileSync(from, 'utf8')
    return [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(match => ({ from, to: match[1]! }))
  })
}

const imports = importsIn(SRC)
const local = imports
  .filter(({ to }) => to.startsWith('.'))
  .map(({ from, to }) => ({ from, to: resolve(dirname(from), to.replace(/\.js$/, '.ts')) }))
const name = ({ from, to }: Import): string => `${relative(SRC, from)} -> ${relative(SRC, to)}`

describe('imports in src', () => {
  it('are found at all', () => {
    expect(local.length).toBeGreaterThan(100)
    expect(new Set(local.map(({ from }) => room(from)))).toContain('stages')
  })

  it('point from the edges to the core only', () => {
    const wrong = local.filter(({ from, to }) => {
      const target = room(to)
      return target !== room(from) && target !== 'errors.ts' && !MAY_IMPORT[room(from)]?.includes(target)
    })
    expect(wrong.map(name)).toEqual([])
  })

  it('never go to the public face', () => {
    expect(local.filter(({ to }) => to === join(SRC, 'index.ts')).map(name)).toEqual([])
  })

  it('bring no Node module into a pure folder', () => {
    const wrong = imports.filter(({ from, to }) => PURE.includes(room(from)) && to.startsWith('node:'))
    expect(wrong.map(({ from, to }) => `${relative(SRC, from)} -> ${to}`)).toEqual([])
  })
})
