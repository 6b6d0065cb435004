/** Imports between the folders of src point one way, no files import each other in a cycle, and pure folders do not use Node. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SRC = resolve(dirname(fileURLToPath(import.meta.url)), '../src')

/** Folders that the files of each folder may import, besides their own. `errors.ts` is open to all. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  'errors.ts': [],
  formats: [],
  sampling: ['formats'],
  tokenizer: ['formats'],
  monitoring: ['formats'],
  files: ['formats'],
  workers: ['formats', 'tokenizer', 'files'],
  training: ['formats', 'sampling', 'files'],
  stages: ['formats', 'sampling', 'tokenizer', 'files', 'workers', 'training'],
  pipelines: ['formats', 'sampling', 'tokenizer', 'monitoring', 'files', 'workers', 'training', 'stages'],
  modalities: ['formats', 'sampling', 'tokenizer', 'monitoring', 'files', 'workers', 'training', 'stages', 'pipelines'],
  integrity: ['formats', 'sampling', 'tokenizer', 'files', 'workers', 'training', 'stages', 'pipelines'],
  cluster: ['formats', 'files', 'pipelines'],
}
MAY_IMPORT.cli = Object.keys(MAY_IMPORT)
MAY_IMPORT['index.ts'] = Object.keys(MAY_IMPORT).filter(folder => folder !== 'cli')

/** Pairs of folders inside `src/cli`: what runs a command must not know the command. */
const CLI_BELOW_COMMANDS = ['actions', 'plan', 'output', 'modalities']
const PURE = ['errors.ts', 'formats', 'tokenizer', 'sampling']
const MAX_FILES = 25

interface Import {
  readonly from: string
  readonly to: string
}

const partsOf = (file: string): string[] => relative(SRC, file).split(/[\\/]/)
const topOf = (file: string): string => partsOf(file)[0]!

const files = readdirSync(SRC, { recursive: true, withFileTypes: true })
  .filter(entry => entry.name.endsWith('.ts'))
  .map(entry => join(entry.parentPath, entry.name))

const imports: Import[] = files.flatMap(from =>
  [...readFileSync(from, 'utf8').matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(match => ({
    from,
    to: match[1]!,
  })),
)
const local = imports
  .filter(({ to }) => to.startsWith('.'))
  .map(({ from, to }) => ({ from, to: resolve(dirname(from), to.replace(/\.js$/, '.ts')) }))
const name = ({ from, to }: Import): string => `${relative(SRC, from)} -> ${relative(SRC, to)}`

/** Groups of files that reach each other through static and dynamic imports (Tarjan's algorithm). */
function cycles(): string[][] {
  const next = new Map<string, string[]>(files.map(file => [file, []]))
  for (const { from, to } of local) next.get(from)?.push(to)
  const order = new Map<string, number>()
  const lowest = new Map<string, number>()
  const stack: string[] = []
  const found: string[][] = []
  const visit = (file: string): void => {
    order.set(file, order.size)
    lowest.set(file, order.get(file)!)
    stack.push(file)
    for (const to of next.get(file) ?? []) {
      if (!order.has(to)) visit(to)
      if (stack.includes(to)) lowest.set(file, Math.min(lowest.get(file)!, lowest.get(to)!))
    }
    if (lowest.get(file) !== order.get(file)) return
    const group = stack.splice(stack.indexOf(file))
    if (group.length > 1) found.push(group.map(member => relative(SRC, member)))
  }
  for (const file of files) if (!order.has(file)) visit(file)
  return found
}

/** Imports that run with the file: neither dynamic ones nor those of types. */
const staticImports = (file: string): string[] =>
  [...readFileSync(file, 'utf8').matchAll(/^(?:import (?!type\b)|export [*{])[^;]*?from\s+'([^']+)'/gm)].map(
    match => match[1]!,
  )
const loadedBy = (file: string): { to: string }[] =>
  staticImports(file)
    .filter(to => to.startsWith('.'))
    .map(to => ({ to: resolve(dirname(file), to.replace(/\.js$/, '.ts')) }))
const loadsPackage = (file: string, start: string): boolean => staticImports(file).some(to => to.startsWith(start))

describe('imports in src', () => {
  it('are found', () => {
    expect(local.length).toBeGreaterThan(100)
    expect(new Set(local.map(({ from }) => topOf(from)))).toContain('stages')
  })

  it('point from the edges to the core only', () => {
    const wrong = local.filter(({ from, to }) => {
      const target = topOf(to)
      return target !== topOf(from) && target !== 'errors.ts' && !MAY_IMPORT[topOf(from)]?.includes(target)
    })
    expect(wrong.map(name)).toEqual([])
  })

  it('lead from no action to a command', () => {
    const wrong = local.filter(({ from, to }) => {
      const [top, folder = ''] = partsOf(from)
      return top === 'cli' && CLI_BELOW_COMMANDS.includes(folder) && partsOf(to)[1] === 'commands'
    })
    expect(wrong.map(name)).toEqual([])
  })

  it('load TensorFlow.js only in the threads that compute', () => {
    const reached = new Set<string>()
    const visit = (file: string): void => {
      if (reached.has(file)) return
      reached.add(file)
      for (const { to } of loadedBy(file)) visit(to)
    }
    for (const file of ['stages/feed-trainer/run.ts', 'training/open-engine.ts', 'training/tfjs/engine.ts'])
      visit(join(SRC, file))
    expect(reached).toContain(join(SRC, 'training/tfjs/threaded-learner.ts'))
    const loading = [...reached].filter(file => loadsPackage(file, '@tensorflow/'))
    expect(loading.map(file => relative(SRC, file))).toEqual([])
  })

  it('form no cycle between files', () => {
    expect(cycles()).toEqual([])
  })

  it('never name the public index', () => {
    expect(local.filter(({ to }) => to === join(SRC, 'index.ts')).map(name)).toEqual([])
  })

  it('name no Node module in a pure folder', () => {
    const wrong = imports.filter(({ from, to }) => PURE.includes(topOf(from)) && to.startsWith('node:'))
    expect(wrong.map(({ from, to }) => `${relative(SRC, from)} -> ${to}`)).toEqual([])
  })
})

describe('folders of src', () => {
  it(`hold at most ${MAX_FILES} files`, () => {
    const counts = new Map<string, number>()
    for (const file of files) counts.set(dirname(file), (counts.get(dirname(file)) ?? 0) + 1)
    const large = [...counts].filter(([, count]) => count > MAX_FILES)
    expect(large.map(([folder]) => relative(SRC, folder))).toEqual([])
  })
})
