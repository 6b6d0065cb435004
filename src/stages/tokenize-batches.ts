/**
 * Documents -> token ids, in worker threads, order kept. A batch is one task; at most one more than there are workers is
 * under way, so memory is bounded by the workers' number and the size of a batch.
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
import { askForTokenizer, slownessNote, tokenizerSetup } from '../workers/tokenizer/tokenizer-setup.js'
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
    max_length: z.int().nonnegative().describe('tokens of a document'),
    truncate: side.optional().describe('side on which longer documents are cut; they stay as they are when absent'),
    pad: side.optional().describe('side on which shorter documents are filled; they stay as they are when absent'),
    pad_token: z.string().min(1).optional().describe('what they are filled with'),
    keep_length: z
      .boolean()
      .default(false)
      .describe('the end-of-document token takes the place of the last token, where it would make a document longer'),
  })
  .refine(({ pad, pad_token }) => (pad === undefined) === (pad_token === undefined), 'pad and pad_token go together')

const tokenizeBatchesOptions = z
  .strictObject({
    tokenizer: z.string().min(1).describe('a tokenizer.json, or the folder that holds one'),
    end_of_document: z.string().min(1).optional().describe('token put behind each document that does not end in it'),
    special_tokens: z
      .array(z.string().min(1))
      .optional()
      .describe('tokens to be found as a whole in texts, beside those that the tokenizer lists'),
    fit_length: fitLengthSchema.optional().describe('cut or fill documents to one length'),
    workers: z.int().positive().max(1024).optional().describe('worker threads; the number of cores when absent'),
    token_bytes: z
      .union([z.literal(1), z.literal(2), z.literal(4)])
      .optional()
      .describe('bytes of a token; what the vocabulary needs when absent'),
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type TokenizeBatchesOptions = z.input<typeof tokenizeBatchesOptions>
type Checked = z.output<typeof tokenizeBatchesOptions>

const WORKER = new URL('../workers/tokenizer/tokenize-worker.js', import.meta.url)

export const tokenizeBatchesStage = defineStage({
  name: 'tokenize-batches',
  summary: 'turns texts into token ids, in parallel, order kept',
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
  return transform('tokenize-batches', (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'tokenize-batches', context), faults =>
      tokenized(input, checked, worker, faults, context),
    ),
  )
}

interface Encoded {
  readonly batch: DocumentBatch
  readonly reply: TokenizeReply
  readonly slot: SharedBatch
  readonly poison: readonly Poison[]
}

async function* tokenized(
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
  })
  const workers = openWorkers({ file, workers: size, setup })
  const slots = new SharedBatchPool()
  const { fit_length: length } = options
  try {
    const { identity, engineInfo, padId, ...facts } = await askForTokenizer(workers, setup)
    const note = slownessNote(engineInfo)
    if (note !== undefined) context.note(note)
    const tokenBytes = options.token_bytes ?? facts.tokenBytes
    const fit = length && lengthFit(length, padId)
    const work = (batch: DocumentBatch): Promise<Encoded> => encode(batch, fit, workers, slots)
    const batches = length?.pad === undefined ? input : inPieces(input, documentsAtOnce(length.max_length))
    for await (const { batch, reply, slot, poison } of inOrder(batches, size + 1, work, context.signal)) {
      const tokens = tokensOf(reply, slot, tokenBytes, setup.tokenizerPath)
      const all = lengthsIn(slot).slice()
      slots.release(slot)
      const lengths = await withoutEmpty(batch, all, poison, faults)
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

/** Tokens that the documents of a batch may be filled up to. */
const FILLED_TOKENS = 1 << 20

const documentsAtOnce = (maxLength: number): number => Math.max(1, Math.floor(FILLED_TOKENS / Math.max(1, maxLength)))

/** Batches of at most so many documents: filled, a batch of short texts would take any amount of memory. */
async function* inPieces(input: AsyncIterable<DocumentBatch>, maxDocuments: number): AsyncGenerator<DocumentBatch> {
  let number = 0
  for await (const batch of input) {
    const documents = batch.offsets.length - 1
    // At least one: what stands behind an empty batch is a mark's matter too.
    for (let first = 0; first === 0 || first < documents; first += maxDocuments) {
      const end = Math.min(documents, first + maxDocuments)
      // A mark stands behind the last piece only.
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
    // Never that of an attempt before: its worker may not have ended yet.
    slot = slots.fill(batch)
    return workers.run('default', { slot, fit, retry } satisfies TokenizeTask)
  }, where)
  return { batch, slot: slot!, reply, poison }
}

const WIDTHS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const

/** Copies a reply's tokens out of its slot, at their width. */
function tokensOf(
  { overflow, tokenCount, maxId }: TokenizeReply,
  slot: SharedBatch,
  width: TokenBytes,
  file: string,
): TokenArray {
  if (maxId >= 2 ** (8 * width)) {
    throw new PenstockError('TOKEN_TOO_WIDE', `token id ${maxId} does not fit into ${width} bytes (token_bytes)`, {
      file,
    })
  }
  return new WIDTHS[width](overflow ?? tokensIn(slot).subarray(0, tokenCount))
}

/** The lengths of the documents that have tokens; each of the others is a faulty record. */
async function withoutEmpty(
  batch: DocumentBatch,
  lengths: Uint32Array,
  poison: readonly Poison[],
  faults: FaultHandler,
): Promise<Uint32Array> {
  if (!lengths.includes(0)) return lengths
  for (let document = 0; document < lengths.length; document++) {
    if (lengths[document] !== 0) continue
    const { code, message } = poison.find(({ piece }) => piece === document) ?? EMPTY
    await faults.handle({ code, message, ...recordAt(batch.origin, document) })
  }
  return lengths.filter(length => length > 0)
}

const EMPTY = { code: 'DOCUMENT_EMPTY', message: 'the document has no tokens' } as const
