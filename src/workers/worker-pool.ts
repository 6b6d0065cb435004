/**
 * Worker threads, shared by all that ask for the same ones at once, and kept for a moment when nobody does: the next run
 * finds them started, their tokenizer loaded and their caches warm. Idle threads do not keep a process alive.
 *
 * A worker that ends in the middle of a task, or that shows no progress for longer than the piece it is at can take, is
 * replaced; whoever gave the task is told by a WorkerDeath. A task is one batch: some 40 microseconds of overhead each.
 */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import type { MessagePort } from 'node:worker_threads'
import { Piscina } from 'piscina'
import { PenstockError } from '../errors.js'
import { Heartbeat } from './heartbeat.js'
import { receivedError, type TaskMessage, WorkerDeath } from './worker-function.js'

export interface WorkersOptions {
  /** The workers' module. Its functions are made by `workerFunction`. */
  readonly file: URL
  readonly workers: number
  /** What the workers are for; they find it in `workerData`, null without one. Plain data, equal for equal workers. */
  readonly setup?: unknown
  /** Bytes that a worker reads to set itself up. */
  readonly setupBytes?: number
}

/** How long an unused pool is kept; that of another setup takes its place at once. */
const IDLE_MS = 5000
/** How long a closed run's tasks may take to their end. */
const GRACE_MS = 1000
const WATCH_MS = 50
/** What any piece may take, in milliseconds of work, and what each of its bytes adds: 250 kB/s, ten times less than the slowest engine. */
const PATIENCE_MS = 500
const PATIENCE_MS_PER_BYTE = 0.004
/** The same for a worker's start. */
const START_MS = 1000
const START_MS_PER_BYTE = 0.001
/** A worker that waits without working spends its time as much slower: it may be the disk. */
const WAITING_FACTOR = 10
/** More between two looks, and the process itself was stopped. */
const LONGEST_WAIT_MS = 1000

export const defaultWorkers = (): number => availableParallelism()

/** Workers for one run, started at once. End them with `close`. */
export function openWorkers(options: WorkersOptions): Workers {
  return new Workers(SharedPool.for(options))
}

/** One run's use of a pool. */
export class Workers {
  private readonly pool: SharedPool
  private readonly jobs = new Map<Job, Promise<unknown>>()
  private isClosed = false

  constructor(pool: SharedPool) {
    this.pool = pool
  }

  /** The same object for all that use the same threads. */
  get threads(): object {
    return this.pool
  }

  /** Threads, whoever uses them. */
  get size(): number {
    return this.pool.size
  }

  /**
   * Has a worker run one of its module's functions.
   *
   * @throws what the function throws; WorkerDeath when the worker ended
   */
  async run<Reply>(name: string, task: unknown, transferList: readonly Transferable[] = []): Promise<Reply> {
    if (this.isClosed) throw stopped()
    const job = new Job(name, task, transferList)
    const reply = this.pool.run(job)
    this.jobs.set(job, reply)
    try {
      return (await reply) as Reply
    } finally {
      this.jobs.delete(job)
    }
  }

  /**
   * Ends the run's use. Its tasks under way are waited for, since they may use files and memory of the run; a task that
   * takes longer than a second loses its worker.
   */
  async close(): Promise<void> {
    if (this.isClosed) return
    this.isClosed = true
    this.pool.forget(this.jobs)
    const timer = setTimeout(() => {
      for (const job of this.jobs.keys()) job.end('stopped')
    }, GRACE_MS)
    await Promise.allSettled(this.jobs.values())
    clearTimeout(timer)
    this.pool.leave()
  }
}

type Transferable = ArrayBuffer | MessagePort

const stopped = (): PenstockError => new PenstockError('STOPPED', 'stopped before its end')

/** A task on its way through a pool. */
class Job {
  readonly name: string
  readonly message: TaskMessage<unknown>
  readonly transferList: readonly Transferable[]
  readonly heartbeat = new Heartbeat()
  readonly abort = new AbortController()
  private ending: 'hung' | 'stopped' | undefined
  private lost: Error | undefined
  private lastCount = 0
  private spentMs = 0

  constructor(name: string, task: unknown, transferList: readonly Transferable[]) {
    this.name = name
    this.message = { task, heartbeat: this.heartbeat.memory }
    this.transferList = transferList
  }

  /** Counts time that the job's worker had for the piece it is at; ends it when that is too much. */
  spend(milliseconds: number, setupBytes: number): void {
    const { count, byteLength } = this.heartbeat
    this.spentMs = count === this.lastCount ? this.spentMs + milliseconds : 0
    this.lastCount = count
    const patience =
      count === 0 ? START_MS + START_MS_PER_BYTE * setupBytes : PATIENCE_MS + PATIENCE_MS_PER_BYTE * byteLength
    if (this.spentMs > patience) this.end('hung')
  }

  /** Ends the job if no worker has begun with it. */
  lose(cause: Error): void {
    if (this.heartbeat.count > 0) return
    this.lost = cause
    this.abort.abort()
  }

  /** Ends the job with its worker. */
  end(why: 'hung' | 'stopped'): void {
    this.ending = why
    this.abort.abort()
  }

  /** What a rejected run means. */
  failure(error: unknown): Error {
    const sent = receivedError(error)
    if (sent !== undefined) return sent
    if (this.ending === 'stopped') return stopped()
    const { piece } = this.heartbeat
    if (this.ending === 'hung')
      return new WorkerDeath('WORKER_HUNG', piece, `no progress in ${Math.round(this.spentMs)} ms of work`)
    const cause = this.lost ?? error
    return new WorkerDeath('WORKER_DIED', piece, cause instanceof Error ? cause.message : String(cause), cause)
  }
}

/** A pool of worker threads with all runs that use it. Tasks are given out in the order in which they came. */
class SharedPool {
  private static readonly open = new Map<string, SharedPool>()
  private readonly key: string
  readonly size: number
  private readonly setupBytes: number
  private readonly threads: Piscina
  private readonly waiting: { readonly job: Job; readonly start: () => void; readonly drop: (error: Error) => void }[] =
    []
  private readonly running = new Set<Job>()
  private users = 0
  private idle: NodeJS.Timeout | undefined
  private watch: NodeJS.Timeout | undefined

  /** The pool of these options, with one more user. */
  static for(options: WorkersOptions): SharedPool {
    const key = JSON.stringify([options.file.href, options.workers, options.setup])
    const pool = SharedPool.open.get(key) ?? new SharedPool(key, options)
    for (const other of SharedPool.open.values()) if (other !== pool && other.users === 0) other.destroy()
    SharedPool.open.set(key, pool)
    pool.join()
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
      // When to end threads is decided here.
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: setup ?? null,
      recordTiming: false,
      // What a task allocates is short-lived or lies outside the heap; a small nursery keeps the workers small.
      resourceLimits: { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 2048 },
    })
    // A thread that ended without a task may have been the one that a task waits for, as when no file can be opened.
    this.threads.on('error', (error: Error) => {
      for (const job of this.running) job.lose(error)
    })
  }

  private join(): void {
    this.users++
    clearTimeout(this.idle)
    this.watch ??= this.startWatch()
  }

  leave(): void {
    if (--this.users > 0) return
    clearInterval(this.watch)
    this.watch = undefined
    this.idle = setTimeout(() => this.destroy(), IDLE_MS).unref()
  }

  private destroy(): void {
    clearTimeout(this.idle)
    SharedPool.open.delete(this.key)
    void this.threads.destroy()
  }

  async run(job: Job): Promise<unknown> {
    if (this.running.size >= this.size) {
      await new Promise<void>((start, drop) => this.waiting.push({ job, start, drop }))
    } else {
      this.running.add(job)
    }
    const { name, message, transferList, abort } = job
    try {
      return await this.threads.run(message, { name, transferList: [...transferList], signal: abort.signal })
    } catch (error) {
      throw job.failure(error)
    } finally {
      this.running.delete(job)
      this.startNext()
    }
  }

  private startNext(): void {
    const next = this.waiting.shift()
    if (next === undefined) return
    this.running.add(next.job)
    next.start()
  }

  /** Drops those of the jobs that have no worker yet. */
  forget(jobs: ReadonlyMap<Job, unknown>): void {
    const dropped = this.waiting.filter(({ job }) => jobs.has(job))
    const kept = this.waiting.filter(({ job }) => !jobs.has(job))
    this.waiting.splice(0, this.waiting.length, ...kept)
    for (const { drop } of dropped) drop(stopped())
  }

  /**
   * Takes the workers' time by what the process worked, not by the clock: on a busy machine, or after the process was
   * stopped for a while, a piece takes no more work than otherwise.
   */
  private startWatch(): NodeJS.Timeout {
    let lastCpu = process.cpuUsage()
    let lastTime = performance.now()
    return setInterval(() => {
      const { user, system } = process.cpuUsage(lastCpu)
      const passed = performance.now() - lastTime
      lastCpu = process.cpuUsage()
      lastTime = performance.now()
      const worked = Math.min(passed, (user + system) / 1000 / this.running.size)
      const waited = Math.min(passed, LONGEST_WAIT_MS) / WAITING_FACTOR
      const spent = Math.max(worked, waited)
      for (const job of this.running) job.spend(spent, this.setupBytes)
    }, WATCH_MS).unref()
  }
}
