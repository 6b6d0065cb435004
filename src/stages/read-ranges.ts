/**
 * What `read-file | read-lines | validate-json`, or these with `extract-text | tokenize-batches` behind them, do to a
 * plain file, done by one task a range of the file: bytes are read where they are worked on and never cross a thread.
 * The runner puts this stage in their place; lines, tokens and faults are those of the separate stages.
 */
import { PenstockError } from '../errors.js'
import { regularCheck } from '../files/source-file.js'
import type { Batch, LineCursor, LinePlaces, Mark, TokenBatch, TokenizerIdentity } from '../formats/batches.js'
import { type RangeWork, rangeRunOf } from '../workers/ranges/range-run.js'
import type { RangeFault, RangeReply } from '../workers/ranges/range-task.js'
import { slownessNote } from '../workers/tokenizer/tokenizer-setup.js'
import { FaultHandler, type FaultOptions } from './stream/fault-handler.js'
import { type SourceStage, type StageContext, source, type TransformStage, transform } from './stream/stage.js'

export interface ReadRangesOptions {
  readonly work: RangeWork
  /** Policies of the stages that this one replaces, by their names. */
  readonly faults: Partial<Record<ReplacedStage, FaultOptions>>
}
type ReplacedStage = 'read-lines' | 'validate-json' | 'extract-text' | 'tokenize-batches'

/** What came of one range; the branches of a fork take the part that they are for. */
export interface RangeBatch extends Batch {
  readonly kind: 'range'
  /** Where they were asked for. */
  readonly lines: LinePlaces | undefined
  readonly tokens: TokenBatch | undefined
}

/**
 * @param worker the workers' module, where it is not the usual one
 * @throws what the stages throw that it stands for
 */
export function readRanges(options: ReadRangesOptions, worker?: URL): SourceStage<RangeBatch> {
  return source('read-ranges', context => ranges(options, worker, context))
}

/** The places of the lines of ranges, for `write-index`. */
export function linesOfRanges(): TransformStage<RangeBatch, LinePlaces> {
  return transform('lines-of-ranges', async function* (input) {
    for await (const { lines } of input) if (lines !== undefined) yield lines
  })
}

/** The tokens of ranges, for `write-pbin`. */
export function tokensOfRanges(): TransformStage<RangeBatch, TokenBatch> {
  return transform('tokens-of-ranges', async function* (input) {
    for await (const { tokens } of input) if (tokens !== undefined) yield tokens
  })
}

async function* ranges(
  options: ReadRangesOptions,
  worker: URL | undefined,
  context: StageContext,
): AsyncGenerator<RangeBatch> {
  const { path } = options.work
  const { journal } = context
  const cursor = journal?.cursor<LineCursor>()
  const from = cursor?.byteOffset ?? 0
  const run = await rangeRunOf(options.work, from, worker)
  const { handle, stats } = run
  context.stats.counts.totalBytes = stats.size
  const faults = new RangeFaults(options, context)
  try {
    const facts = await run.facts
    const note = facts === undefined ? undefined : slownessNote(facts.engineInfo)
    if (note !== undefined) context.note(note)
    const check = regularCheck(path, handle, stats)
    let firstLine = cursor?.line ?? 1
    for await (const { reply, range, release } of run.take(from, context.signal, end => journal?.roomFor(end))) {
      // What looks like a faulty record may be a file that is being written.
      await check(reply.faults.length > 0)
      for (const fault of reply.faults) await faults.handle({ ...fault, file: path, line: firstLine + fault.line })
      const batch = batchOf(reply, range.number, path, facts?.identity, release)
      checkTotals(reply, batch)
      context.stats.recordsOut += reply.lineCount - reply.faults.length
      if (batch.tokens !== undefined) context.count('tokens', batch.tokens.tokens.length)
      firstLine += reply.lineCount
      const mark = journal?.markAfter(range.byteLength, () => ({ byteOffset: range.end, line: firstLine }))
      yield mark === undefined ? batch : withMark(batch, mark)
    }
    await check(true)
    await faults.finish()
  } finally {
    await run.close()
    await faults.abandon()
  }
}

/** @param release to be called when what takes the lines and what takes the tokens are both done */
function batchOf(
  { byteLength, byteOffset, places, documents }: RangeReply,
  number: number,
  source: string,
  tokenizer: TokenizerIdentity | undefined,
  release: () => void,
): RangeBatch {
  let users = (places === undefined ? 0 : 1) + (documents === undefined ? 0 : 1)
  const done = (): void => {
    if (--users === 0) release()
  }
  return {
    kind: 'range',
    number,
    byteLength,
    lines: places && { kind: 'lines', number, byteLength, byteOffset, ...places, source, release: done },
    tokens: documents && {
      kind: 'tokens',
      number,
      byteLength: documents.tokens.byteLength,
      ...documents,
      tokenizer,
      release: done,
    },
  }
}

function withMark({ lines, tokens, ...batch }: RangeBatch, mark: Mark): RangeBatch {
  return { ...batch, lines: lines && { ...lines, mark }, tokens: tokens && { ...tokens, mark }, mark }
}

/** Lines that came are delivered or reported: anything else is a defect. */
function checkTotals({ lineCount, faults }: RangeReply, { lines, tokens }: RangeBatch): void {
  const delivered = tokens === undefined ? lines?.starts.length : tokens.lengths.length
  if (delivered === undefined || lineCount === delivered + faults.length) return
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
