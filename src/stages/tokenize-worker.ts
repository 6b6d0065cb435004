/**
 * The worker's side of `tokenize-batches`: receive a slot of shared memory, encode its documents, reply. A tokenizer is
 * loaded once per worker.
 */
import type { TokenArray } from '../formats/batches.js'
import { readDocumentsFrom, type Slot, tokensIn } from './token-slot.js'
import { sendingErrors } from './worker-errors.js'
import { tokenizerAt } from './worker-tokenizer.js'

export { describeTokenizer } from './worker-tokenizer.js'

export interface TokenizeTask {
  readonly slot: Slot
  readonly tokenizerPath: string
  readonly endOfDocumentId: number | undefined
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

async function tokenizeSlot({ slot, tokenizerPath, endOfDocumentId }: TokenizeTask): Promise<TokenizeReply> {
  const { tokenizer } = await tokenizerAt(tokenizerPath)
  const { bytes, offsets } = readDocumentsFrom(slot)
  const encoded = tokenizer.encodeBatch(bytes, offsets)
  return intoSlot(slot, encoded.tokens, encoded.lengths, endOfDocumentId)
}

export default sendingErrors(tokenizeSlot)

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
