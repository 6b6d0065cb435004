/**
 * The process tree that torchrun makes: started in a process group of its own, so that Ctrl-C in a terminal reaches only
 * Node, which saves a checkpoint first. None of it outlives Node: ranks end when their socket closes, torchrun when its
 * ranks end, and what does not is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface TorchrunOptions {
  readonly python: string
  readonly nproc: number
  readonly device: string
  readonly socketPath: string
  /** Where torchrun puts what each rank writes. */
  readonly logFolder: string
}

const packageFolder = fileURLToPath(new URL('../../../torch', import.meta.url))
const linesShown = 12

/**
 * What a step frees, the next one takes again: glibc keeps it instead of giving it back, and in large pages. Without that a
 * step on a CPU takes a tenth longer, a quarter where the vocabulary is large (`bench/train-torch.ts`).
 */
const memoryTunables = [
  'glibc.malloc.hugetlb=1',
  `glibc.malloc.trim_threshold=${1 << 30}`,
  `glibc.malloc.mmap_threshold=${1 << 25}`,
].join(':')

export class Torchrun {
  /** Settles when torchrun is gone, whatever the reason. */
  readonly ended: Promise<string>
  readonly #child: ChildProcess
  readonly #logFolder: string
  #output = ''
  readonly #killWithNode = () => this.kill()

  constructor({ python, nproc, device, socketPath, logFolder }: TorchrunOptions) {
    const script = ['-m', 'penstock_torch', '--feed', socketPath, '--device', device]
    const logs = ['--redirects', '3', '--log-dir', logFolder]
    const launcher = ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', String(nproc), ...logs]
    const threads = Math.max(1, Math.floor(availableParallelism() / nproc))
    this.#logFolder = logFolder
    this.#child = spawn(python, [...launcher, ...script], {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
      env: {
        OMP_NUM_THREADS: String(threads),
        GLIBC_TUNABLES: memoryTunables,
        ...process.env,
        PYTHONPATH: [packageFolder, process.env.PYTHONPATH].filter(Boolean).join(delimiter),
      },
    })
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#output = lastLinesOf(this.#output + text)
    })
    this.ended = new Promise(resolve => {
      this.#child.once('error', error => resolve(error.message))
      this.#child.once('close', (code, signal) => resolve(signal === null ? `exit code ${code}` : `signal ${signal}`))
    })
    process.once('exit', this.#killWithNode)
    void this.ended.then(() => process.off('exit', this.#killWithNode))
  }

  /** The last lines that each rank wrote to standard error, or torchrun itself when no rank wrote any. */
  async lastLines(): Promise<string> {
    const names = await readdir(this.#logFolder, { recursive: true }).catch(() => [])
    const logs = names.filter(name => basename(name) === 'stderr.log').sort()
    const texts = await Promise.all(
      logs.map(async name => ({
        rank: basename(dirname(name)),
        text: lastLinesOf((await readFile(join(this.#logFolder, name), 'utf8')).trim()),
      })),
    )
    const spoken = texts.filter(({ text }) => text !== '')
    return spoken.length === 0
      ? this.#output.trim()
      : spoken.map(({ rank, text }) => `local rank ${rank} wrote:\n${text}`).join('\n')
  }

  /** Ends torchrun once its ranks have nothing left to do; it would only wait for them. */
  async stop(): Promise<void> {
    this.kill()
    await this.ended
  }

  kill(): void {
    const { pid, exitCode, signalCode } = this.#child
    if (pid !== undefined && exitCode === null && signalCode === null) {
      process.kill(-pid, 'SIGKILL')
    }
  }
}

function lastLinesOf(text: string): string {
  return text.split('\n').slice(-linesShown).join('\n')
}
