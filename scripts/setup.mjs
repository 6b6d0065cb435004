// Prepares a clone: installs the packages of the lock file unless they are installed already, by this script or by
// `npm install`, and compiles when a source or the lock file changed. `--force` compiles in any case. Plain JavaScript,
// because it runs before anything is installed. Without changes it takes a few milliseconds and needs no network.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { isInstalled } from './installed.mjs'

const root = dirname(dirname(fileURLToPath(import.meta.url)))
const at = (...parts) => join(root, ...parts)
const force = process.argv.includes('--force')

function run(what, command, args) {
  process.stdout.write(`${what} ...\n`)
  const started = performance.now()
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit', shell: process.platform === 'win32' })
  if (status !== 0) {
    process.stderr.write(`${what}: failed with exit code ${status}\n`)
    process.exit(1)
  }
  process.stdout.write(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s\n`)
}

const modified = path => (existsSync(path) ? statSync(path).mtimeMs : 0)

function newestIn(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  return Math.max(0, ...files.map(entry => modified(join(entry.parentPath, entry.name))))
}

if (!isInstalled(root)) run('Installing packages', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])

// The lock file's hash, not its date: a checkout gives every file a new date, and npm rewrites its list at every call.
const lockHash = createHash('sha256')
  .update(readFileSync(at('package-lock.json')))
  .digest('hex')

/** Runs the steps of a part unless they ran after the last change of its sources, with the packages of the lock file. */
function build(part, newestSource, steps) {
  const stamp = at('dist', `.built-${part}`)
  const isCurrent = existsSync(stamp) && readFileSync(stamp, 'utf8') === lockHash && modified(stamp) >= newestSource
  if (isCurrent && !force) return
  for (const [what, script, ...args] of steps) run(what, process.execPath, [at(...script.split('/')), ...args])
  writeFileSync(stamp, lockHash)
}

const assemblyScript = 'node_modules/assemblyscript/bin/asc.js'
const kernels = target => [
  `Compiling the training kernels (${target})`,
  assemblyScript,
  `assembly/training/${target === 'shared' ? 'optimizer.ts' : 'kernels.ts'}`,
  '--config',
  'assembly/training/asconfig.json',
  '--target',
  target,
]

mkdirSync(at('dist'), { recursive: true })
build(
  'javascript',
  Math.max(newestIn(at('src')), modified(at('tsconfig.json')), modified(at('scripts', 'bundle.mjs'))),
  [
    ['Compiling TypeScript', 'node_modules/typescript/bin/tsc'],
    ['Joining the modules', 'scripts/bundle.mjs'],
  ],
)
build('kernel', newestIn(at('assembly', 'text')), [
  ['Compiling WebAssembly', assemblyScript, 'assembly/text/kernel.ts', '--config', 'assembly/text/asconfig.json'],
])
build('decompression', newestIn(at('assembly', 'decompression')), [
  [
    'Compiling the decompression',
    assemblyScript,
    'assembly/decompression/decoders.ts',
    '--config',
    'assembly/decompression/asconfig.json',
  ],
])
build('training-kernels', newestIn(at('assembly', 'training')), [
  kernels('plain'),
  kernels('relaxed'),
  kernels('shared'),
])
