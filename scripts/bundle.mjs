// Joins what the command line loads into few files: a command would otherwise spend half of its start on finding and
// reading 250 of them. The joined dist/cli/main.js takes the place of the compiler's; what it loads, and the workers that
// it starts, lie in dist/shared. The modules of the library stay as they are.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'src')
const output = join(root, 'dist')
/** Of the packages only those that every command loads; the others are found by Node when they are asked for. */
const JOINED = /^(zod|commander|msgpackr)(\/|$)/

const workers = readdirSync(join(source, 'stages')).filter(name => name.endsWith('-worker.ts'))
const entries = [
  ['cli/main', join(source, 'cli', 'main.ts')],
  ...workers.map(name => [`shared/${name.slice(0, -3)}`, join(source, 'stages', name)]),
]

/** Lets a module find the joined workers, and its other neighbours where the compiler put it. All files lie one folder deep. */
const places = {
  name: 'places',
  transform(code, id) {
    if (!id.startsWith(source) || !code.includes('import.meta.url')) return null
    const file = relative(source, id).replaceAll('\\', '/').replace(/\.ts$/, '.js')
    const own = `new URL('../${file}', import.meta.url).href`
    const moved = code.replace(/(?:new URL\('\.\/([a-z-]+-worker)\.js', )?import\.meta\.url/g, (found, worker) => {
      if (workers.includes(`${worker}.ts`)) return `new URL('../shared/${worker}.js', import.meta.url`
      return found.replace('import.meta.url', own)
    })
    return { code: moved, map: null }
  },
}

const bundle = await rolldown({
  input: Object.fromEntries(entries),
  cwd: root,
  platform: 'node',
  external: id => !isAbsolute(id) && !id.startsWith('.') && !JOINED.test(id),
  plugins: [places],
})
rmSync(join(output, 'shared'), { recursive: true, force: true })
const { output: files } = await bundle.write({
  dir: output,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'shared/[name]-[hash].js',
  sourcemap: true,
})

const modules = files.flatMap(file => (file.type === 'chunk' ? file.moduleIds : []))
const packages = new Set(modules.flatMap(id => /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(id)?.[0] ?? []))
const licences = [...packages].toSorted().map(folder => {
  const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry))
  return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
})
writeFileSync(join(output, 'shared', 'licences.txt'), licences.join('\n\n'))
