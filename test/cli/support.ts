/** Runs the command line as a user does, in a separate process. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = dirname(dirname(dirname(fileURLToPath(import.meta.url))))
export const MAIN = join(ROOT, 'dist', 'cli', 'main.js')
/** Reference files of Modalities, next to the checkout; tests that need them are skipped if they are missing. */
export const REFERENCE = join(dirname(ROOT), 'shared', 'reference')
export const hasReference = existsSync(REFERENCE)
if (!hasReference) {
  if (process.env.CI) throw new Error('the reference files are missing: ../shared/reference is needed in CI')
  console.warn('skipped: tests against the reference files, which need ../shared/reference')
}

export interface Outcome {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly out: string
  readonly err: string
}

export interface RunningCommand {
  readonly pid: number
  kill(signal: NodeJS.Signals): void
  /** Resolves when the text appears on standard error. */
  shows(text: string): Promise<void>
  readonly outcome: Promise<Outcome>
}

export function start(args: readonly string[], cwd = ROOT, env: NodeJS.ProcessEnv = {}): RunningCommand {
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let out = ''
  let err = ''
  child.stdout.on('data', chunk => {
    out += chunk
  })
  child.stderr.on('data', chunk => {
    err += chunk
  })
  const outcome = new Promise<Outcome>(resolve => {
    child.on('close', (code, signal) => resolve({ code, signal, out, err }))
  })
  return {
    pid: child.pid!,
    kill: signal => void child.kill(signal),
    shows: text =>
      new Promise((resolve, reject) => {
        const check = (): void => {
          if (err.includes(text)) resolve()
        }
        child.stderr.on('data', check)
        child.on('close', () => reject(new Error(`ended without showing ${text}: ${err}`)))
        check()
      }),
    outcome,
  }
}

export const penstock = (args: readonly string[], cwd = ROOT, env: NodeJS.ProcessEnv = {}): Promise<Outcome> =>
  start(args, cwd, env).outcome
