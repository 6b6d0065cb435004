/**
 * Pools of worker threads. Runs with the same setup share a pool, which is kept for a few seconds after the last run:
 * the next one finds the threads started, the tokenizer loaded and the caches warm. Idle threads do not keep a process
 * alive.
 *
 * A worker that dies during a task, or makes no progress for longer than its current record can take, is replaced; the
 * task is rejected with a WorkerDeath. A task is one batch, with about 40 microseconds of overhead.
 */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { PenstockError } from '../errors.js'
import { Heartbeat } from './heartbeat.js'
import { receivedError, type TaskMessage, WorkerDeath } from './worker-function.js'

export interface WorkersOptions {
  /** Module of the workers. Its exports are made by `workerFunction`. */
  readonly file: URL
  readonly workers: number
  /** Passed to the workers as `workerData` (null if absent). Plain data; pools are shared between equal setups. */
  readonly setup?: unknown
  /** Bytes that a worker loads at start-up; extends its start-up timeout. */
  readonly setupBytes?: number
}

/** How long an unused pool is kept. Opening a pool with another setup closes it immediately. */
const IDLE_MS = 5000
/** How long running tasks may take to finish after their run was closed. */
const CLOSE_GRACE_MS = 1000
const WATCHDOG_INTERVAL_MS = 50
/** CPU time that any record may take, plus the time per byte: 250 kB/s, ten times slower than the slowest engine. */
const RECORD_TIMEOUT_MS = 500
const RECORD_TIMEOUT_MS_PER_BYTE = 0.004
/** The same for a worker's start-up. */
const START_TIMEOUT_MS = 1000
const START_TIMEOUT_MS_PER_BYTE = 0.001
/** Time without CPU use counts this many times less, since the worker may be waiting for the disk. */
const IDLE_TIME_DIVISOR = 10
/** Longest interval between two checks to count; if it was longer, the process itself was suspended. */
const MAX_TICK_MS = 1000

export const defaultWorkers = (): number => availableParallelism()

/** Workers for one run, started immediately. Release them with `close`. */
export function openWorkers(options: WorkersOptions): Workers {
  return new Workers(SharedPool.for(options), options)
}

/** One run's use of a pool. */
export class Workers {
  /** Opens the same threads again, for a user that may outlive this one. */
  readonly options: WorkersOptions
  private readonly pool: SharedPool
  private readonly jobs = new Map<Job, Promise<unknown>>()
  private isClosed = false

  constructor(pool: SharedPool, options: WorkersOptions) {
    this.pool = pool
    this.options = options
  }

  /** Identity of the shared threads: the same object for all runs that use them. */
  get threads(): object {
    return this.pool
  }

  /** Number of threads in the shared pool. */
  get size(): number {
    return this.pool.size
  }

  /**
   * Runs one of the module's functions in a worker.
   *
   * @throws the error that the function throws; WorkerDeath when the worker died
   */
  async run<Reply>(
    name: string,
    task: unknown,
    { transferList = [], isUrgent = false }: JobOptions = {},
  ): Promise<Reply> {
    if (this.isClosed) throw stoppedError()
    const job = new Job(name, task, transferList)
    const reply = this.pool.run(job, isUrgent)
    this.jobs.set(job, reply)
    try {
      return (await reply) as Reply
    } finally {
      this.jobs.delete(job)
    }
  }

  /**
   * Releases the workers. Waits for running tasks, since they may use the run's files and memory; the worker of a task
   * that takes longer than a second is terminated.
   */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.pool.dropQueued(this.jobs)
    const timer = setTimeout(() => {
      for (const job of this.jobs.keys()) job.terminate('stopped')
    }, CLOSE_GRACE_MS)
    await Promise.allSettled(this.jobs.values())
    clearTimeout(timer)
    this.pool.release()
  }
}

type Transferable = ArrayBuffer | MessagePort

interface JobOptions {
  readonly transferList?: readonly Transferable[]
  /** Start it before the tasks that wait already. */
  readonly isUrgent?: boolean
}

const stoppedError = (): PenstockError => new PenstockError('STOPPED', 'the task was stopped before it finished')

/** A task, queued or running. */
class Job {
  readonly name: string
  readonly message: TaskMessage<unknown>
  readonly transferList: readonly Transferable[]
  readonly heartbeat = new Heartbeat()
  readonly abort = new AbortController()
  private terminatedAs: 'hung' | 'stopped' | undefined
  private startFailure: Error | undefined
  private lastCount = 0
  private spentMs = 0

  constructor(name: string, task: unknown, transferList: readonly Transferable[]) {
    this.name = name
    this.message = { task, heartbeat: this.heartbeat.memory }
    this.transferList = transferList
  }

  /** Whether a worker has begun it. */
  get isStarted(): boolean {
    return this.heartbeat.count > 0
  }

  /** Charges time to the current record; terminates the worker when the record exceeds its timeout. */
  chargeTime(milliseconds: number, setupBytes: number): void {
    const { count, byteLength } = this.heartbeat
    this.spentMs = count === this.lastCount ? this.spentMs + milliseconds : 0
    this.lastCount = count
    const timeoutMs =
      count === 0
        ? START_TIMEOUT_MS + START_TIMEOUT_MS_PER_BYTE * setupBytes
        : RECORD_TIMEOUT_MS + RECORD_TIMEOUT_MS_PER_BYTE * byteLength
    if (this.spentMs > timeoutMs) this.terminate('hung')
  }

  /** Fails the job if no worker has started it. */
  failUnstarted(cause: Error): void {
    if (this.isStarted) return
    this.startFailure = cause
    this.abort.abort()
  }

  /** Terminates the job together with its worker. */
  terminate(reason: 'hung' | 'stopped'): void {
    this.terminatedAs = reason
    this.abort.abort()
  }

  /** The error to report for a rejected run. */
  errorFor(error: unknown): Error {
    const sent = receivedError(error)
    if (sent !== undefined) return sent
    if (this.terminatedAs === 'stopped') return stoppedError()
    const { record } = this.heartbeat
    if (this.terminatedAs === 'hung')
      return new WorkerDeath('WORKER_HUNG', record, `no progress in ${Math.round(this.spentMs)} ms of CPU time`)
    const cause = this.startFailure ?? error
    return new WorkerDeath('WORKER_DIED', record, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/**
 * Whether this version of Node loads ES modules with `require`, as Piscina tries first. A thread that is terminated
 * during that aborts the whole process (Node 20.20: Module::IsGraphAsync); during `import` it just ends.
 */
const CAN_REQUIRE_MODULES = process.allowedNodeEnvironmentFlags.has('--experimental-require-module')

/** A pool of worker threads and the runs that use it. Tasks are started in the order of their submission, except urgent ones. */
class SharedPool {
  private static readonly open = new Map<string, SharedPool>()
  private readonly key: string
  readonly size: number
  private readonly setupBytes: number
  private readonly threads: Piscina
  private readonly queue: { readonly job: Job; readonly start: () => void; readonly drop: (error: Error) => void }[] =
    []
  private readonly running = new Set<Job>()
  private userCount = 0
  private idle: NodeJS.Timeout | undefined
  private watchdog: NodeJS.Timeout | undefined

  /** Opens or reuses the pool for these options and counts one more user. */
  static for(options: WorkersOptions): SharedPool {
    const key = JSON.stringify([options.file.href, options.workers, options.setup])
    const pool = SharedPool.open.get(key) ?? new SharedPool(key, options)
    for (const other of SharedPool.open.values()) if (other !== pool && other.userCount === 0) other.destroy()
    SharedPool.open.set(key, pool)
    pool.acquire()
    return pool
  }

  private constructor(key: string, { file, workers, setup, setupBytes = 0 }: WorkersOptions) {
    this.key = key
    this.size = workers
    this.setupBytes = setupBytes
    this.threads = new Piscina({
      filename: fileURLToPath(file),
      minThreads: workers,
      maxThreads: workers,
      concurrentTasksPerWorker: 1,
      // This class decides when threads end.
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: setup ?? null,
      // Without the options of the process: --input-type=module of a script on the command line would stop the threads.
      execArgv: CAN_REQUIRE_MODULES ? ['--no-experimental-require-module'] : [],
      recordTiming: false,
      // Tasks allocate short-lived objects or memory outside the heap; a small young generation keeps workers small.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 2048 },
    })
    // A thread that fails before it has a task may be the one that a queued task waits for, such as when no file can be
    // opened.
    this.threads.on('error', (error: Error) => {
      for (const job of this.running) job.failUnstarted(error)
    })
  }

  private acquire(): void {
    this.userCount++
    clearTimeout(this.idle)
    this.watchdog ??= this.startWatchdog()
  }

  release(): void {
    if (--this.userCount > 0) return
    clearInterval(this.watchdog)
    this.watchdog = undefined
    this.idle = setTimeout(() => this.destroy(), IDLE_MS).unref()
  }

  private destroy(): void {
    clearTimeout(this.idle)
    SharedPool.open.delete(this.key)
    void this.threads.destroy()
  }

  async run(job: Job, isUrgent: boolean): Promise<unknown> {
    if (this.running.size >= this.size) {
      await new Promise<void>((start, drop) => this.queue[isUrgent ? 'unshift' : 'push']({ job, start, drop }))
    } else {
      this.running.add(job)
    }
    const { name, message, transferList, abort } = job
    try {
      return await this.threads.run(message, { name, transferList: [...transferList], signal: abort.signal })
    } catch (error) {
      throw job.errorFor(error)
    } finally {
      this.running.delete(job)
      this.startNext()
    }
  }

  private startNext(): void {
    const next = this.queue.shift()
    if (next === undefined) return
    this.running.add(next.job)
    next.start()
  }

  /** Rejects those of the jobs that are still queued. */
  dropQueued(jobs: ReadonlyMap<Job, unknown>): void {
    const dropped = this.queue.filter(({ job }) => jobs.has(job))
    const kept = this.queue.filter(({ job }) => !jobs.has(job))
    this.queue.splice(0, this.queue.length, ...kept)
    for (const { drop } of dropped) drop(stoppedError())
  }

  /**
   * Measures workers in CPU time of the process, not in wall-clock time, so that a busy machine or a suspended process
   * does not trigger timeouts.
   */
  private startWatchdog(): NodeJS.Timeout {
    let lastCpu = process.cpuUsage()
    let lastTime = performance.now()
    return setInterval(() => {
      const { user, system } = process.cpuUsage(lastCpu)
      const elapsedMs = performance.now() - lastTime
      lastCpu = process.cpuUsage()
      lastTime = performance.now()
      const cpuMs = (user + system) / 1000
      const idleMs = Math.min(elapsedMs, MAX_TICK_MS) / IDLE_TIME_DIVISOR
      const share = (threads: number): number => Math.max(Math.min(elapsedMs, cpuMs / threads), idleMs)
      // Threads without a task use the processor too while they start.
      for (const job of this.running)
        job.chargeTime(share(job.isStarted ? this.running.size : this.size), this.setupBytes)
    }, WATCHDOG_INTERVAL_MS).unref()
  }
}
