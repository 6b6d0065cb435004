/**
 * Schedules the ranges of one file, or of several in their order, over the workers. Separate from the stage `read-ranges`, so that a command can start a
 * run before it loads the rest of its code: the workers start and process the first ranges in the meantime.
 */
import type { Stats } from 'node:fs'
import { type FileHandle, stat } from 'node:fs/promises'
import { PenstockError } from '../../errors.js'
import { readFully } from '../../files/read-at.js'
import { closeSource, openSource, PAGE_BYTES } from '../../files/source-file.js'
import { requireText, SIGNATURE_BYTES } from '../../files/source-format.js'
import { cachedFingerprint } from '../../files/sources/file-fingerprint.js'
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
  /** Read one after the other; a line never continues in the next file. */
  readonly paths: readonly string[]
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

/** A place in the files: index of the file, and byte offset in it. */
export interface FilePosition {
  readonly file: number
  readonly byteOffset: number
}

const START: FilePosition = { file: 0, byteOffset: 0 }

export interface OpenSource {
  readonly handle: FileHandle
  readonly stats: Stats
}

/** Resolves when the range up to `end`, in bytes of all files, may be started; undefined when it may be started now. */
export type RoomFor = (end: number) => Promise<void> | undefined

/** A range of one of the files. */
type Range = Batch & FileRange & { readonly fileIndex: number }

/** Result of one range. */
export interface RangeResult {
  readonly reply: RangeReply
  readonly range: Range
  /** Returns the memory of the reply's arrays for reuse. */
  readonly release: () => void
}

/** One pass over the files. Release it with `close`. */
export class RangeRun {
  /** Bytes of all files, as they were at the start. */
  readonly totalBytes: number
  /** Properties of the workers' tokenizer, if they have one. */
  readonly facts: Promise<TokenizerFacts | undefined>
  private readonly work: RangeWork
  private readonly workers: Workers
  private readonly sizes: RangeSizes
  private readonly stop = new AbortController()
  private isTakenOver = false
  private roomFor: RoomFor = () => undefined
  private readonly freeSlots: SharedArrayBuffer[] = []
  /** Bytes of the files before each file. */
  private readonly bytesBefore: readonly number[]
  /** By index; opened when their first range is scheduled, closed by `closeFile`. */
  private readonly files = new Map<number, OpenSource>()
  /** Position at which the run started. */
  private readonly from: FilePosition
  /** Results from that position on; the first one is already requested. */
  private readonly results: AsyncGenerator<RangeResult>
  private readonly first: Promise<IteratorResult<RangeResult>>

  private constructor(
    work: RangeWork,
    sizes: readonly number[],
    opened: OpenedWorkers,
    from: FilePosition,
    first: OpenSource,
  ) {
    this.work = work
    this.from = from
    this.files.set(from.file, first)
    let total = 0
    this.bytesBefore = sizes.map(size => {
      total += size
      return total - size
    })
    this.totalBytes = total
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
   * Starts the workers and submits the first ranges.
   *
   * @param from position of the first range
   * @param worker module of the workers
   * @throws FILE_MISSING, FILE_UNREADABLE
   */
  static async start(work: RangeWork, from: FilePosition = START, worker: URL = RANGE_WORKER): Promise<RangeRun> {
    // The first file is opened before the workers are: its errors are the most common ones.
    const first = await openSource(work.paths[from.file]!)
    try {
      const sizes: number[] = []
      for (const path of work.paths) sizes.push((await stat(path).catch(() => undefined))?.size ?? 0)
      const total = sizes.reduce((sum, size) => sum + size, 0)
      return new RangeRun(work, sizes, await openRangeWorkers(work, total, worker), from, first)
    } catch (error) {
      await closeSource(work.paths[from.file]!, first.handle)
      throw error
    }
  }

  /** An open file. @throws INTERNAL before its first range, and after `closeFile` */
  file(index: number): OpenSource {
    const file = this.files.get(index)
    if (file === undefined) throw new PenstockError('INTERNAL', `file ${index} of the run is not open`)
    return file
  }

  /** To be called once all ranges of a file have been processed. */
  async closeFile(index: number): Promise<void> {
    const { handle } = this.file(index)
    this.files.delete(index)
    await closeSource(this.work.paths[index]!, handle)
  }

  /**
   * The results of the ranges, in file order. May be called once.
   *
   * @param from if it differs from the position at start, the ranges already started are discarded
   * @param roomFor called before a range is started, except for those already started
   * @throws errors of the workers; the signal's reason
   */
  async *take(from: FilePosition, signal: AbortSignal, roomFor: RoomFor): AsyncGenerator<RangeResult> {
    this.isTakenOver = true
    this.roomFor = roomFor
    const abort = (): void => this.stop.abort(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    try {
      if (from.file !== this.from.file || from.byteOffset !== this.from.byteOffset) return yield* this.resultsFrom(from)
      const first = await this.first
      if (!first.done) yield first.value
      yield* this.results
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async close(): Promise<void> {
    await this.workers.close()
    for (const [index, { handle }] of this.files) await closeSource(this.work.paths[index]!, handle)
    this.files.clear()
  }

  private resultsFrom(start: FilePosition): AsyncGenerator<RangeResult> {
    const { earlyInFlight, inFlight } = this.sizes
    const limit = (): number => (this.isTakenOver ? inFlight : earlyInFlight)
    return inOrder(this.rangesFrom(start), limit, range => this.run(range), this.stop.signal)
  }

  private async *rangesFrom(from: FilePosition): AsyncGenerator<Range> {
    const { paths, maxLineBytes } = this.work
    let number = 0
    for (let fileIndex = from.file; fileIndex < paths.length; fileIndex++) {
      const file = paths[fileIndex]!
      const { handle, stats } = this.files.get(fileIndex) ?? (await openSource(file))
      this.files.set(fileIndex, { handle, stats })
      const common = { fileIndex, descriptor: handle.fd, file, fileBytes: stats.size, maxLineBytes }
      const first = fileIndex === from.file ? from.byteOffset : 0
      if (first === 0) await requireTextFile(file, handle)
      // No range tells the consumer that it is done with an empty file.
      if (first >= stats.size) await this.closeFile(fileIndex)
      for (let start = first; start < stats.size; start += this.sizes.bytes) {
        const end = Math.min(stats.size, start + this.sizes.bytes)
        yield { ...common, start, end, number: number++, byteLength: end - start }
      }
    }
  }

  private async run(range: Range): Promise<RangeResult> {
    const { number: _, byteLength: __, fileIndex, ...place } = range
    const { index } = this.work
    await this.roomFor(this.bytesBefore[fileIndex]! + range.end)
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

/** @throws UNSUPPORTED for a file of another format, whatever its name */
async function requireTextFile(path: string, handle: FileHandle): Promise<void> {
  const head = new Uint8Array(SIGNATURE_BYTES)
  requireText(path, head.subarray(0, await readFully({ path, handle }, head, 0)), true)
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
export async function rangeRunOf(work: RangeWork, from: FilePosition, worker?: URL): Promise<RangeRun> {
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
  const run = await RangeRun.start(work).catch(() => undefined)
  const key = keyOf(work)
  if (run !== undefined) {
    started.set(key, run)
    const [path] = work.paths
    const { handle, stats } = run.file(0)
    if (work.paths.length === 1) cachedFingerprint({ path: path!, handle }, stats).catch(() => {})
  }
  try {
    await load()
  } finally {
    if (started.delete(key)) await run?.close()
  }
}

const keyOf = ({ paths, maxLineBytes, workers, index, pack }: RangeWork): string =>
  JSON.stringify([
    paths,
    maxLineBytes,
    workers,
    index,
    pack?.field,
    pack?.tokenizer,
    pack?.end_of_document,
    pack?.token_bytes,
  ])
