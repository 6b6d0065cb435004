/**
 * The ranges of a file on their way through the workers. Apart from the stage `read-ranges`, so that a command can start
 * a run and load the rest of its code while the workers load theirs and do the first ranges: the stage finds them done.
 */
import type { Stats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { cachedFingerprint } from '../../files/file-fingerprint.js'
import { openSource, PAGE_BYTES } from '../../files/source-file.js'
import type { Batch } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { TokenBytes } from '../../formats/pbin.js'
import { inOrder } from '../in-order.js'
import { runWithoutPoison } from '../poison-records.js'
import { askForTokenizer, type TokenizerFacts, tokenizerSetup } from '../tokenizer/tokenizer-setup.js'
import { defaultWorkers, openWorkers, type Workers } from '../worker-pool.js'
import type { FileRange } from './load-range.js'
import type { RangePacking, RangeReply, RangeTask } from './range-task.js'

const RANGE_WORKER = new URL('./range-worker.js', import.meta.url)
/** The limit of a line's length must not be below this: a range of which lines are packed must hold a longest one. */
export const RANGE_BYTES = 2 << 20
/** Lines that are only checked are done twenty times as fast: a task's overhead counts. */
const CHECKED_RANGE_BYTES = 8 << 20
const SMALLEST_RANGE_BYTES = 256 << 10
const RANGES_PER_WORKER = 4
/** What all workers together may have under way. */
const MAX_UNDER_WAY_BYTES = 32 << 20
/** So much of lines that are only checked may be done ahead, more while nobody asks: nothing is on record then. */
const CHECKED_AHEAD_BYTES = 24 << 20
const FIRST_AHEAD_BYTES = 56 << 20
/** Memory for what comes of a range, in its bytes: enough for tokens and tables of any but the shortest lines. */
const SLOT_SHARE = 2
/** The same where there are only tables, of lines of 32 bytes or more. */
const CHECKED_SLOT_SHARE = 1 / 4

export interface RangeWork {
  readonly path: string
  readonly maxLineBytes: number
  /** The number of cores when undefined. */
  readonly workers?: number | undefined
  /** Whether the places of the lines are asked for. */
  readonly index: boolean
  /** Left out, lines are only checked. */
  readonly pack?:
    | {
        readonly field: FieldPath
        readonly tokenizer: string
        readonly end_of_document?: string | undefined
        readonly token_bytes?: TokenBytes | undefined
      }
    | undefined
}

/** What to wait for before the range up to `end` is begun; undefined when it may be begun now. */
export type RoomFor = (end: number) => Promise<void> | undefined

/** What came of a range. */
export interface RangeResult {
  readonly reply: RangeReply
  readonly range: Batch & FileRange
  /** Gives the memory of the reply's arrays back. */
  readonly release: () => void
}

/** One pass over a file. End it with `close`. */
export class RangeRun {
  readonly handle: FileHandle
  readonly stats: Stats
  /** What the workers say of their tokenizer, where they have one. */
  readonly facts: Promise<TokenizerFacts | undefined>
  private readonly work: RangeWork
  private readonly workers: Workers
  private readonly sizes: RangeSizes
  private readonly stop = new AbortController()
  private isTaken = false
  private roomFor: RoomFor = () => undefined
  private readonly freeSlots: SharedArrayBuffer[] = []
  /** Where in the file it began. */
  private readonly from: number
  /** The results from there on, and the first of them on its way. */
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
    // Whoever asks for them meets their failure.
    this.first.catch(() => {})
    this.facts.catch(() => {})
  }

  /**
   * Opens the file, starts the workers and has them begin.
   *
   * @param from where in the file
   * @param worker their module
   * @throws FILE_MISSING, FILE_UNREADABLE
   */
  static async start(work: RangeWork, from: number, worker: URL = RANGE_WORKER): Promise<RangeRun> {
    const file = await openSource(work.path)
    try {
      return new RangeRun(work, file, await openedWorkers(work, file.stats.size, worker), from)
    } catch (error) {
      await file.handle.close()
      throw error
    }
  }

  /**
   * What comes of the ranges, in their order; to be asked for once.
   *
   * @param from where in the file; what was begun elsewhere is dropped
   * @param roomFor asked before a range is begun, but for those begun already
   * @throws what its workers throw; the signal's reason
   */
  async *take(from: number, signal: AbortSignal, roomFor: RoomFor): AsyncGenerator<RangeResult> {
    this.isTaken = true
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
    await this.handle.close()
  }

  private resultsFrom(start: number): AsyncGenerator<RangeResult> {
    const { firstUnderWay, underWay } = this.sizes
    const limit = (): number => (this.isTaken ? underWay : firstUnderWay)
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
        // Never that of an attempt before: its worker may not have ended yet.
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

/** @throws FILE_MISSING when there is no such tokenizer */
async function openedWorkers(work: RangeWork, fileBytes: number, file: URL): Promise<OpenedWorkers> {
  const { pack } = work
  const sizes = sizesFor(work, fileBytes)
  if (pack === undefined) {
    return { workers: openWorkers({ file, workers: sizes.workers }), sizes, facts: Promise.resolve(undefined) }
  }
  const tokenizer = await tokenizerSetup(pack.tokenizer, pack.end_of_document)
  const setup: RangePacking = { ...tokenizer, path: pack.field, tokenBytes: pack.token_bytes }
  const workers = openWorkers({ file, workers: sizes.workers, setup })
  return { workers, sizes, facts: askForTokenizer(workers, setup) }
}

interface RangeSizes {
  readonly bytes: number
  readonly slotBytes: number
  readonly workers: number
  /** Ranges that may be under way or done and not taken: before the first is asked for, and then. */
  readonly firstUnderWay: number
  readonly underWay: number
}

/** Smaller ranges for many workers, and where a file is too small to keep all of them busy. */
function sizesFor({ workers: asked = defaultWorkers(), maxLineBytes, pack }: RangeWork, fileBytes: number): RangeSizes {
  const share = Math.ceil(fileBytes / (asked * RANGES_PER_WORKER) / PAGE_BYTES) * PAGE_BYTES
  const limits = [pack ? RANGE_BYTES : CHECKED_RANGE_BYTES, MAX_UNDER_WAY_BYTES / (asked + 1), maxLineBytes]
  const maxBytes = Math.floor(Math.min(...limits) / PAGE_BYTES) * PAGE_BYTES
  const bytes = Math.max(SMALLEST_RANGE_BYTES, Math.min(maxBytes, share))
  const workers = Math.max(1, Math.min(asked, Math.ceil(fileBytes / bytes)))
  const slotBytes = bytes * (pack ? SLOT_SHARE : CHECKED_SLOT_SHARE)
  const minRanges = workers + 1
  if (pack) return { bytes, slotBytes, workers, firstUnderWay: minRanges, underWay: minRanges }
  const ranges = (maxBytes: number): number => Math.max(minRanges, Math.floor(maxBytes / bytes))
  return { bytes, slotBytes, workers, firstUnderWay: ranges(FIRST_AHEAD_BYTES), underWay: ranges(CHECKED_AHEAD_BYTES) }
}

/** Runs that no stage has asked for yet. */
const started = new Map<string, RangeRun>()

/** The run of this work that was started before, or a new one. @throws as `RangeRun.start` does */
export async function rangeRunOf(work: RangeWork, from: number, worker?: URL): Promise<RangeRun> {
  const key = keyOf(work)
  const run = started.get(key)
  if (run === undefined || worker !== undefined) return RangeRun.start(work, from, worker)
  started.delete(key)
  return run
}

/** Starts the run that `load` will ask for. Problems of the file or the tokenizer are left for `load` to report. */
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
