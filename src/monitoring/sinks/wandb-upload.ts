/**
 * Runs `wandb sync` on a run folder, one process at a time. API keys are passed through the environment only. The output
 * is discarded except for its last line, which has the error message.
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

  /** Starts an upload unless one is running. */
  start(): void {
    if (this.running !== undefined) return
    const upload = sync(this.folder, this.timeoutMs)
    this.running = upload
    void upload.done.finally(() => {
      this.running = undefined
    })
  }

  /** Stops uploading, so that stopping a run does not wait for the network. @throws STOPPED with the command to run later */
  async abandon(): Promise<void> {
    this.running?.stop()
    await this.running?.done
    throw new PenstockError('STOPPED', `upload incomplete; to finish it, run: wandb sync ${this.folder}`)
  }

  /** Uploads the complete run. @throws PEER_MISSING on failure, with the command to run later */
  async finish(): Promise<void> {
    // An upload in progress lacks the end of the run, so it is not worth waiting for.
    this.running?.stop()
    await this.running?.done
    const problem = await sync(this.folder, this.timeoutMs).done
    if (problem === undefined) return
    throw new PenstockError('PEER_MISSING', `upload failed (${problem}); to retry, run: wandb sync ${this.folder}`)
  }
}

interface Upload {
  /** Resolves to the error message, or undefined on success. */
  readonly done: Promise<string | undefined>
  stop(): void
}

function sync(folder: string, timeoutMs: number): Upload {
  const python = process.env.PENSTOCK_PYTHON
  const [program, ...first] = python === undefined ? ['wandb'] : [python, '-m', 'wandb']
  // No stdin: without an API key the program must fail instead of prompting for one.
  const path = resolve(folder)
  const child = spawn(program!, [...first, 'sync', '--include-synced', path], {
    stdio: ['ignore', 'pipe', 'pipe'],
    // The program writes its own log to `wandb` in the working folder.
    cwd: dirname(dirname(path)),
  })
  let output = ''
  const keep = (chunk: Buffer): void => {
    output = (output + chunk.toString()).slice(-KEPT_OUTPUT)
  }
  child.stdout.on('data', keep)
  child.stderr.on('data', keep)
  // SIGINT lets the program stop its background service; SIGKILL may leave the service running.
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
    child.once('error', () => settle('cannot run wandb; install it with: pip install wandb'))
    child.once('exit', code => {
      if (code === 0) settle(undefined)
      else settle(stopped ? 'wandb sync timed out' : lastLine(output))
    })
  })
  return { done, stop }
}

/** Last line of the output, with the API key masked. */
function lastLine(output: string): string {
  const line = output.trim().split('\n').at(-1)?.trim() || 'wandb sync failed'
  const key = process.env.WANDB_API_KEY
  return key === undefined || key === '' ? line : line.replaceAll(key, '***')
}
