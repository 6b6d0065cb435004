/**
 * What `read-file | read-lines | validate-json`, or these with `extract-text | tokenize-batches` behind them, do to a
 * plain file, done by one task a range of the file: bytes are read where they are worked on and never cross a thread.
 * The runner puts this stage in their place; lines, tokens and faults are those of the separate stages.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { Batch, LineBatch, LineCursor, Mark, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { FaultHandler, faultOptions } from './faults.js'
import { inOrder } from './in-order.js'
import { leaveOutPoison } from './leave-out-poison.js'
import type { FileRange } from './load-range.js'
import type { RangeFault, RangePacking, RangeReply, RangeTask } from './range-worker.js'
import { openSource, regularCheck } from './read-file.js'
import { type SourceStage, type StageContext, source, type TransformStage, transform } from './stage.js'
import { defaultWorkers, openWorkers, type Workers } from './worker-pool.js'
import { askForTokenizer, slownessNote, tokenizerSetup } from './worker-tokenizer.js'

/** A range must hold a line of the limit's length, so the limit must not be below this. */
export const RANGE_BYTES = 4 << 20
const SMALLEST_RANGE_BYTES = 256 << 10
const RANGES_PER_WORKER = 4
/** What all workers together may have under way: a kill costs that much again. */
const MOST_UNDER_WAY_BYTES = 40 << 20

const faultSchema = z.object(faultOptions)
export const readRangesOptions = z.strictObject({
  path: z.string().min(1).describe('the JSONL file'),
  max_line_bytes: z.int().min(RANGE_BYTES).describe('a longer line is a faulty record'),
  workers: z.int().positive().max(1024).optional().describe('worker threads; the number of cores when absent'),
  pack: z
    .strictObject({
      field: z.array(z.union([z.string(), z.int()])).describe('path of the field to tokenize'),
      tokenizer: z.string().min(1).describe('a tokenizer.json, or the folder that holds one'),
      end_of_document: z.string().min(1).optional().describe('token put behind each document'),
      token_bytes: z
        .union([z.literal(1), z.literal(2), z.literal(4)])
        .optional()
        .describe('bytes of a token'),
    })
    .optional()
    .describe('what to do with the lines beside checking them'),
  faults: z
    .record(z.enum(['read-lines', 'validate-json', 'extract-text', 'tokenize-batches']), faultSchema)
    .describe('the policies of the stages in whose place this one stands'),
})
export type ReadRangesOptions = z.output<typeof readRangesOptions>

/** What came of one range; the branches of a fork take the part that they are for. */
export interface RangeBatch extends Batch {
  readonly kind: 'range'
  /** Its `bytes` are empty: who needs them is not fused. */
  readonly lines: LineBatch
  readonly tokens: TokenBatch | undefined
}

const WORKER = new URL('./range-worker.js', import.meta.url)

/** @throws what the stages throw that it stands for */
export function readRanges(options: ReadRangesOptions, worker: URL = WORKER): SourceStage<RangeBatch> {
  return source('read-ranges', context => ranges(options, worker, context))
}

/** The lines of ranges, for `write-index`. */
export function linesOfRanges(): TransformStage<RangeBatch, LineBatch> {
  return transform('lines-of-ranges', async function* (input) {
    for await (const { lines } of input) yield lines
  })
}

/** The tokens of ranges, for `write-pbin`. */
export function tokensOfRanges(): TransformStage<RangeBatch, TokenBatch> {
  return transform('tokens-of-ranges', async function* (input) {
    for await (const { tokens } of input) if (tokens !== undefined) yield tokens
  })
}

async function* ranges(options: ReadRangesOptions, file: URL, context: StageContext): AsyncGenerator<RangeBatch> {
  const { path, pack } = options
  const { handle, stats } = await openSource(path)
  context.stats.counts.totalBytes = stats.size
  const ranges = rangesOf(stats.size, options.workers ?? defaultWorkers())
  const faults = new RangeFaults(options, context)
  let workers: Workers | undefined
  try {
    const packing = pack === undefined ? undefined : await packingSetup(pack)
    workers = openWorkers({ file, workers: ranges.workers, setup: packing })
    const facts = packing === undefined ? undefined : await askForTokenizer(workers, packing)
    const note = facts === undefined ? undefined : slownessNote(facts.how)
    if (note !== undefined) context.note(note)
    const common = { descriptor: handle.fd, file: path, fileBytes: stats.size, maxLineBytes: options.max_line_bytes }
    const { journal } = context
    const cursor = journal?.cursor<LineCursor>()
    const tasks = tasksFor(ranges.bytes, cursor?.byteOffset ?? 0, common)
    const run = taskRunner(workers, packing !== undefined)
    const check = regularCheck(path, handle, stats)
    let firstLine = cursor?.line ?? 1
    for await (const { reply, task, release } of inOrder(tasks, ranges.workers + 1, run, context.signal)) {
      // What looks like a faulty record may be a file that is being written.
      await check(reply.faults.length > 0)
      for (const fault of reply.faults) await faults.handle({ ...fault, file: path, line: firstLine + fault.line })
      const batch = batchOf(reply, task.number, firstLine, path, facts?.identity, release)
      checkTotals(reply, batch)
      context.stats.recordsOut += reply.lineCount - reply.faults.length
      if (batch.tokens !== undefined) context.count('tokens', batch.tokens.tokens.length)
      firstLine += reply.lineCount
      const mark = journal?.markAfter(task.byteLength, () => ({ byteOffset: task.end, line: firstLine }))
      yield mark === undefined ? batch : withMark(batch, mark)
    }
    await check(true)
    await faults.finish()
  } finally {
    await workers?.close()
    await faults.abandon()
    await handle.close()
  }
}

/** What the workers are set up for when they tokenize. */
async function packingSetup({
  field,
  tokenizer,
  end_of_document,
  token_bytes,
}: NonNullable<ReadRangesOptions['pack']>): Promise<RangePacking> {
  return { ...(await tokenizerSetup(tokenizer, end_of_document)), path: field, tokenBytes: token_bytes }
}

type Task = FileRange & Batch

/** Ranges of RANGE_BYTES; smaller ones for many workers, and where a file is too small to keep all of them busy. */
function rangesOf(fileBytes: number, workers: number): { bytes: number; workers: number } {
  const share = Math.ceil(fileBytes / (workers * RANGES_PER_WORKER) / 4096) * 4096
  const most = Math.floor(MOST_UNDER_WAY_BYTES / (workers + 1) / 4096) * 4096
  const bytes = Math.max(SMALLEST_RANGE_BYTES, Math.min(RANGE_BYTES, most, share))
  return { bytes, workers: Math.max(1, Math.min(workers, Math.ceil(fileBytes / bytes))) }
}

/** @param from where the first range begins */
async function* tasksFor(
  rangeBytes: number,
  from: number,
  common: Omit<FileRange, 'start' | 'end'>,
): AsyncGenerator<Task> {
  for (let start = from, number = 0; start < common.fileBytes; start += rangeBytes, number++) {
    const end = Math.min(common.fileBytes, start + rangeBytes)
    yield { ...common, start, end, number, byteLength: end - start }
  }
}

interface Done {
  readonly reply: RangeReply
  readonly task: Task
  /** Gives the memory of the reply's tokens back. */
  readonly release: (() => void) | undefined
}

/** Gives tasks to the workers, each with memory for its tokens. */
function taskRunner(workers: Workers, packs: boolean): (task: Task) => Promise<Done> {
  const free: SharedArrayBuffer[] = []
  return async task => {
    const { number: _, byteLength: __, ...range } = task
    const where = { file: task.file, byteOffset: task.start }
    let slot: SharedArrayBuffer | undefined
    const { reply } = await leaveOutPoison<RangeReply>(care => {
      // Never that of an attempt before: its worker may not have ended yet.
      slot = packs ? (free.pop() ?? new SharedArrayBuffer(RANGE_BYTES)) : undefined
      return workers.run('default', { ...range, slot, care } satisfies RangeTask)
    }, where)
    return { reply, task, release: slot === undefined ? undefined : () => void free.push(slot!) }
  }
}

const NO_BYTES = new Uint8Array(0)

function batchOf(
  reply: RangeReply,
  number: number,
  firstLine: number,
  source: string,
  tokenizer: TokenizerIdentity | undefined,
  release: (() => void) | undefined,
): RangeBatch {
  const { byteLength, byteOffset, starts, ends, lines, tokens, lengths } = reply
  return {
    kind: 'range',
    number,
    byteLength,
    lines: { kind: 'lines', number, byteLength, bytes: NO_BYTES, byteOffset, starts, ends, lines, firstLine, source },
    tokens:
      tokens === undefined || lengths === undefined
        ? undefined
        : {
            kind: 'tokens',
            number,
            byteLength: tokens.byteLength,
            tokens,
            lengths,
            tokenizer,
            ...(release === undefined ? {} : { release }),
          },
  }
}

function withMark({ lines, tokens, ...batch }: RangeBatch, mark: Mark): RangeBatch {
  return { ...batch, lines: { ...lines, mark }, tokens: tokens && { ...tokens, mark }, mark }
}

/** Lines that came are delivered or reported: anything else is a defect. */
function checkTotals({ lineCount, faults, tokens }: RangeReply, batch: RangeBatch): void {
  const delivered = tokens === undefined ? batch.lines.starts.length : batch.tokens!.lengths.length
  if (lineCount === delivered + faults.length) return
  throw new PenstockError(
    'TOTALS_MISMATCH',
    `${lineCount} lines came, ${delivered} were delivered, ${faults.length} reported`,
  )
}

/** Each fault goes by the policy of the stage that would have met it. */
class RangeFaults {
  private readonly handlers: ReadonlyMap<string, FaultHandler>

  constructor({ faults }: ReadRangesOptions, context: StageContext) {
    this.handlers = new Map(
      Object.entries(faults).map(([stage, options]) => [stage, new FaultHandler(options, stage, context)]),
    )
  }

  async handle(fault: RangeFault & { readonly file: string }): Promise<void> {
    const handler = stagesOf(fault.code).flatMap(stage => this.handlers.get(stage) ?? [])[0]
    if (handler === undefined) throw new PenstockError('INTERNAL', `no policy for ${fault.code}`)
    await handler.handle(fault)
  }

  async finish(): Promise<void> {
    for (const handler of this.handlers.values()) await handler.finish()
  }

  async abandon(): Promise<void> {
    for (const handler of this.handlers.values()) await handler.abandon()
  }
}

/** The stages that may meet a fault; the first that the chain has does. */
function stagesOf(code: RangeFault['code']): readonly string[] {
  if (code === 'LINE_TOO_LONG') return ['read-lines']
  if (code === 'JSON_INVALID' || code === 'UTF8_INVALID' || code === 'LINE_BLANK') return ['validate-json']
  if (code === 'FIELD_MISSING' || code === 'FIELD_NOT_TEXT') return ['extract-text']
  return ['tokenize-batches', 'validate-json']
}
