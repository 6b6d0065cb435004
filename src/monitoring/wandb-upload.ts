/**
 * Runs `wandb sync` on a run folder, in a process of its own, one at a time. Keys stay in the environment; the program's
 * output is dropped but for its last line, which says what went wrong.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { PenstockError } from '../errors.js'

const UPLOAD_TIMEOUT_MS = 50_000
const KEPT_OUTPUT = 2000

export class WandbUpload {
  private readonly folder: string
  private running: { child: ChildProcess; done: Promise<string | undefined> } | undefined

  constructor(folder: string) {
    this.folder = folder
  }

  /** Starts an upload unless one is going on. */
  start(): void {
    if (this.running !== undefined) return
    const { child, done } = sync(this.folder)
    this.running = { child, done }
    void done.finally(() => {
      this.running = undefined
    })
  }

  /** Sends the whole run. @throws PEER_MISSING when that failed: the message says how to send it later */
  async finish(): Promise<void> {
    await this.running?.done
    const problem = await sync(this.folder).done
    if (problem === undefined) return
    throw new PenstockError('PEER_MISSING', `the run was not uploaded (${problem}); later: wandb sync ${this.folder}`)
  }
}

/** Resolves to what went wrong, or undefined. */
function sync(folder: string): { child: ChildProcess; done: Promise<string | undefined> } {
  const python = process.env.PENSTOCK_PYTHON
  const [program, ...first] = python === undefined ? ['wandb'] : [python, '-m', 'wandb']
  const child = spawn(program!, [...first, 'sync', '--include-synced', folder], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: UPLOAD_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  })
  // Nobody answers questions: without a key the program must fail instead of asking for one.
  let output = ''
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-KEPT_OUTPUT)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  const done = new Promise<string | undefined>(resolve => {
    child.once('error', () => resolve('the program wandb does not run: pip install wandb'))
    child.once('close', (code, signal) => {
      if (code === 0) resolve(undefined)
      else resolve(signal === null ? lastLine(output) : 'wandb sync took too long')
    })
  })
  return { child, done }
}

const lastLine = (output: string): string => output.trim().split('\n').at(-1)?.trim() || 'wandb sync failed'
