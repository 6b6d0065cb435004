/**
 * Python environments in the user's cache folder, keyed by a hash of requirements, Python version and platform: changed
 * requirements create a new one, unchanged ones are reused without network access. A marker file is written last, so an
 * incomplete environment is rebuilt. pip runs with the user's own configuration.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PenstockError } from '../../errors.js'
import { cacheFolder, lockFolder } from '../../files/cache-folder.js'

/** Requirements of the torch engine; part of the package. */
export const torchRequirements = fileURLToPath(new URL('../../../torch/requirements.txt', import.meta.url))

const onWindows = process.platform === 'win32'

export interface PythonEnvironment {
  /** First part of the folder's name, such as `torch`; a hash follows. */
  readonly kind: string
  /** Path of a requirements file for pip. */
  readonly requirements: string
}

/**
 * Creates an environment, or finds an existing one.
 * @param onStep called with a description of each step; pip itself writes to standard error
 * @returns the path of its interpreter
 * @throws PEER_MISSING without Python, FILE_LOCKED while another process creates the same one, WORKER_FAILED
 */
export function makeEnvironment(environment: PythonEnvironment, onStep: (what: string) => void): string {
  const { kind, requirements } = environment
  const { status, stdout, error } = probePython()
  if (status !== 0) {
    const reason = error?.message ?? `exit code ${status}`
    const message = `${basePython()} does not run (${reason}): install Python 3.10 or newer, or set PENSTOCK_PYTHON`
    throw new PenstockError('PEER_MISSING', message, {}, error)
  }
  const folder = folderOf(environment, stdout)
  if (!existsSync(markerIn(folder))) {
    mkdirSync(dirname(folder), { recursive: true })
    const unlock = lockFolder(folder)
    try {
      rmSync(folder, { recursive: true, force: true })
      onStep(`Creating ${folder}`)
      run(basePython(), ['-m', 'venv', folder])
      onStep(`Installing ${basename(requirements)} for ${kind}`)
      run(interpreterIn(folder), ['-m', 'pip', 'install', '--progress-bar', 'off', '-r', requirements])
      writeFileSync(markerIn(folder), '')
    } finally {
      unlock()
    }
  }
  return interpreterIn(folder)
}

/** Interpreter of an existing environment; undefined when there is none, or no Python. */
export function findEnvironment(environment: PythonEnvironment): string | undefined {
  const probe = probePython()
  if (probe.status !== 0) {
    return undefined
  }
  const folder = folderOf(environment, probe.stdout)
  return existsSync(markerIn(folder)) ? interpreterIn(folder) : undefined
}

function interpreterIn(folder: string): string {
  return onWindows ? join(folder, 'Scripts', 'python.exe') : join(folder, 'bin', 'python')
}

function markerIn(folder: string): string {
  return join(folder, '.penstock-complete')
}

function folderOf({ kind, requirements }: PythonEnvironment, platform: string): string {
  const digest = createHash('sha256').update(readFileSync(requirements)).update(platform).digest('hex')
  return join(cacheFolder(), `${kind}-${digest.slice(0, 12)}`)
}

/** Runs the base Python to get its version and platform. */
function probePython() {
  const probe = 'import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_platform())'
  return spawnSync(basePython(), ['-c', probe], { encoding: 'utf8' })
}

function basePython(): string {
  return process.env.PENSTOCK_PYTHON || (onWindows ? 'python' : 'python3')
}

/** Runs a program with its output on standard error: standard output belongs to the caller. */
function run(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    const reason = error?.message ?? `exit code ${status}`
    throw new PenstockError('WORKER_FAILED', `${basename(command)} ${args.slice(0, 3).join(' ')} failed: ${reason}`)
  }
}
