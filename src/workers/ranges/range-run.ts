/**
 * Schedules the ranges of a file over the workers. Separate from the stage `read-ranges`, so that a command can start a
 * run before it loads the rest of its code: the workers start and process the first ranges in the meantime.
 */
import type { Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { cachedFingerprint } from '../../files/file-fingerprint.js'
import { closeSource, openSource, PAGE_BYTES } from '../../files/source-file.js'
import type { Batch } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { TokenBytes } from '../../formats/pbin.js'
import { inOrder } from '../in-order.js'
import { runWithoutPoison } from '../poison-records.js'
import { type TokenizerFacts, tokenizerFactsOf, tokenizerSetup } from '../tokenizer/tokenizer-setup.js'
import { defaultWorkers, openWorkers, type Workers } from '../worker-pool.js'
import type { FileRange } from './load-range.js'
import type { RangePacking, RangeReply, RangeTask } from './range-task.js'

const RANGE_WORKER = new URL('./range-worker.js', import.meta.url)
/** Maximum size of a range when lines are tokenized. `maxLineBytes` must not be smaller. */
export const RANGE_BYTES = 2 << 20
/** Validation alone is twenty times as fast as tokenizing, so larger ranges amortize the overhead of a task. */
const VALIDATION_RANGE_BYTES = 8 << 20
const MIN_RANGE_BYTES = 256 << 10
const RANGES_PER_WORKER = 4
/** Maximum number of bytes in flight over all workers. */
const MAX_IN_FLIGHT_BYTES = 32 << 20
/**
 * Read-ahead when lines are only validated; larger before the stage takes over, when nothing has been journalled yet.
 */
const READ_AHEAD_BYTES = 24 << 20
const EARLY_READ_AHEAD_BYTES = 56 << 20
/** Result memory per byte of a range: enough for the tokens and offsets of all but very short lines. */
const SLOT_BYTES_PER_BYTE = 2
/** The same without tokens: enough for the offsets of lines of at least 32 bytes. */
const VALIDATION_SLOT_BYTES_PER_BYTE = 1 / 4

export interface RangeWork {
  readonly path: string
  readonly maxLineBytes: number
  /** Defaults to the number of cores. */
  readonly workers?: number | undefined
  /** Whether to return the offsets of the lines. */
  readonly index: boolean
  /** Tokenization; without it, lines are only validated. */
  readonly pack?:
    | {
        readonly field: FieldPath
        readonly tokenizer: string
        readonly end_of_document?: string | undefined
        readonly token_bytes?: TokenBytes | undefined
      }
    | undefined
}

/** Resolves when the range up to `end` may be started; undefined when it may be started now. */
export type RoomFor = (end: number) => Promise<void> | undefined

/** Result of one range. */
export interface RangeResult {
  readonly reply: RangeReply
  readonly range: Batch & FileRange
  /** Returns the memory of the reply's arrays for reuse. */
  readonly release: () => void
}

/** One pass over a file. Release it with `close`. */
export class RangeRun {
  readonly handle: FileHandle
  readonly stats: Stats
  /** Properties of the workers' tokenizer, if they have one. */
  readonly facts: Promise<TokenizerFacts | undefined>
  private readonly work: RangeWork
  private readonly workers: Workers
  private readonly sizes: RangeSizes
  private readonly stop = new AbortController()
  private isTakenOver = false
  private roomFor: RoomFor = () => undefined
  private readonly freeSlots: SharedArrayBuffer[] = []
  /** File offset at which the run started. */
  private readonly from: number
  /** Results from that offset on; the first one is already requested. */
  private readonly results: AsyncGenerator<RangeResult>
  private readonly first: Promise<IteratorResult<RangeResult>>

  private constructor(
    work: RangeWork,
    file: { handle: FileHandle; stats: Stats },
    opened: OpenedWorkers,
    from: number,
  ) {
    this.work = work
    this.from = from
    this.handle = file.handle
    this.stats = file.stats
    this.workers = opened.workers
    this.sizes = opened.sizes
    this.facts = opened.facts
    this.results = this.resultsFrom(from)
    this.first = this.results.next()
    // Rejections are handled by the consumer of these promises.
    this.first.catch(() => {})
    this.facts.catch(() => {})
  }

  /**
   * Opens the file, starts the workers and submits the first ranges.
   *
   * @param from file offset of the first range
   * @param worker module of the workers
   * @throws FILE_MISSING, FILE_UNREADABLE
   */
  static async start(work: RangeWork, from: number, worker: URL = RANGE_WORKER): Promise<RangeRun> {
    const file = await openSource(work.path)
    try {
      return new RangeRun(work, file, await openRangeWorkers(work, file.stats.size, worker), from)
    } catch (error) {
      await file.handle.close()
      throw error
    }
  }

  /**
   * The results of the ranges, in file order. May be called once.
   *
   * @param from file offset; if it differs from the offset at start, the ranges already started are discarded
   * @param roomFor called before a range is started, except for those already started
   * @throws errors of the workers; the signal's reason
   */
  async *take(from: number, signal: AbortSignal, roomFor: RoomFor): AsyncGenerator<RangeResult> {
    this.isTakenOver = true
    this.roomFor = roomFor
    const abort = (): void => this.stop.abort(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      if (from !== this.from) return yield* this.resultsFrom(from)
      const first = await this.first
      if (!first.done) yield first.value
      yield* this.results
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async close(): Promise<void> {
    await this.workers.close()
    await closeSource(this.work.path, this.handle)
  }

  private resultsFrom(start: number): AsyncGenerator<RangeResult> {
    const { earlyInFlight, inFlight } = this.sizes
    const limit = (): number => (this.isTakenOver ? inFlight : earlyInFlight)
    return inOrder(this.rangesFrom(start), limit, range => this.run(range), this.stop.signal)
  }

  private async *rangesFrom(first: number): AsyncGenerator<Batch & FileRange> {
    const { path: file, maxLineBytes } = this.work
    const common = { descriptor: this.handle.fd, file, fileBytes: this.stats.size, maxLineBytes }
    for (let start = first, number = 0; start < common.fileBytes; start += this.sizes.bytes, number++) {
      const end = Math.min(common.fileBytes, start + this.sizes.bytes)
      yield { ...common, start, end, number, byteLength: end - start }
    }
  }

  private async run(range: Batch & FileRange): Promise<RangeResult> {
    const { number: _, byteLength: __, ...place } = range
    const { index } = this.work
    await this.roomFor(range.end)
    let slot: SharedArrayBuffer
    const { reply } = await runWithoutPoison<RangeReply>(
      retry => {
        // Never the slot of an earlier attempt, whose worker may still be running.
        slot = this.freeSlots.pop() ?? new SharedArrayBuffer(this.sizes.slotBytes)
        return this.workers.run('default', { ...place, index, slot, retry } satisfies RangeTask)
      },
      { file: range.file, byteOffset: range.start },
    )
    return { reply, range, release: () => void this.freeSlots.push(slot) }
  }
}

interface OpenedWorkers {
  readonly workers: Workers
  readonly sizes: RangeSizes
  readonly facts: Promise<TokenizerFacts | undefined>
}

/** @throws FILE_MISSING when the tokenizer does not exist */
async function openRangeWorkers(work: RangeWork, fileBytes: number, file: URL): Promise<OpenedWorkers> {
  const { pack } = work
  const sizes = sizesFor(work, fileBytes)
  if (pack === undefined) {
    return { workers: openWorkers({ file, workers: sizes.workers }), sizes, facts: Promise.resolve(undefined) }
  }
  const tokenizer = await tokenizerSetup(pack.tokenizer, pack.end_of_document)
  const setup: RangePacking = { ...tokenizer, path: pack.field, tokenBytes: pack.token_bytes }
  const workers = openWorkers({ file, workers: sizes.workers, setup })
  return { workers, sizes, facts: tokenizerFactsOf(workers, setup) }
}

interface RangeSizes {
  readonly bytes: number
  readonly slotBytes: number
  readonly workers: number
  /** Ranges that may be under way or done and not taken: before the first is asked for, and then. */
  readonly earlyInFlight: number
  readonly inFlight: number
}

/** Smaller ranges for many workers, and where a file is too small to keep all of them busy. */
function sizesFor({ workers: asked = defaultWorkers(), maxLineBytes, pack }: RangeWork, fileBytes: number): RangeSizes {
  const share = Math.ceil(fileBytes / (asked * RANGES_PER_WORKER) / PAGE_BYTES) * PAGE_BYTES
  const limits = [pack ? RANGE_BYTES : VALIDATION_RANGE_BYTES, MAX_IN_FLIGHT_BYTES / (asked + 1), maxLineBytes]
  const maxBytes = Math.floor(Math.min(...limits) / PAGE_BYTES) * PAGE_BYTES
  const bytes = Math.max(MIN_RANGE_BYTES, Math.min(maxBytes, share))
  const workers = Math.max(1, Math.min(asked, Math.ceil(fileBytes / bytes)))
  const slotBytes = bytes * (pack ? SLOT_BYTES_PER_BYTE : VALIDATION_SLOT_BYTES_PER_BYTE)
  const minRanges = workers + 1
  if (pack) return { bytes, slotBytes, workers, earlyInFlight: minRanges, inFlight: minRanges }
  const ranges = (maxBytes: number): number => Math.max(minRanges, Math.floor(maxBytes / bytes))
  return {
    bytes,
    slotBytes,
    workers,
    earlyInFlight: ranges(EARLY_READ_AHEAD_BYTES),
    inFlight: ranges(READ_AHEAD_BYTES),
  }
}

/** Runs that were started early and not yet taken over by a stage. */
const started = new Map<string, RangeRun>()

/** The run of this work that was started early, or a new one. @throws the codes of `RangeRun.start` */
export async function rangeRunOf(work: RangeWork, from: number, worker?: URL): Promise<RangeRun> {
  const key = keyOf(work)
  const run = started.get(key)
  if (run === undefined || worker !== undefined) return RangeRun.start(work, from, worker)
  started.delete(key)
  return run
}

/**
 * Starts a run early, for a stage that `load` will create. Errors of the file or the tokenizer are left for `load` to
 * report.
 */
export async function withStartedRun(work: RangeWork, load: () => Promise<void>): Promise<void> {
  const run = await RangeRun.start(work, 0).catch(() => undefined)
  const key = keyOf(work)
  if (run !== undefined) {
    started.set(key, run)
    cachedFingerprint({ path: work.path, handle: run.handle }, run.stats).catch(() => {})
  }
  try {
    await load()
  } finally {
    if (started.delete(key)) await run?.close()
  }
}

const keyOf = ({ path, maxLineBytes, workers, index, pack }: RangeWork): string =>
  JSON.stringify([
    path,
    maxLineBytes,
    workers,
    index,
    pack?.field,
    pack?.tokenizer,
    pack?.end_of_document,
    pack?.token_bytes,
  ])
