/** Runs the programs that an installation needs, and reports missing ones before anything is downloaded. */
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { PenstockError } from '../../../errors.js'

export const python = process.env.PENSTOCK_PYTHON || 'python3'

/** @throws PEER_MISSING for the first program that does not run */
export function requirePrograms(): void {
  const compiler = process.env.CXX?.split(' ')[0] || 'c++'
  const needed: [string, string][] = [
    ['npm', 'npm comes with Node'],
    [python, 'node-gyp needs Python 3: install it, or set PENSTOCK_PYTHON'],
    ['make', 'install make and a C++ compiler (Debian, Ubuntu: apt install build-essential)'],
    [compiler, 'install a C++ compiler (Debian, Ubuntu: apt install build-essential), or set CXX'],
  ]
  for (const [program, remedy] of needed) {
    if (!runs(program, ['--version'])) {
      throw new PenstockError('PEER_MISSING', `${program} is needed to build the native backend: ${remedy}`)
    }
  }
}

export function runs(program: string, args: readonly string[]): boolean {
  return spawnSync(program, args, { stdio: 'ignore' }).status === 0
}

export interface RunOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** File for the program's output; default: standard error. */
  readonly logFile?: string
  /** Remedy for the error message. */
  readonly remedy: string
}

/** @throws WORKER_FAILED */
export function runProgram(program: string, args: readonly string[], options: RunOptions): void {
  const { cwd, env, logFile, remedy } = options
  const output = logFile === undefined ? 2 : openSync(logFile, 'w')
  const { status, error } = spawnSync(program, args, {
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    stdio: ['ignore', output, output],
  })
  if (logFile !== undefined) {
    closeSync(output)
  }
  if (status !== 0) {
    const reason = error?.message ?? `exit code ${status}`
    throw new PenstockError('WORKER_FAILED', `${program} ${args.slice(0, 3).join(' ')} failed (${reason}): ${remedy}`)
  }
}
