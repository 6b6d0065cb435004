/**
 * Documents -> token ids, in worker threads, order kept. A batch is one task; at most one more than there are workers is
 * under way, so memory is bounded by the workers' number and the size of a batch.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch, TokenArray, TokenBatch } from '../formats/batches.js'
import { recordAt } from '../formats/extract.js'
import type { TokenBytes } from '../formats/pbin.js'
import { checkFaultOptions, FaultHandler, faultOptions, faultOptionsMessage, withFaultHandler } from './faults.js'
import { inOrder } from './in-order.js'
import { type StageContext, type TransformStage, transform } from './stage.js'
import { type Slot, SlotPool, tokensIn } from './token-slot.js'
import type { TokenizeReply, TokenizeTask } from './tokenize-worker.js'
import { receivedError } from './worker-errors.js'
import { closePool, defaultWorkers, workerPool } from './worker-pool.js'
import { askForTokenizer, slownessNote } from './worker-tokenizer.js'

export const tokenizeBatchesOptions = z
  .strictObject({
    tokenizer: z.string().min(1).describe('a tokenizer.json, or the folder that holds one'),
    end_of_document: z.string().min(1).optional().describe('token put behind each document that does not end in it'),
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

/** @throws TOKENIZER_INVALID, TOKENIZER_MISMATCH, DOCUMENT_EMPTY, TOKEN_TOO_WIDE, WORKER_FAILED */
export function tokenizeBatches(options: TokenizeBatchesOptions): TransformStage<DocumentBatch, TokenBatch> {
  const checked = tokenizeBatchesOptions.parse(options)
  return transform('tokenize-batches', (input, context) =>
    withFaultHandler(new FaultHandler(checked, 'tokenize-batches', context), faults =>
      tokenized(input, checked, faults, context),
    ),
  )
}

interface Encoded {
  readonly batch: DocumentBatch
  readonly reply: TokenizeReply
  readonly slot: Slot
}

async function* tokenized(
  input: AsyncIterable<DocumentBatch>,
  options: Checked,
  faults: FaultHandler,
  context: StageContext,
): AsyncGenerator<TokenBatch> {
  const workers = options.workers ?? defaultWorkers()
  const pool = workerPool('./tokenize-worker.js', workers)
  const slots = new SlotPool()
  const { tokenizer: tokenizerPath } = options

  async function encode(batch: DocumentBatch, endOfDocumentId: number | undefined): Promise<Encoded> {
    const slot = slots.fill(batch)
    try {
      const task: TokenizeTask = { slot, tokenizerPath, endOfDocumentId }
      return { batch, slot, reply: await pool.run(task) }
    } catch (error) {
      throw receivedError(error, 'WORKER_FAILED', {
        file: batch.origin.source,
        line: batch.origin.firstLine,
        stage: 'tokenize-batches',
      })
    }
  }

  try {
    const facts = await askForTokenizer(pool, { tokenizerPath, endOfDocument: options.end_of_document })
    const { identity, how } = facts
    const note = slownessNote(how)
    if (note !== undefined) context.note(note)
    const tokenBytes = options.token_bytes ?? facts.tokenBytes
    const work = (batch: DocumentBatch): Promise<Encoded> => encode(batch, identity.endOfDocumentId)
    for await (const { batch, reply, slot } of inOrder(input, workers + 1, work, context.signal)) {
      const tokens = tokensOf(reply, slot, tokenBytes, tokenizerPath)
      slots.release(slot)
      const lengths = await withoutEmpty(batch, reply.lengths, faults)
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
    await closePool(pool)
  }
}

const WIDTHS = { 1: Uint8Array, 2: Uint16Array, 4: Uint32Array } as const

/** Copies a reply's tokens out of its slot, at their width. */
function tokensOf(
  { overflow, tokenCount, maxId }: TokenizeReply,
  slot: Slot,
  width: TokenBytes,
  file: string,
): TokenArray {
  if (maxId >= 2 ** (8 * width)) {
    throw new PenstockError('TOKEN_TOO_WIDE', `token id ${maxId} does not fit into ${width} bytes (token_bytes)`, {
      file,
    })
  }
  return WIDTHS[width].from(overflow ?? tokensIn(slot).subarray(0, tokenCount))
}

/** The lengths of the documents that have tokens; each of the others is a faulty record. */
async function withoutEmpty(batch: DocumentBatch, lengths: Uint32Array, faults: FaultHandler): Promise<Uint32Array> {
  for (let document = 0; document < lengths.length; document++) {
    if (lengths[document] !== 0) continue
    const message = 'the document has no tokens'
    await faults.handle({ code: 'DOCUMENT_EMPTY', message, ...recordAt(batch.origin, document) })
  }
  return lengths.filter(length => length > 0)
}
