/**
 * Schedules the ranges of one file, or of several in their order, over the workers. Separate from the stage `read-ranges`,
 * so that a command can start a run before it loads the rest of its code: the workers start and process the first ranges in
 * the meantime.
 */
import { isDeepStrictEqual } from 'node:util'
import { PenstockError, toPenstockError } from '../../errors.js'
import { closeSource, isPackedName, openSource } from '../../files/source-file.js'
import { formatOf } from '../../files/source-format.js'
import { sourceSize } from '../../files/source-list.js'
import { cachedFingerprint } from '../../files/sources/file-fingerprint.js'
import type { Batch } from '../../formats/batches.js'
import type { FieldPath } from '../../formats/json-scan.js'
import type { TokenBytes } from '../../formats/pbin.js'
import { inOrder } from '../in-order.js'
import { runWithoutPoison } from '../poison-records.js'
import {
  cacheBytesPerWorker,
  type TokenizerFacts,
  tokenizerFactsOf,
  tokenizerSetup,
} from '../tokenizer/tokenizer-setup.js'
import { defaultWorkers, openWorkers, type Workers, type WorkersOptions } from '../worker-pool.js'
import { streamFrom } from './frame-plan.js'
import type { OpenSource, PlannedRange, RangeFormat, SourcePosition } from './planned-range.js'
import { planRanges } from './range-plan.js'
import { type RangeSizes, rangeSizes } from './range-sizes.js'
import {
  type FrameRange,
  type RangePacking,
  type RangeReply,
  type RangeTask,
  TOO_LARGE,
  type TooLarge,
} from './range-task.js'

const RANGE_WORKER = new URL('./range-worker.js', import.meta.url)
export interface RangeWork {
  /** Read one after the other; a line never continues in the next file. */
  readonly paths: readonly string[]
  /** Start in the first file: a byte that begins a line, or a row of a Parquet file. Defaults to 0. */
  readonly from?: number | undefined
  /** End in the last file, in the same unit. Defaults to the end of the file. */
  readonly to?: number | undefined
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
        readonly memory_mb?: number | undefined
      }
    | undefined
}

/** A place in the files: index of the file, and place in it. */
export interface FilePosition extends SourcePosition {
  readonly file: number
}

/** Where the work begins. */
export function startOf({ paths, from = 0 }: Pick<RangeWork, 'paths' | 'from'>): FilePosition {
  if (from === 0) return { file: 0, byteOffset: 0 }
  return rangeFormatOf(paths[0]!) === 'parquet' ? { file: 0, byteOffset: 0, row: from } : { file: 0, byteOffset: from }
}

/** Resolves when the range up to `end`, in bytes of all files, may be started; undefined when it may be started now. */
export type RoomFor = (end: number) => Promise<void> | undefined

/** A range of one of the files. Its `byteLength` is its share of the bytes of all files, as stored. */
interface Range extends Batch {
  readonly file: string
  readonly fileIndex: number
  /** Bytes of all files up to its end. */
  readonly end: number
  /** What to process, or the error that prevents it. */
  readonly planned: PlannedRange | PenstockError
}

/** Result of one range. */
export interface RangeResult {
  readonly reply: RangeReply
  readonly range: Range
  /** The place after the range. */
  readonly next: FilePosition
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
  private readonly freeTexts: SharedArrayBuffer[] = []
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
  static async start(
    work: RangeWork,
    from: FilePosition = startOf(work),
    worker: URL = RANGE_WORKER,
  ): Promise<RangeRun> {
    // The first file is opened before the workers are: its errors are the most common ones.
    const first = await openSource(work.paths[from.file]!)
    try {
      // A missing file is reported when it is read.
      const sizes = work.paths.map(path => sourceSize(path) ?? 0)
      if (work.to !== undefined && rangeFormatOf(work.paths.at(-1)!) === 'lines') sizes[sizes.length - 1] = work.to
      const total = sizes.reduce((sum, size) => sum + size, 0) - startOf(work).byteOffset
      return new RangeRun(work, sizes, await openRangeWorkers(work, total, worker), from, first)
    } catch (error) {
      await closeSource(work.paths[from.file]!, first.handle)
      throw error
    }
  }

  /** The threads of the workers, which can also write the results. */
  get threads(): WorkersOptions {
    return this.workers.options
  }

  /** See RangeSizes. */
  get extraBytes(): number {
    return this.sizes.extraBytes
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
      if (!isDeepStrictEqual(from, this.from)) return yield* this.resultsFrom(from)
      const first = await this.first
      if (!first.done) yield first.value
      yield* this.results
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }

  async close(): Promise<void> {
    this.stop.abort(new PenstockError('STOPPED', 'the run was closed'))
    await this.workers.close()
    // A file that is read as a stream is read by the generator.
    await this.results.return(undefined).catch(() => {})
    for (const [index, { handle }] of this.files) await closeSource(this.work.paths[index]!, handle)
    this.files.clear()
  }

  private async *resultsFrom(start: FilePosition): AsyncGenerator<RangeResult> {
    yield* this.resultsOf(this.rangesFrom(start))
  }

  private async *resultsOf(ranges: AsyncIterable<Range>): AsyncGenerator<RangeResult> {
    const { earlyInFlight, inFlight } = this.sizes
    const limit = (): number => (this.isTakenOver ? inFlight : earlyInFlight)
    for await (const result of inOrder(ranges, limit, range => this.run(range), this.stop.signal)) {
      if ('reply' in result) yield result
      else yield* this.resultsOf(this.rangesOf(result.fileIndex, result.place, result.end))
    }
  }

  private async *rangesFrom(from: FilePosition): AsyncGenerator<Range> {
    let number = 0
    let end = this.bytesBefore[from.file]! + from.byteOffset
    for (let fileIndex = from.file; fileIndex < this.work.paths.length; fileIndex++) {
      const first = number
      for await (const range of this.rangesOf(fileIndex, fileIndex === from.file ? from : { byteOffset: 0 }, end)) {
        end = range.end
        yield { ...range, number: number++ }
      }
      // An empty file has no range whose release would close it.
      if (number === first) await this.closeFile(fileIndex)
    }
  }

  /** @param before bytes of all files before the first range */
  private async *rangesOf(fileIndex: number, from: SourcePosition, before: number): AsyncGenerator<Range> {
    const file = this.work.paths[fileIndex]!
    const start = this.bytesBefore[fileIndex]!
    let number = 0
    let end = before
    const rangeOf = (planned: Range['planned'], position: number): Range => {
      const byteLength = Math.max(0, start + position - end)
      end += byteLength
      return { file, fileIndex, number: number++, byteLength, end, planned }
    }
    try {
      for await (const planned of this.plan(file, fileIndex, from)) yield rangeOf(planned, planned.next.byteOffset)
    } catch (error) {
      // Reported after the results of the ranges before.
      yield rangeOf(toPenstockError(error, 'FILE_UNREADABLE', { file }), 0)
    }
  }

  private async *plan(path: string, fileIndex: number, from: SourcePosition): AsyncGenerator<PlannedRange> {
    const opened = this.files.get(fileIndex) ?? (await openSource(path))
    this.files.set(fileIndex, opened)
    const { maxLineBytes, pack } = this.work
    const { bytes: rangeBytes } = this.sizes
    const newMemory = (byteLength: number): SharedArrayBuffer =>
      (byteLength <= rangeBytes ? this.freeTexts.pop() : undefined) ?? new SharedArrayBuffer(byteLength)
    const to = fileIndex === this.work.paths.length - 1 ? this.work.to : undefined
    yield* planRanges(
      { ...opened, path, format: rangeFormatOf(path), to, field: pack?.field, maxLineBytes, rangeBytes, newMemory },
      from,
    )
  }

  private async run(range: Range): Promise<RangeResult | Undivided> {
    const { planned, file, fileIndex } = range
    // A long stretch without text, as between the columns of a file, is no work.
    await this.roomFor(range.end - Math.max(0, range.byteLength - this.sizes.bytes))
    if (planned instanceof PenstockError) throw planned
    const { part, next } = planned
    const { index } = this.work
    let slot: SharedArrayBuffer
    const { reply } = await runWithoutPoison<RangeReply | TooLarge>(
      retry => {
        // Never the slot of an earlier attempt, whose worker may still be running.
        slot = this.freeSlots.pop() ?? new SharedArrayBuffer(this.sizes.slotBytes)
        return this.workers.run('default', { part, index, slot, retry } satisfies RangeTask)
      },
      { file },
    )
    if (part.kind === 'text' && part.memory.byteLength === this.sizes.bytes) this.freeTexts.push(part.memory)
    const release = (): void => void this.freeSlots.push(slot)
    if (reply !== TOO_LARGE) return { reply, range, next: { ...next, file: fileIndex }, release }
    release()
    const { start } = part as FrameRange
    return { fileIndex, place: { byteOffset: start, stream: streamFrom(start) }, end: range.end - range.byteLength }
  }
}

/** A range whose text is larger than its size suggested, and which is therefore streamed. */
interface Undivided {
  readonly fileIndex: number
  readonly place: SourcePosition
  readonly end: number
}

/** How a file is divided, from its name. */
function rangeFormatOf(path: string): RangeFormat {
  if (formatOf(path) === 'parquet') return 'parquet'
  if (!isPackedName(path)) return 'lines'
  return /gz$/i.test(path) ? 'gzip' : 'zstd'
}

interface OpenedWorkers {
  readonly workers: Workers
  readonly sizes: RangeSizes
  readonly facts: Promise<TokenizerFacts | undefined>
}

/** @throws FILE_MISSING when the tokenizer does not exist */
async function openRangeWorkers(work: RangeWork, fileBytes: number, file: URL): Promise<OpenedWorkers> {
  const { pack } = work
  const sizes = rangeSizes({
    fileBytes,
    workers: work.workers ?? defaultWorkers(),
    maxLineBytes: work.maxLineBytes,
    isTokenized: pack !== undefined,
    isDivisible: work.paths.every(path => rangeFormatOf(path) === 'lines'),
  })
  if (pack === undefined) {
    return { workers: openWorkers({ file, workers: sizes.workers }), sizes, facts: Promise.resolve(undefined) }
  }
  const cacheBytes = cacheBytesPerWorker(sizes.workers, pack.memory_mb)
  const tokenizer = await tokenizerSetup(pack.tokenizer, pack.end_of_document, { cacheBytes })
  const setup: RangePacking = { ...tokenizer, path: pack.field, tokenBytes: pack.token_bytes }
  const workers = openWorkers({ file, workers: sizes.workers, setup })
  return { workers, sizes, facts: tokenizerFactsOf(workers, setup) }
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

const keyOf = ({ paths, from, to, maxLineBytes, workers, index, pack }: RangeWork): string =>
  JSON.stringify([
    paths,
    from,
    to,
    maxLineBytes,
    workers,
    index,
    pack?.field,
    pack?.tokenizer,
    pack?.end_of_document,
    pack?.token_bytes,
  ])
