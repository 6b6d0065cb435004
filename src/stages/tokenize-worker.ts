/**
 * The worker's side of `tokenize-batches`: receive a slot of shared memory, encode its documents, reply. A tokenizer is
 * loaded once per worker.
 */
import type { TokenArray } from '../formats/batches.js'
import type { Tokenizer } from '../tokenizer/index.js'
import { type Beacon, WHOLE } from './beacon.js'
import type { Care } from './leave-out-poison.js'
import { readDocumentsFrom, type Slot, tokensIn } from './token-slot.js'
import { workerFunction } from './worker-errors.js'
import { loadTokenizerEarly, workerTokenizer } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

export interface TokenizeTask {
  readonly slot: Slot
  /** Pieces are the documents. */
  readonly care: Care
}

export interface TokenizeReply {
  /** Tokens of each document; 0 for a document that has none. */
  readonly lengths: Uint32Array
  readonly tokenCount: number
  /** The largest id, to be checked against the width. */
  readonly maxId: number
  /** The tokens themselves, only when they did not fit into the slot. */
  readonly overflow: Uint32Array | undefined
}

await loadTokenizerEarly()

async function tokenizeSlot({ slot, care }: TokenizeTask, beacon: Beacon): Promise<TokenizeReply> {
  const { file, endOfDocumentId } = await workerTokenizer()
  const { tokenizer } = file
  beacon.begin(WHOLE, slot.textBytes)
  const { bytes, offsets } = readDocumentsFrom(slot)
  const isWhole = tokenizer.how.fast && !care.pieceByPiece
  const encoded = isWhole
    ? tokenizer.encodeBatch(bytes, offsets)
    : encodeOneByOne(tokenizer, bytes, offsets, care, beacon)
  return intoSlot(slot, encoded.tokens, encoded.lengths, endOfDocumentId)
}

export default workerFunction(tokenizeSlot)

/** A poisoned document gets no tokens. */
function encodeOneByOne(
  tokenizer: Tokenizer,
  bytes: Uint8Array,
  offsets: Uint32Array,
  { poison }: Care,
  beacon: Beacon,
): { tokens: Uint32Array; lengths: Uint32Array } {
  const leftOut = new Set(poison.map(({ piece }) => piece))
  const documents = Array.from({ length: offsets.length - 1 }, (_, document) => {
    const [start, end] = [offsets[document]!, offsets[document + 1]!]
    if (leftOut.has(document)) return new Uint32Array(0)
    beacon.begin(document, end - start)
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

/** Copies the tokens into the slot, an end-of-document token behind each document that does not end in one. */
function intoSlot(slot: Slot, tokens: TokenArray, counts: Uint32Array, end: number | undefined): TokenizeReply {
  const room = tokensIn(slot)
  const lengths = new Uint32Array(counts.length)
  const fits = tokens.length + counts.length <= room.length
  const target = fits ? room : new Uint32Array(tokens.length + counts.length)
  let from = 0
  let to = 0
  let maxId = 0
  for (let document = 0; document < counts.length; document++) {
    const count = counts[document]!
    if (count === 0) continue
    const start = to
    for (const stop = from + count; from < stop; from++, to++) {
      const id = tokens[from]!
      target[to] = id
      if (id > maxId) maxId = id
    }
    if (end !== undefined && target[to - 1] !== end) target[to++] = end
    lengths[document] = to - start
  }
  return { lengths, tokenCount: to, maxId, overflow: fits ? undefined : (target.slice(0, to) as Uint32Array) }
}
