/**
 * The torchrun process and its children, in a separate process group, so that Ctrl-C in a terminal reaches only Node,
 * which saves a checkpoint first. They do not outlive Node: ranks end when their socket closes, torchrun ends with its
 * ranks, and the rest is killed.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { availableParallelism, constants } from 'node:os'
import { basename, delimiter, dirname, join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
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
/** The report of torchrun on the ranks that failed has about 20 lines, and about 10 more for each further rank. */
const linesKept = 400
/** Torchrun looks at its ranks every 100 ms: the first that died is seen before the others are told to end. */
const noticeMs = 300
/** Time for torchrun to end once its ranks have ended, and to write its report. */
const reportMs = 5000

/** How a rank failed, as torchrun reports it. */
export interface RankFailure {
  readonly rank: number
  /** For a message: `was killed by SIGKILL`. */
  readonly how: string
  readonly isSignal: boolean
}

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
  readonly #killsBefore = outOfMemoryKills()
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
      this.#output = lastLinesOf(this.#output + text, linesKept)
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
      ? lastLinesOf(this.#output.trim())
      : nonEmpty.map(({ rank, text }) => `local rank ${rank} wrote:\n${text}`).join('\n')
  }

  /**
   * Waits for torchrun's report on a failure.
   * @param disconnect ends the ranks that still run
   * @returns the rank that failed first: preferably one killed by a signal, because others fail as a consequence
   */
  async firstFailure(disconnect: () => void): Promise<RankFailure | undefined> {
    await withTimeout(this.ended, noticeMs)
    disconnect()
    await withTimeout(this.ended, reportMs)
    const report = /^ +rank +: (\d+) .*\n +exitcode +: (-?\d+) /gm
    const failures = [...this.#output.matchAll(report)].map(([, rank, code]) => [Number(rank), Number(code)] as const)
    const [rank, code] = failures.find(([, exitCode]) => exitCode < 0) ?? failures[0] ?? []
    if (rank === undefined || code === undefined) return undefined
    return { rank, how: await this.#explain(code), isSignal: code < 0 }
  }

  async #explain(code: number): Promise<string> {
    if (code >= 0) return `ended with exit code ${code}`
    const name = Object.entries(constants.signals).find(([, number]) => number === -code)?.[0] ?? `signal ${-code}`
    const ranOutOfMemory = name === 'SIGKILL' && (await outOfMemoryKills()) > (await this.#killsBefore)
    return ranOutOfMemory ? "was killed by the system's out-of-memory killer (SIGKILL)" : `was killed by ${name}`
  }

  /** Kills torchrun; called once its ranks are closed, since it would only wait for them. */
  async stop(): Promise<void> {
    this.kill()
    await this.ended
  }

  kill(): void {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    const ranks = childrenOf(pid)
    process.kill(-pid, 'SIGKILL')
    // Each rank has a session of its own, and a stopped one would never notice that its socket closed.
    for (const rank of ranks) killIfAlive(rank)
  }
}

/** Ids of the child processes, from Linux's proc file system; none elsewhere. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It has ended.
  }
}

function lastLinesOf(text: string, count = linesShown): string {
  return text.split('\n').slice(-count).join('\n')
}

async function withTimeout(work: Promise<unknown>, ms: number): Promise<void> {
  const timer = new AbortController()
  await Promise.race([work, setTimeout(ms, undefined, { signal: timer.signal }).catch(() => {})])
  timer.abort()
}

/** Processes that the kernel has killed for lack of memory since it started; 0 where it does not count them. */
async function outOfMemoryKills(): Promise<number> {
  const counters = await readFile('/proc/vmstat', 'utf8').catch(() => '')
  return Number(/^oom_kill (\d+)$/m.exec(counters)?.[1] ?? 0)
}
