/**
 * Worker of `tokenize-batches`: receives a slot of shared memory, encodes its documents, and replies. Each worker loads
 * the tokenizer once.
 */
import type { TokenArray } from '../../formats/batches.js'
import { fittedLength, type LengthFit, type TemplateTokens, writeFitted } from '../../tokenizer/fit-length.js'
import { type Tokenizer, TokenizerBase } from '../../tokenizer/tokenizer-base.js'
import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import { workerFunction } from '../worker-function.js'
import { documentsIn, lengthsIn, type SharedBatch, tokensIn } from './shared-batch.js'
import { workerTokenizer } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

export interface TokenizeTask {
  readonly slot: SharedBatch
  /** Truncation and padding of documents, applied before the end-of-document token. */
  readonly fit: LengthFit | undefined
  /** Records are the documents. */
  readonly retry: RetryMode
}

/** The part of the reply that is not in the slot. */
export interface TokenizeReply {
  readonly tokenCount: number
  /** The largest token id, to be checked against the output width. */
  readonly maxId: number
  /** The tokens, if they did not fit into the slot. */
  readonly overflow: Uint32Array | undefined
}

async function tokenizeSlot({ slot, fit, retry }: TokenizeTask, heartbeat: Heartbeat): Promise<TokenizeReply> {
  const { file, endOfDocumentId } = await workerTokenizer(heartbeat)
  const { tokenizer } = file
  heartbeat.begin(WHOLE_TASK, slot.textBytes)
  const atOnce = tokenizer instanceof TokenizerBase && !retry.isolateRecords
  const encoded = atOnce ? encodeAtOnce(tokenizer, slot) : encodeOneByOne(tokenizer, slot, retry, heartbeat)
  const { tokens, lengths } = fit === undefined ? encoded : fitDocuments(encoded, fit, tokenizer.templateTokens)
  return writeToSlot(slot, tokens, lengths, { id: endOfDocumentId, maxTokens: maxTokens(fit) })
}

export default workerFunction(tokenizeSlot)

/** Reused for each task, so that the worker creates no garbage. */
let reusedLengths = new Uint32Array(0)

/** Valid until the next call. */
function encodeAtOnce(tokenizer: TokenizerBase, slot: SharedBatch): Encoded {
  if (reusedLengths.length < slot.documents) reusedLengths = new Uint32Array(2 * slot.documents)
  const { bytes, offsets } = documentsIn(slot)
  const tokens = tokenizer.encodeInPlace(bytes, offsets, reusedLengths)
  return { tokens, lengths: reusedLengths.subarray(0, slot.documents) }
}

/** A poison document gets no tokens. */
function encodeOneByOne(tokenizer: Tokenizer, slot: SharedBatch, { poison }: RetryMode, heartbeat: Heartbeat): Encoded {
  const { offsets, bytes: shared } = documentsIn(slot)
  // TextDecoder rejects shared memory.
  const bytes = shared.slice()
  const skipped = new Set(poison.map(({ record }) => record))
  const documents = Array.from({ length: offsets.length - 1 }, (_, document) => {
    const [start, end] = [offsets[document]!, offsets[document + 1]!]
    if (skipped.has(document)) return new Uint32Array(0)
    heartbeat.begin(document, end - start)
    return tokenizer.encodeBytes(bytes, start, end)
  })
  const lengths = Uint32Array.from(documents, tokens => tokens.length)
  const tokens = new Uint32Array(lengths.reduce((sum, length) => sum + length, 0))
  let at = 0
  for (const document of documents) {
    tokens.set(document, at)
    at += document.length
  }
  return { tokens, lengths }
}

interface Encoded {
  readonly tokens: TokenArray
  readonly lengths: Uint32Array
}

function fitDocuments({ tokens, lengths }: Encoded, fit: LengthFit, template: TemplateTokens): Encoded {
  const newLengths = lengths.map(count => fittedLength(count, fit, template))
  const result = new Uint32Array(newLengths.reduce((sum, count) => sum + count, 0))
  let [from, to] = [0, 0]
  for (const count of lengths) {
    to = writeFitted(tokens.subarray(from, from + count), result, to, fit, template)
    from += count
  }
  return { tokens: result, lengths: newLengths }
}

/** Maximum length of a document including its end-of-document token. */
function maxTokens(fit: LengthFit | undefined): number {
  return fit?.keepLength ? fit.maxLength : Number.POSITIVE_INFINITY
}

interface EndOfDocument {
  readonly id: number | undefined
  readonly maxTokens: number
}

/** Copies the tokens into the slot and appends an end-of-document token to each document that does not end with one. */
function writeToSlot(
  slot: SharedBatch,
  tokens: TokenArray,
  counts: Uint32Array,
  { id: end, maxTokens }: EndOfDocument,
): TokenizeReply {
  const room = tokensIn(slot)
  const lengths = lengthsIn(slot)
  const fits = tokens.length + counts.length <= room.length
  const target = fits ? room : new Uint32Array(tokens.length + counts.length)
  let from = 0
  let to = 0
  let maxId = 0
  for (let document = 0; document < counts.length; document++) {
    const count = counts[document]!
    lengths[document] = 0
    if (count === 0) continue
    const start = to
    for (const stop = from + count; from < stop; from++, to++) {
      const id = tokens[from]!
      target[to] = id
      if (id > maxId) maxId = id
    }
    if (end !== undefined && target[to - 1] !== end) {
      if (to - start >= maxTokens) to--
      target[to++] = end
    }
    lengths[document] = to - start
  }
  return { tokenCount: to, maxId, overflow: fits ? undefined : (target.slice(0, to) as Uint32Array) }
}
