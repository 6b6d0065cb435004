/**
 * The worker's side of `tokenize-batches`: receive a slot of shared memory, encode its documents, reply. A tokenizer is
 * loaded once per worker.
 */
import type { TokenArray } from '../../formats/batches.js'
import { fittedLength, type LengthFit, type TemplateTokens, writeFitted } from '../../tokenizer/fit-length.js'
import { FastTokenizer, type Tokenizer } from '../../tokenizer/tokenizer.js'
import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import { workerFunction } from '../worker-function.js'
import { documentsIn, lengthsIn, type SharedBatch, tokensIn } from './shared-batch.js'
import { workerTokenizer } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

export interface TokenizeTask {
  readonly slot: SharedBatch
  /** Documents are cut or filled to this length, before the end-of-document token. */
  readonly fit: LengthFit | undefined
  /** Pieces are the documents. */
  readonly retry: RetryMode
}

/** What does not stand in the slot. */
export interface TokenizeReply {
  readonly tokenCount: number
  /** The largest id, to be checked against the width. */
  readonly maxId: number
  /** The tokens themselves, only when they did not fit into the slot. */
  readonly overflow: Uint32Array | undefined
}

async function tokenizeSlot({ slot, fit, retry }: TokenizeTask, heartbeat: Heartbeat): Promise<TokenizeReply> {
  const { file, endOfDocumentId } = await workerTokenizer(heartbeat)
  const { tokenizer } = file
  heartbeat.begin(WHOLE_TASK, slot.textBytes)
  const isWhole = tokenizer instanceof FastTokenizer && !retry.isolateRecords
  const encoded = isWhole ? encodeWhole(tokenizer, slot) : encodeOneByOne(tokenizer, slot, retry, heartbeat)
  const { tokens, lengths } = fit === undefined ? encoded : fitted(encoded, fit, tokenizer.templateTokens)
  return intoSlot(slot, tokens, lengths, { id: endOfDocumentId, mostTokens: mostTokens(fit) })
}

export default workerFunction(tokenizeSlot)

/** Used again for each task: a worker that makes no garbage needs no memory for it. */
let wholeLengths = new Uint32Array(0)

/** Valid until the next call. */
function encodeWhole(tokenizer: FastTokenizer, slot: SharedBatch): Encoded {
  if (wholeLengths.length < slot.documents) wholeLengths = new Uint32Array(2 * slot.documents)
  const { bytes, offsets } = documentsIn(slot)
  const tokens = tokenizer.encodeInPlace(bytes, offsets, wholeLengths)
  return { tokens, lengths: wholeLengths.subarray(0, slot.documents) }
}

/** A poisoned document gets no tokens. */
function encodeOneByOne(tokenizer: Tokenizer, slot: SharedBatch, { poison }: RetryMode, heartbeat: Heartbeat): Encoded {
  const { offsets, bytes: shared } = documentsIn(slot)
  // Decoders refuse shared memory.
  const bytes = shared.slice()
  const leftOut = new Set(poison.map(({ piece }) => piece))
  const documents = Array.from({ length: offsets.length - 1 }, (_, document) => {
    const [start, end] = [offsets[document]!, offsets[document + 1]!]
    if (leftOut.has(document)) return new Uint32Array(0)
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

function fitted({ tokens, lengths }: Encoded, fit: LengthFit, around: TemplateTokens): Encoded {
  const newLengths = lengths.map(count => fittedLength(count, fit, around))
  const result = new Uint32Array(newLengths.reduce((sum, count) => sum + count, 0))
  let [from, to] = [0, 0]
  for (const count of lengths) {
    to = writeFitted(tokens.subarray(from, from + count), result, to, fit, around)
    from += count
  }
  return { tokens: result, lengths: newLengths }
}

/** Of a document with its end-of-document token. */
function mostTokens(fit: LengthFit | undefined): number {
  return fit?.keepLength ? fit.maxLength : Number.POSITIVE_INFINITY
}

interface End {
  readonly id: number | undefined
  readonly mostTokens: number
}

/** Copies the tokens into the slot, an end-of-document token behind each document that does not end in one. */
function intoSlot(
  slot: SharedBatch,
  tokens: TokenArray,
  counts: Uint32Array,
  { id: end, mostTokens }: End,
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
      if (to - start >= mostTokens) to--
      target[to++] = end
    }
    lengths[document] = to - start
  }
  return { tokenCount: to, maxId, overflow: fits ? undefined : (target.slice(0, to) as Uint32Array) }
}
