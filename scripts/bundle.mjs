// Joins what the command line loads into few files: a command would otherwise spend half of its start on finding and
// reading 250 of them. The joined dist/cli/main.js takes the place of the compiler's; what it loads, and the workers that
// it starts, lie in dist/shared. The modules of the library stay as they are.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'src')
const output = join(root, 'dist')
const MAIN = sourceOf('cli/main')
/** Of the packages only those that every command loads; the others are found by Node when they are asked for. */
const JOINED = /^(zod|commander|msgpackr)(\/|$)/

/** Modules of the data workers by file name; the trainer's own workers are not joined. */
const workers = new Map(
  readdirSync(join(source, 'workers'), { recursive: true })
    .filter(name => name.endsWith('-worker.ts'))
    .map(name => [basename(name, '.ts'), `workers/${name.replaceAll('\\', '/').slice(0, -3)}`]),
)

/**
 * What is loaded together lies together: the start of any command, a pass over a file, then a run. Each is given by the
 * modules that it begins with and has all that they import, but for what an earlier one has.
 */
const STEPS = {
  start: ['cli/main'],
  pass: ['cli/actions/start-ranges'],
  run: ['pipelines/definition', 'cli/actions/run-definition'],
}

/** Lets a module find the joined workers, and its other neighbours where the compiler put it. All files lie one folder deep. */
const places = {
  name: 'places',
  transform(code, id) {
    if (!id.startsWith(source) || !code.includes('import.meta.url')) return null
    const file = relative(source, id).replaceAll('\\', '/').replace(/\.ts$/, '.js')
    const own = `new URL('../${file}', import.meta.url).href`
    const moved = code.replace(
      /(?:new URL\('\.[a-z./-]*\/([a-z-]+-worker)\.js', )?import\.meta\.url/g,
      (found, worker) => {
        if (workers.has(worker)) return `new URL('../shared/${worker}.js', import.meta.url`
        return found.replace('import.meta.url', own)
      },
    )
    return { code: moved, map: null }
  },
}

rmSync(join(output, 'shared'), { recursive: true, force: true })
const modules = new Set([
  ...(await joinModules({ 'cli/main': MAIN }, stepGroups())),
  // Apart from the command line's files: a worker would load all that shares a file with what it needs.
  ...(await joinModules(
    Object.fromEntries([...workers].map(([name, module]) => [`shared/${name}`, sourceOf(module)])),
  )),
])

const packages = new Set(
  [...modules].flatMap(id => /^.*[\\/]node_modules[\\/](@[^\\/]+[\\/])?[^\\/]+/.exec(id)?.[0] ?? []),
)
const licences = [...packages].toSorted().map(folder => {
  const { name, version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find(entry => /^licen[cs]e/i.test(entry))
  return `${name} ${version}\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
})
writeFileSync(join(output, 'shared', 'licences.txt'), licences.join('\n\n'))

/** Joins what the entries load; answers the ids of all modules. */
async function joinModules(input, groups) {
  const bundle = await rolldown({
    input,
    cwd: root,
    platform: 'node',
    external: id => !isAbsolute(id) && !id.startsWith('.') && !JOINED.test(id),
    plugins: [places],
    // Some modules are loaded late by the library, but at once by a command.
    checks: { ineffectiveDynamicImport: false },
  })
  const { output: files } = await bundle.write({
    dir: output,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'shared/[name]-[hash].js',
    sourcemap: true,
    ...(groups === undefined ? {} : { codeSplitting: { groups } }),
  })
  return files.flatMap(file => (file.type === 'chunk' ? file.moduleIds : []))
}

function sourceOf(module) {
  return join(source, `${module}.ts`)
}

/** For each step the modules that it is the first to need; what only some commands load is in none. */
function stepGroups() {
  return Object.entries(STEPS).map(([name, firsts], index, { length }) => {
    let modules
    return {
      debugName: name,
      priority: length - index,
      name(id, context) {
        modules ??= importedBy(firsts.map(sourceOf), context)
        // What waits for the command to end must not be waited for by a file that the command loads.
        return modules.has(id) && id !== MAIN ? name : null
      },
    }
  })
}

function importedBy(ids, context) {
  const found = new Set(ids)
  for (const id of found) for (const imported of context.getModuleInfo(id)?.importedIds ?? []) found.add(imported)
  return found
}
