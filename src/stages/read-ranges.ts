/**
 * Fused source: does the work of `read-file | read-lines | validate-json`, optionally followed by `extract-text |
 * tokenize-batches`, on a file, or that of `read-corpus | tokenize-batches` on several,
 * or of `read-parquet | tokenize-batches`. Each worker task reads,
 * decompresses and processes one range of a file, so the bytes never cross threads. The runner substitutes it for those
 * stages; its output and faults are the same.
 */

import { PenstockError } from '../errors.js'
import { regularCheck } from '../files/source-file.js'
import type { Batch, LineCursor, LinePlaces, Mark, TokenizerIdentity } from '../formats/batches.js'
import { count, quantity } from '../formats/message-words.js'
import type { SharedTokens } from '../workers/chunk-writer.js'
import { type RangeFault, unpackFaults } from '../workers/ranges/range-faults.js'
import { type FilePosition, type RangeWork, rangeRunOf, startOf } from '../workers/ranges/range-run.js'
import type { RangeReply } from '../workers/ranges/range-task.js'
import { engineNote } from '../workers/tokenizer/tokenizer-setup.js'
import type { WorkersOptions } from '../workers/worker-pool.js'
import { FaultHandler, type FaultOptions } from './stream/fault-handler.js'
import { type SourceStage, type StageContext, source, type TransformStage, transform } from './stream/stage.js'

export interface ReadRangesOptions {
  readonly work: RangeWork
  /** Fault options of the stages that this one replaces, by stage name. */
  readonly faults: Partial<Record<ReplacedStage, FaultOptions>>
}
type ReplacedStage =
  | 'read-corpus'
  | 'read-parquet'
  | 'read-lines'
  | 'validate-json'
  | 'extract-text'
  | 'tokenize-batches'

/** Result of one range. In a fork, each branch takes its part: lines or tokens. */
export interface RangeBatch extends Batch {
  readonly kind: 'range'
  /** Present when `work.index` is set. */
  readonly lines: LinePlaces | undefined
  readonly tokens: SharedTokens | undefined
}

/**
 * @param worker module of the workers; only tests pass another one
 * @throws the codes of the stages that it replaces
 */
export function readRanges(options: ReadRangesOptions, worker?: URL): SourceStage<RangeBatch> {
  return source('read-ranges', context => ranges(options, worker, context))
}

/** Takes the line offsets of each range, for `write-index`. */
export function linesOfRanges(): TransformStage<RangeBatch, LinePlaces> {
  return transform('lines-of-ranges', async function* (input) {
    for await (const { lines } of input) if (lines !== undefined) yield lines
  })
}

/** Takes the tokens of each range, for `write-pbin`. */
export function tokensOfRanges(): TransformStage<RangeBatch, SharedTokens> {
  return transform('tokens-of-ranges', async function* (input) {
    for await (const { tokens } of input) if (tokens !== undefined) yield tokens
  })
}

/** Where to resume. `text` is the offset in the decompressed text of a file, to which positions of lines refer. */
type RangeCursor = FilePosition & Pick<LineCursor, 'line'> & { readonly text?: number }

async function* ranges(
  options: ReadRangesOptions,
  worker: URL | undefined,
  context: StageContext,
): AsyncGenerator<RangeBatch> {
  const { paths } = options.work
  const { journal } = context
  const { counts } = context.stats
  // Journals of earlier versions know one file only.
  const {
    line,
    text = 0,
    ...from
  } = {
    ...startOf(options.work),
    line: 1,
    ...journal?.cursor<Partial<RangeCursor>>(),
  }
  const run = await rangeRunOf(options.work, from, worker)
  journal?.allowReadAhead(run.extraBytes)
  counts.totalBytes = run.totalBytes
  if (paths.length > 1) counts.totalFiles = paths.length
  const faults = new RangeFaults(options, context)
  try {
    const facts = await run.facts
    const note = facts === undefined ? undefined : engineNote(facts.engineInfo)
    if (note !== undefined) context.note(note)
    let firstLine = 1
    let textOffset = 0
    let current: number | undefined
    let check: ReturnType<typeof regularCheck> = async () => {}
    let number = 0
    for await (const { reply, range, next, release } of run.take(from, context.signal, end => journal?.roomFor(end))) {
      const { file: path, fileIndex: file } = range
      if (file !== current) {
        // A run that resumes at the end of a file begins with the next one.
        firstLine = file === from.file ? line : 1
        textOffset = file === from.file ? text : 0
        if (current !== undefined) {
          await check(true)
          await run.closeFile(current)
        }
        const { handle, stats } = run.file(file)
        check = regularCheck(path, handle, stats)
        current = file
        if (paths.length > 1) counts.files = file
      }
      // A record that seems faulty can be a sign that the file is being written to.
      await check(reply.faults.count > 0)
      const byteOffset = textOffset + reply.byteOffset
      for (const fault of unpackFaults(reply.faults, byteOffset)) {
        await faults.handle({ ...fault, file: path, line: firstLine + fault.line })
      }
      const batch = batchOf({ ...reply, byteOffset }, number++, path, facts?.identity, run.threads, release)
      checkTotals(reply, batch)
      context.stats.recordsOut += reply.lineCount - reply.faults.count
      if (batch.tokens !== undefined) context.count('tokens', batch.tokens.tokens.length)
      firstLine += reply.lineCount
      textOffset += reply.textBytes
      counts.readBytes = range.end
      const mark = journal?.markAfter(
        range.byteLength,
        () => ({ ...next, line: firstLine, text: textOffset }) satisfies RangeCursor,
        reply.byteLength,
      )
      yield mark === undefined ? batch : withMark(batch, mark)
    }
    await check(true)
    if (paths.length > 1) counts.files = paths.length
    await faults.finish()
  } finally {
    await run.close()
    await faults.abandon()
  }
}

/** @param release called once the consumers of lines and tokens are both done */
function batchOf(
  { byteLength, byteOffset, places, documents }: RangeReply,
  number: number,
  source: string,
  tokenizer: TokenizerIdentity | undefined,
  threads: WorkersOptions,
  release: () => void,
): RangeBatch {
  let consumers = (places === undefined ? 0 : 1) + (documents === undefined ? 0 : 1)
  const consumed = (): void => {
    if (--consumers === 0) release()
  }
  return {
    kind: 'range',
    number,
    byteLength,
    lines: places && { kind: 'lines', number, byteLength, byteOffset, ...places, source, release: consumed },
    tokens: documents && {
      kind: 'tokens',
      number,
      byteLength: documents.tokens.byteLength,
      ...documents,
      tokenizer,
      threads,
      release: consumed,
    },
  }
}

function withMark({ lines, tokens, ...batch }: RangeBatch, mark: Mark): RangeBatch {
  return { ...batch, lines: lines && { ...lines, mark }, tokens: tokens && { ...tokens, mark }, mark }
}

/** Every line read must be delivered or reported as faulty; anything else is a bug. */
function checkTotals({ lineCount, faults }: RangeReply, { lines, tokens }: RangeBatch): void {
  const delivered = tokens === undefined ? lines?.starts.length : tokens.lengths.length
  if (delivered === undefined || lineCount === delivered + faults.count) return
  throw new PenstockError(
    'TOTALS_MISMATCH',
    `${quantity(lineCount, 'line')} read, but ${count(delivered)} delivered and ${count(faults.count)} reported as faulty`,
  )
}

/** Handles each fault by the options of the stage that would have reported it. */
class RangeFaults {
  private readonly handlers: ReadonlyMap<string, FaultHandler>

  constructor({ work, faults }: ReadRangesOptions, context: StageContext) {
    this.handlers = new Map(
      Object.entries(faults).map(([stage, options]) => [stage, new FaultHandler(options, stage, context)]),
    )
    for (const handler of this.handlers.values()) handler.orderSources(work.paths)
  }

  async handle(fault: RangeFault & { readonly file: string }): Promise<void> {
    const handler = stagesReporting(fault.code).flatMap(stage => this.handlers.get(stage) ?? [])[0]
    if (handler === undefined) throw new PenstockError('INTERNAL', `no fault options for ${fault.code}`)
    await handler.handle(fault)
  }

  async finish(): Promise<void> {
    for (const handler of this.handlers.values()) await handler.finish()
  }

  async abandon(): Promise<void> {
    for (const handler of this.handlers.values()) await handler.abandon()
  }
}

/** The stages that can report a fault; the first one present in the pipeline reports it. */
function stagesReporting(code: RangeFault['code']): readonly string[] {
  if (code === 'LINE_TOO_LONG') return ['read-lines', 'read-corpus']
  if (code === 'JSON_INVALID' || code === 'UTF8_INVALID' || code === 'LINE_BLANK')
    return ['validate-json', 'read-corpus', 'read-parquet']
  if (code === 'FIELD_MISSING' || code === 'FIELD_NOT_TEXT') return ['extract-text', 'read-corpus', 'read-parquet']
  return ['tokenize-batches', 'validate-json']
}
