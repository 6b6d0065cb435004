/**
 * Python environments in the user's cache folder, one for each hash of (requirements, Python version, platform): changed
 * requirements make a new one, unchanged ones are found at once and without network. The marker is written last, so a
 * half-made environment is made anew. pip runs with the user's own configuration.
 */
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PenstockError } from '../../errors.js'
import { cacheFolder, lockFolder } from '../../files/cache-folder.js'

/** What the torch engine needs; part of the package. */
export const torchRequirements = fileURLToPath(new URL('../../../torch/requirements.txt', import.meta.url))

const onWindows = process.platform === 'win32'

/** Takes the name of a kind of environment, such as `torch`; the folder's name is that and a hash. */
export interface PythonEnvironment {
  readonly kind: string
  /** A requirements file of pip. */
  readonly requirements: string
}

/**
 * Makes an environment, or finds it made.
 * @param onStep is told what is done now; pip itself writes to standard error
 * @returns the path of its interpreter
 * @throws PEER_MISSING without Python, FILE_LOCKED while another process makes the same one, WORKER_FAILED
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

/** The interpreter of an environment that was made before; undefined when there is none, or no Python at all. */
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

/** Asks the base Python for its version and platform. */
function probePython() {
  const probe = 'import sys, sysconfig; print(sys.version_info[:2], sysconfig.get_platform())'
  return spawnSync(basePython(), ['-c', probe], { encoding: 'utf8' })
}

function basePython(): string {
  return process.env.PENSTOCK_PYTHON || (onWindows ? 'python' : 'python3')
}

/** Runs a program with its output on standard error: standard output is the caller's. */
function run(command: string, args: readonly string[]): void {
  const { status, error } = spawnSync(command, args, { stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    const reason = error?.message ?? `exit code ${status}`
    throw new PenstockError('WORKER_FAILED', `${basename(command)} ${args.slice(0, 3).join(' ')} failed: ${reason}`)
  }
}
