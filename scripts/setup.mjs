// Makes a clone ready to run: installs what the lock file names and compiles, each only when something changed.
// Plain JavaScript, because it runs before anything is installed. Without changes it answers in a few milliseconds
// and needs no network. `--force` compiles anyway.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

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

// The lock file's hash, not its date: a checkout gives every file a new date.
const lockHash = createHash('sha256')
  .update(readFileSync(at('package-lock.json')))
  .digest('hex')
const installedFor = at('node_modules', '.penstock-installed')
if (!existsSync(installedFor) || readFileSync(installedFor, 'utf8') !== lockHash) {
  run('Installing packages', 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'])
  writeFileSync(installedFor, lockHash)
}

const built = at('dist', '.built')
const newestSource = Math.max(
  newestIn(at('src')),
  newestIn(at('assembly')),
  modified(at('tsconfig.json')),
  modified(at('scripts', 'bundle.mjs')),
)
if (force || modified(built) < Math.max(newestSource, modified(installedFor))) {
  mkdirSync(at('dist'), { recursive: true })
  run('Compiling TypeScript', process.execPath, [at('node_modules', 'typescript', 'bin', 'tsc')])
  run('Joining the modules', process.execPath, [at('scripts', 'bundle.mjs')])
  const asc = at('node_modules', 'assemblyscript', 'bin', 'asc.js')
  run('Compiling WebAssembly', process.execPath, [
    asc,
    'assembly/text/kernel.ts',
    '--config',
    'assembly/text/asconfig.json',
  ])
  const trainingKernels = { plain: 'kernels.ts', relaxed: 'kernels.ts', shared: 'optimizer.ts' }
  for (const [target, source] of Object.entries(trainingKernels)) {
    run(`Compiling the training kernels (${target})`, process.execPath, [
      asc,
      `assembly/training/${source}`,
      '--config',
      'assembly/training/asconfig.json',
      '--target',
      target,
    ])
  }
  writeFileSync(built, '')
}
