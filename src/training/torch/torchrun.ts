/**
 * The torchrun process and its children, in a separate process group, so that Ctrl-C in a terminal reaches only Node,
 * which saves a checkpoint first. They do not outlive Node: ranks end when their socket closes, torchrun ends with its
 * ranks, and the rest is killed.
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
  /** Where torchrun writes the output of each rank. */
  readonly logFolder: string
}

const packageFolder = fileURLToPath(new URL('../../../torch', import.meta.url))
const linesShown = 12

/**
 * Each step allocates what the previous one freed, so glibc should keep that memory, in huge pages. Without these settings
 * a step on a CPU takes 10 % longer, 25 % with a large vocabulary (`bench/train-torch.ts`).
 */
const memoryTunables = [
  'glibc.malloc.hugetlb=1',
  `glibc.malloc.trim_threshold=${1 << 30}`,
  `glibc.malloc.mmap_threshold=${1 << 25}`,
].join(':')

export class Torchrun {
  /** Resolves when torchrun has exited, with its exit code or signal. */
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

  /** The last lines of each rank's standard error, or of torchrun's when no rank wrote any. */
  async lastLines(): Promise<string> {
    const names = await readdir(this.#logFolder, { recursive: true }).catch(() => [])
    const logs = names.filter(name => basename(name) === 'stderr.log').sort()
    const texts = await Promise.all(
      logs.map(async name => ({
        rank: basename(dirname(name)),
        text: lastLinesOf((await readFile(join(this.#logFolder, name), 'utf8')).trim()),
      })),
    )
    const nonEmpty = texts.filter(({ text }) => text !== '')
    return nonEmpty.length === 0
      ? this.#output.trim()
      : nonEmpty.map(({ rank, text }) => `local rank ${rank} wrote:\n${text}`).join('\n')
  }

  /** Kills torchrun; called once its ranks are closed, since it would only wait for them. */
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
