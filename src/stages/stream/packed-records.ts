/** Documents of packed files as records, and their tokens in the order of a shuffle. */
import type { PackedFile } from '../../files/packed-file.js'
import type { TokenBatch, TokenizerIdentity } from '../../formats/batches.js'
import { PBIN_HEADER_BYTES, type TokenBytes, viewTokens } from '../../formats/pbin.js'
import type { RecordTable, RecordWalk } from './record-table.js'
import type { ShuffleOrder } from './shuffle-order.js'
import type { StageContext } from './stage.js'

/** Documents [from, to) of a packed file. */
export function documentsOf(file: PackedFile, from = 0, to = Number.POSITIVE_INFINITY): RecordWalk {
  const { tokenBytes } = file.header
  return async visit => {
    let number = 0
    for await (const documents of file.documents()) {
      for (let entry = 0; entry < documents.length && number < to; entry += 2, number++) {
        if (number >= from)
          visit(PBIN_HEADER_BYTES + documents[entry]! * tokenBytes, documents[entry + 1]! * tokenBytes)
      }
      if (number >= to) return
    }
  }
}

/** The documents of a table of packed files of one token width, in this order. */
export async function* tokensInOrder(
  table: RecordTable,
  { order, from, markAfter }: ShuffleOrder,
  files: { readonly tokenBytes: TokenBytes; readonly tokenizer: TokenizerIdentity | undefined },
  context: StageContext,
): AsyncGenerator<TokenBatch> {
  const { tokenBytes, tokenizer } = files
  let number = 0
  let next = from
  for await (const { bytes, byteLengths } of table.inOrder(order, context.signal, 0, from)) {
    next += byteLengths.length
    const { byteLength } = bytes
    const tokens = viewTokens(bytes, tokenBytes)
    context.count('tokens', tokens.length)
    const lengths = byteLengths.map(byteLength => byteLength / tokenBytes)
    const mark = markAfter(byteLength, next)
    yield { kind: 'tokens', number: number++, byteLength, tokens, lengths, tokenizer, mark }
  }
}
