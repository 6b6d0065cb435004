/**
 * Documents -> token ids, in worker threads, order preserved. A batch is one task; at most workers + 1 batches are in
 * flight, so memory is bounded by the number of workers and the batch size.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, TokenArray, TokenBatch } from '../formats/batches.js'
import { recordAt } from '../formats/extract.js'
import type { TokenBytes } from '../formats/pbin.js'
import type { LengthFit } from '../tokenizer/fit-length.js'
import { inOrder } from '../workers/in-order.js'
import { type Poison, runWithoutPoison } from '../workers/poison-records.js'
import { lengthsIn, type SharedBatch, SharedBatchPool, tokensIn } from '../workers/tokenizer/shared-batch.js'
import type { TokenizeReply, TokenizeTask } from '../workers/tokenizer/tokenize-worker.js'
import {
  cacheBytesPerWorker,
  engineNote,
  tokenizerFactsOf,
  tokenizerSetup,
} from '../workers/tokenizer/tokenizer-setup.js'
import { defaultWorkers, openWorkers, type Workers } from '../workers/worker-pool.js'
import {
  checkFaultOptions,
  FaultHandler,
  faultOptions,
  faultOptionsMessage,
  withFaultHandler,
} from './stream/fault-handler.js'
import { type StageContext, type TransformStage, transform } from './stream/stage.js'
import { defineStage, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const side = z.enum(['left', 'right'])

const fitLengthSchema = z
  .strictObject({
    max_length: z.int().nonnegative().describe('maximum number of tokens of a document'),
    truncate: side.optional().describe('side on which to cut longer documents; they are not cut by default'),
    pad: side.optional().describe('side on which to pad shorter documents; they are not padded by default'),
    pad_token: z.string().min(1).optional().describe('token to pad with'),
    keep_length: z
      .boolean()
      .default(false)
      .describe('replace the last token by the end-of-document token if appending it would exceed max_length'),
  })
  .refine(
    ({ pad, pad_token }) => (pad === undefined) === (pad_token === undefined),
    'pad and pad_token must be given together',
  )

const tokenizeBatchesOptions = z
  .strictObject({
    tokenizer: z.string().min(1).describe('tokenizer.json, or a folder that contains one'),
    end_of_document: z
      .string()
      .min(1)
      .optional()
      .describe('token to append to each document that does not already end with it'),
    special_tokens: z
      .array(z.string().min(1))
      .optional()
      .describe('further special tokens to recognize in texts, in addition to those of the tokenizer'),
    fit_length: fitLengthSchema.optional().describe('truncate or pad documents to a fixed length'),
    workers: z
      .int()
      .positive()
      .max(1024)
      .optional()
      .describe('number of worker threads; defaults to the number of cores'),
    memory_mb: z
      .int()
      .positive()
      .optional()
      .describe(
        'most memory for words that have been encoded, in MB over all workers; defaults to 1/32 of the machine, but at least 200',
      ),
    token_bytes: z
      .union([z.literal(1), z.literal(2), z.literal(4)])
      .optional()
      .describe('bytes per token in the output; by default the smallest width that fits the vocabulary'),
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type TokenizeBatchesOptions = z.input<typeof tokenizeBatchesOptions>
type Checked = z.output<typeof tokenizeBatchesOptions>

const WORKER = new URL('../workers/tokenizer/tokenize-worker.js', import.meta.url)

export const tokenizeBatchesStage = defineStage({
  name: 'tokenize-batches',
  summary: 'encodes texts to token ids in parallel, order preserved',
  accepts: 'documents',
  emits: 'tokens',
  options: tokenizeBatchesOptions,
  resumable: true,
  create: tokenizeBatches,
  writes: quarantineOf,
})

/** @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH, DOCUMENT_EMPTY, TOKEN_TOO_WIDE, WORKER_DIED, WORKER_HUNG */
export function tokenizeBatches(
  options: TokenizeBatchesOptions,
  worker: URL = WORKER,
): TransformStage<DocumentBatch, TokenBatch> {
  const checked = parseOptions(tokenizeBatchesOptions, options, 'tokenize-batches')
  return transform(tokenizeBatchesStage, (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'tokenize-batches', context), faults =>
      tokenize(input, checked, worker, faults, context),
    ),
  )
}

interface Encoded {
  readonly batch: DocumentBatch
  readonly reply: TokenizeReply
  readonly slot: SharedBatch
  readonly poison: readonly Poison[]
}

async function* tokenize(
  input: AsyncIterable<DocumentBatch>,
  options: Checked,
  file: URL,
  faults: FaultHandler,
  context: StageContext,
): AsyncGenerator<TokenBatch> {
  const size = options.workers ?? defaultWorkers()
  const setup = await tokenizerSetup(options.tokenizer, options.end_of_document, {
    ...(options.special_tokens === undefined ? {} : { specialTokens: options.special_tokens }),
    padToken: options.fit_length?.pad_token,
    cacheBytes: cacheBytesPerWorker(size, options.memory_mb),
  })
  const workers = openWorkers({ file, workers: size, setup })
  const slots = new SharedBatchPool()
  const { fit_length: length } = options
  try {
    const { identity, engineInfo, padId, ...facts } = await tokenizerFactsOf(workers, setup)
    const note = engineNote(engineInfo)
    if (note !== undefined) context.note(note)
    const tokenBytes = options.token_bytes ?? facts.tokenBytes
    const fit = length && lengthFit(length, padId)
    const work = (batch: DocumentBatch): Promise<Encoded> => encode(batch, fit, workers, slots)
    const batches = length?.pad === undefined ? input : splitBatches(input, maxDocumentsFor(length.max_length))
    for await (const { batch, reply, slot, poison } of inOrder(batches, size + 1, work, context.signal)) {
      const tokens = tokensOf(reply, slot, tokenBytes, setup.tokenizerPath)
      const all = lengthsIn(slot).slice()
      slots.release(slot)
      const lengths = await nonEmptyLengths(batch, all, poison, faults)
      context.count('tokens', tokens.length)
      yield {
        kind: 'tokens',
        number: batch.number,
        byteLength: tokens.byteLength,
        tokens,
        lengths,
        tokenizer: identity,
        mark: batch.mark,
      }
    }
  } finally {
    await workers.close()
  }
}

type FitLength = z.output<typeof fitLengthSchema>

function lengthFit({ max_length, truncate, pad, keep_length }: FitLength, padId: number | undefined): LengthFit {
  return {
    maxLength: max_length,
    truncate,
    pad: pad === undefined || padId === undefined ? undefined : { side: pad, id: padId },
    keepLength: keep_length,
  }
}

/** Maximum number of tokens of a batch after padding. */
const MAX_PADDED_TOKENS = 1 << 20

const maxDocumentsFor = (maxLength: number): number =>
  Math.max(1, Math.floor(MAX_PADDED_TOKENS / Math.max(1, maxLength)))

/**
 * Splits batches to at most `maxDocuments` documents, since padding a batch of short texts could take any amount of
 * memory.
 */
async function* splitBatches(input: AsyncIterable<DocumentBatch>, maxDocuments: number): AsyncGenerator<DocumentBatch> {
  let number = 0
  for await (const batch of input) {
    const documents = batch.offsets.length - 1
    // At least one part, so that the mark of an empty batch is passed on.
    for (let first = 0; first === 0 || first < documents; first += maxDocuments) {
      const end = Math.min(documents, first + maxDocuments)
      // The mark belongs after the last part.
      const mark = end === documents ? batch.mark : undefined
      yield { ...documentsOf(batch, first, end), number: number++, mark }
    }
  }
}

/** The documents [first, end) of a batch. */
function documentsOf(batch: DocumentBatch, first: number, end: number): DocumentBatch {
  const { origin } = batch
  const start = batch.offsets[first]!
  const bytes = batch.bytes.subarray(start, batch.offsets[end])
  return {
    ...batch,
    byteLength: bytes.byteLength,
    bytes,
    offsets: batch.offsets.slice(first, end + 1).map(offset => offset - start),
    origin: {
      ...origin,
      starts: origin.starts.subarray(first, end),
      ends: origin.ends.subarray(first, end),
      lines: origin.lines.subarray(first, end),
    },
  }
}

async function encode(
  batch: DocumentBatch,
  fit: LengthFit | undefined,
  workers: Workers,
  slots: SharedBatchPool,
): Promise<Encoded> {
  const where = { file: batch.origin.source, line: batch.origin.firstLine }
  let slot: SharedBatch
  const { reply, poison } = await runWithoutPoison<TokenizeReply>(retry => {
    // Never the slot of an earlier attempt, whose worker may still be running.
    slot = slots.fill(batch)
    return workers.run('default', { slot, fit, retry } satisfies TokenizeTask)
  }, where)
  return { batch, slot: slot!, reply, poison }
}

const WIDTHS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const

/** Copies a reply's tokens out of its slot, at the output width. */
function tokensOf(
  { overflow, tokenCount, maxId }: TokenizeReply,
  slot: SharedBatch,
  width: TokenBytes,
  file: string,
): TokenArray {
  if (maxId >= 2 ** (8 * width)) {
    throw new PenstockError(
      'TOKEN_TOO_WIDE',
      `token id ${maxId} does not fit into ${width} bytes: increase token_bytes`,
      {
        file,
      },
    )
  }
  return new WIDTHS[width](overflow ?? tokensIn(slot).subarray(0, tokenCount))
}

/** The lengths of non-empty documents; documents without tokens are faulty records. */
async function nonEmptyLengths(
  batch: DocumentBatch,
  lengths: Uint32Array,
  poison: readonly Poison[],
  faults: FaultHandler,
): Promise<Uint32Array> {
  if (!lengths.includes(0)) return lengths
  for (let document = 0; document < lengths.length; document++) {
    if (lengths[document] !== 0) continue
    const { code, message } = poison.find(({ record }) => record === document) ?? EMPTY
    await faults.handle({ code, message, ...recordAt(batch.origin, document) })
  }
  return lengths.filter(length => length > 0)
}

const EMPTY = { code: 'DOCUMENT_EMPTY', message: 'the document has no tokens' } as const
