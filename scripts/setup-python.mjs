// Makes a Python environment in the user's cache folder and prints the path of its interpreter on stdout:
//   node scripts/setup-python.mjs peers|torch
// One environment for each hash of (requirements, Python version, platform): changed requirements make a new one, unchanged
// ones are answered at once without network. The marker is written last, so a half-made environment is made anew.
// pip runs with the user's own configuration. PENSTOCK_PYTHON names the base interpreter (default python3).
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const requirementsFolder = join(dirname(fileURLToPath(import.meta.url)), 'requirements')
const kinds = readdirSync(requirementsFolder).map(name => name.replace(/\.txt$/, ''))
const kind = process.argv[2] ?? ''
if (!kinds.includes(kind)) fail(`Usage: node scripts/setup-python.mjs ${kinds.join('|')}`, 2)

const basePython = process.env.PENSTOCK_PYTHON || (process.platform === 'win32' ? 'python' : 'python3')
const requirements = join(requirementsFolder, `${kind}.txt`)
const folder = environmentFolder()
const python = process.platform === 'win32' ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python')
const marker = join(folder, '.penstock-complete')

if (!existsSync(marker)) makeEnvironment()
process.stdout.write(`${python}\n`)

function environmentFolder() {
  const probe = 'import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_platform())'
  const { status, stdout, error } = spawnSync(basePython, ['-c', probe], { encoding: 'utf8' })
  if (status !== 0)
    fail(
      `${basePython} does not run (${error?.message ?? 'see above'}): install Python 3.10 to 3.13 or set PENSTOCK_PYTHON`,
    )
  const hash = createHash('sha256').update(readFileSync(requirements)).update(stdout).digest('hex').slice(0, 12)
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  return join(cache, 'penstock', `${kind}-${hash}`)
}

function makeEnvironment() {
  mkdirSync(dirname(folder), { recursive: true })
  const lock = `${folder}.lock`
  takeLock(lock)
  try {
    rmSync(folder, { recursive: true, force: true })
    run(`Creating ${folder}`, basePython, ['-m', 'venv', folder])
    run(`Installing ${kind}.txt`, python, ['-m', 'pip', 'install', '--progress-bar', 'off', '-r', requirements])
    writeFileSync(marker, '')
  } finally {
    rmSync(lock, { force: true })
  }
}

/** Refuses while another process makes the same environment; takes over the lock of a process that is gone. */
function takeLock(lock) {
  try {
    writeFileSync(lock, String(process.pid), { flag: 'wx' })
  } catch (error) {
    if (error.code !== 'EEXIST') throw error
    const owner = Number(readFileSync(lock, 'utf8'))
    if (isRunning(owner)) fail(`Process ${owner} is making this environment; wait for it (lock: ${lock})`)
    rmSync(lock, { force: true })
    takeLock(lock)
  }
}

function isRunning(pid) {
  try {
    return pid > 0 && process.kill(pid, 0)
  } catch (error) {
    return error.code === 'EPERM'
  }
}

/** Runs a program with its output on stderr: stdout carries nothing but the path. */
function run(what, command, args) {
  process.stderr.write(`${what} ...\n`)
  const started = performance.now()
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error(`${what}: failed (${error?.message ?? `exit code ${status}`})`)
  process.stderr.write(`${what}: ${((performance.now() - started) / 1000).toFixed(1)} s\n`)
}

function fail(message, code = 1) {
  process.stderr.write(`${message}\n`)
  process.exit(code)
}
