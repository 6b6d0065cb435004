/**
 * What `read-file | read-lines | validate-json`, or these with `extract-text | tokenize-batches` behind them, do to a
 * plain file, done by one task a range of the file: bytes are read where they are worked on and never cross a thread.
 * The runner puts this stage in their place; lines, tokens and faults are those of the separate stages.
 */
import type { Piscina } from 'piscina'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { Batch, LineBatch, LineCursor, Mark, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { FaultHandler, faultOptions } from './faults.js'
import { inOrder } from './in-order.js'
import type { RangeFault, RangePacking, RangeReply, RangeTask } from './range-worker.js'
import { checkUnchanged, openSource } from './read-file.js'
import { type SourceStage, type StageContext, source, type TransformStage, transform } from './stage.js'
import { receivedError } from './worker-errors.js'
import { closePool, defaultWorkers, workerPool } from './worker-pool.js'
import { askForTokenizer, slownessNote } from './worker-tokenizer.js'

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

/** @throws what the stages throw that it stands for */
export function readRanges(options: ReadRangesOptions): SourceStage<RangeBatch> {
  return source('read-ranges', context => ranges(options, context))
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

async function* ranges(options: ReadRangesOptions, context: StageContext): AsyncGenerator<RangeBatch> {
  const { path } = options
  const { handle, stats } = await openSource(path)
  context.stats.counts.totalBytes = stats.size
  const workers = options.workers ?? defaultWorkers()
  const pool = workerPool('./range-worker.js', workers)
  const faults = new RangeFaults(options, context)
  try {
    const packing = options.pack === undefined ? undefined : await openPacking(options.pack, pool)
    if (packing?.note !== undefined) context.note(packing.note)
    const { journal } = context
    const cursor = journal?.cursor<LineCursor>()
    const tasks = tasksFor(stats.size, workers, cursor?.byteOffset ?? 0, {
      descriptor: handle.fd,
      file: path,
      fileBytes: stats.size,
      maxLineBytes: options.max_line_bytes,
      packing: packing?.packing,
    })
    let firstLine = cursor?.line ?? 1
    const free: SharedArrayBuffer[] = []
    const work = async (task: Task) => {
      const slot = packing === undefined ? undefined : (free.pop() ?? new SharedArrayBuffer(RANGE_BYTES))
      const reply = await runTask(pool, { ...task, slot })
      const release = slot === undefined ? undefined : (): void => void free.push(slot)
      return { reply, task, release }
    }
    for await (const { reply, task, release } of inOrder(tasks, workers + 1, work, context.signal)) {
      for (const fault of reply.faults) await faults.handle({ ...fault, file: path, line: firstLine + fault.line })
      const batch = batchOf(reply, task.number, firstLine, path, packing?.identity, release)
      checkTotals(reply, batch)
      context.stats.recordsOut += reply.lineCount - reply.faults.length
      if (batch.tokens !== undefined) context.count('tokens', batch.tokens.tokens.length)
      firstLine += reply.lineCount
      const mark = journal?.markAfter(task.byteLength, () => ({ byteOffset: task.end, line: firstLine }))
      yield mark === undefined ? batch : withMark(batch, mark)
    }
    await checkUnchanged(path, handle, stats)
    await faults.finish()
  } finally {
    await closePool(pool)
    await faults.abandon()
    await handle.close()
  }
}

async function openPacking(pack: NonNullable<ReadRangesOptions['pack']>, pool: Piscina): Promise<Packing> {
  const facts = await askForTokenizer(pool, { tokenizerPath: pack.tokenizer, endOfDocument: pack.end_of_document })
  const { identity, how } = facts
  const tokenBytes = pack.token_bytes ?? facts.tokenBytes
  const { endOfDocumentId } = identity
  return {
    identity,
    note: slownessNote(how),
    packing: { tokenizerPath: pack.tokenizer, path: pack.field, endOfDocumentId, tokenBytes },
  }
}

interface Packing {
  readonly identity: TokenizerIdentity
  /** For the user. */
  readonly note: string | undefined
  readonly packing: RangePacking
}

type Task = Omit<RangeTask, 'slot'> & Batch

/** Ranges of RANGE_BYTES; smaller ones for many workers, and where a file is too small to keep all of them busy. */
async function* tasksFor(
  fileBytes: number,
  workers: number,
  from: number,
  common: Omit<RangeTask, 'start' | 'end' | 'slot'>,
): AsyncGenerator<Task> {
  const share = Math.ceil(fileBytes / (workers * RANGES_PER_WORKER) / 4096) * 4096
  const most = Math.floor(MOST_UNDER_WAY_BYTES / (workers + 1) / 4096) * 4096
  const rangeBytes = Math.max(SMALLEST_RANGE_BYTES, Math.min(RANGE_BYTES, most, share))
  for (let start = from, number = 0; start < fileBytes; start += rangeBytes, number++) {
    const end = Math.min(fileBytes, start + rangeBytes)
    yield { ...common, start, end, number, byteLength: end - start }
  }
}

async function runTask(pool: Piscina, task: RangeTask): Promise<RangeReply> {
  try {
    return await pool.run(task)
  } catch (error) {
    throw receivedError(error, 'WORKER_FAILED', { file: task.file, byteOffset: task.start })
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
    const handler = this.handlers.get(stageOf(fault.code))
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

function stageOf(code: RangeFault['code']): string {
  if (code === 'LINE_TOO_LONG') return 'read-lines'
  if (code === 'JSON_INVALID' || code === 'UTF8_INVALID' || code === 'LINE_BLANK') return 'validate-json'
  return code === 'FIELD_MISSING' || code === 'FIELD_NOT_TEXT' ? 'extract-text' : 'tokenize-batches'
}
