/**
 * Runs `wandb sync` on a run folder, in a process of its own, one at a time. Keys stay in the environment; the program's
 * output is dropped but for its last line, which says what went wrong.
 */
import { spawn } from 'node:child_process'
import { dirname, resolve } from 'node:path'
import { PenstockError } from '../../errors.js'

const KEPT_OUTPUT = 2000
const INTERRUPT_MS = 3000

export class WandbUpload {
  private readonly folder: string
  private readonly timeoutMs: number
  private running: Upload | undefined

  constructor(folder: string, timeoutMs: number) {
    this.folder = folder
    this.timeoutMs = timeoutMs
  }

  /** Starts an upload unless one is going on. */
  start(): void {
    if (this.running !== undefined) return
    const upload = sync(this.folder, this.timeoutMs)
    this.running = upload
    void upload.done.finally(() => {
      this.running = undefined
    })
  }

  /** Sends nothing more: who stops a run does not wait for a network. @throws STOPPED: the message says how to go on */
  async abandon(): Promise<void> {
    this.running?.stop()
    await this.running?.done
    throw new PenstockError('STOPPED', `the end of the run was not uploaded; later: wandb sync ${this.folder}`)
  }

  /** Sends the whole run. @throws PEER_MISSING when that failed: the message says how to send it later */
  async finish(): Promise<void> {
    // What is under way lacks the end of the run: it is not worth waiting for.
    this.running?.stop()
    await this.running?.done
    const problem = await sync(this.folder, this.timeoutMs).done
    if (problem === undefined) return
    throw new PenstockError('PEER_MISSING', `the run was not uploaded (${problem}); later: wandb sync ${this.folder}`)
  }
}

interface Upload {
  /** Resolves to what went wrong, or undefined. */
  readonly done: Promise<string | undefined>
  stop(): void
}

function sync(folder: string, timeoutMs: number): Upload {
  const python = process.env.PENSTOCK_PYTHON
  const [program, ...first] = python === undefined ? ['wandb'] : [python, '-m', 'wandb']
  // Nobody answers questions: without a key the program must fail instead of asking for one.
  const path = resolve(folder)
  const child = spawn(program!, [...first, 'sync', '--include-synced', path], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // It leaves a log of its own in `wandb` below the working folder.
    cwd: dirname(dirname(path)),
  })
  let output = ''
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-KEPT_OUTPUT)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  // Interrupted, it ends the service that it has started; killed, it may leave that behind.
  let stopped = false
  const stop = (): void => {
    stopped = true
    child.kill('SIGINT')
    setTimeout(() => child.kill('SIGKILL'), INTERRUPT_MS).unref()
  }
  const done = new Promise<string | undefined>(resolve => {
    const timer = setTimeout(stop, timeoutMs)
    const settle = (problem: string | undefined): void => {
      clearTimeout(timer)
      resolve(problem)
    }
    child.once('error', () => settle('the program wandb does not run: pip install wandb'))
    child.once('exit', code => {
      if (code === 0) settle(undefined)
      else settle(stopped ? 'wandb sync took too long' : lastLine(output))
    })
  })
  return { done, stop }
}

/** Of what the program said; a key that it repeats stays untold. */
function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1)?.trim() || 'wandb sync failed'
  const key = process.env.WANDB_API_KEY
  return key === undefined || key === '' ? line : line.replaceAll(key, '***')
}
