// Bundles the modules of the command line into few files: a command would otherwise spend half of its start-up time on
// resolving and reading 250 files. The bundled dist/cli/main.js replaces the compiler's output; its chunks and the workers
// are in dist/shared. The modules of the library are not changed.
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const source = join(root, 'src')
const output = join(root, 'dist')
const MAIN = sourceOf('cli/main')
/** Only packages that every command loads are bundled; Node resolves the others on demand. */
const JOINED = /^(zod|commander|msgpackr)(\/|$)/

/** Entry modules of the data workers, by file name; the workers of the trainer are not bundled. */
const workers = new Map(
  readdirSync(join(source, 'workers'), { recursive: true })
    .filter(name => name.endsWith('-worker.ts'))
    .map(name => [basename(name, '.ts'), `workers/${name.replaceAll('\\', '/').slice(0, -3)}`]),
)

/**
 * Chunks by load order: the start of any command, a pass over a file, then a run. Each chunk is defined by its entry
 * modules and contains everything that they import, except what an earlier chunk contains.
 */
const STEPS = {
  start: ['cli/main'],
  pass: ['cli/actions/start-ranges', 'cli/actions/pack', 'cli/actions/index-jsonl'],
  run: ['pipelines/definition', 'cli/actions/run-definition'],
}

/** Rewrites import.meta.url so that modules find the bundled workers, and other files at their original location. */
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
  // Bundled separately from the command line, since a worker would otherwise load entire chunks for a few modules.
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

/** Bundles the entries and their imports. @returns the ids of all modules */
async function joinModules(input, groups) {
  const bundle = await rolldown({
    input,
    cwd: root,
    platform: 'node',
    external: id => !isAbsolute(id) && !id.startsWith('.') && !JOINED.test(id),
    plugins: [places],
    // Some modules are lazy in the library but eager in a command.
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

/** For each step, the modules that it is the first to need. Modules that only some commands load are in none. */
function stepGroups() {
  return Object.entries(STEPS).map(([name, firsts], index, { length }) => {
    let modules
    return {
      debugName: name,
      priority: length - index,
      name(id, context) {
        modules ??= importedBy(firsts.map(sourceOf), context)
        // A module that awaits the end of the command must not be in a chunk that the command loads, or it would deadlock.
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
