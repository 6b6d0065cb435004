/**
 * Source: the documents of packed files, or of one chunk of each, in the order that Modalities produces for the same
 * seed. Memory is 16 bytes per document; tokens are read on demand.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { PackedFile } from '../files/packed-file.js'
import { openPackedFiles } from '../files/packed-file.js'
import type { TokenBatch } from '../formats/batches.js'
import { PBIN_HEADER_BYTES, viewTokens } from '../formats/pbin.js'
import { RecordTable, type RecordWalk } from './stream/record-table.js'
import { orderOptions, shuffleOrder } from './stream/shuffle-order.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, pathsOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const shuffleDocumentsOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('.pbin files to shuffle together'),
  ...orderOptions,
})
export type ShuffleDocumentsOptions = z.input<typeof shuffleDocumentsOptions>

export const shuffleDocumentsStage = defineStage({
  name: 'shuffle-documents',
  summary: 'token ids of packed files, documents shuffled',
  emits: 'tokens',
  options: shuffleDocumentsOptions,
  resumable: true,
  create: shuffleDocuments,
  reads: pathsOf,
})

/** @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH, DATA_TOO_SMALL for a chunk without documents */
export function shuffleDocuments(options: ShuffleDocumentsOptions): SourceStage<TokenBatch> {
  const checked = parseOptions(shuffleDocumentsOptions, options, 'shuffle-documents')
  return source('shuffle-documents', async function* (context) {
    const { files, tokenizer, close } = await openPackedFiles(checked.paths)
    try {
      context.stats.counts.files = files.length
      const table = new RecordTable()
      for (const file of files) await table.addFile(file, documentsOf(file), checked.chunk)
      if (table.count === 0) throw noDocuments(checked.chunk)
      const { tokenBytes } = files[0]!.header
      let number = 0
      const { order, from, markAfter } = await shuffleOrder(table.count, checked, context)
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
    } finally {
      close()
    }
  })
}

function documentsOf(file: PackedFile): RecordWalk {
  const { tokenBytes } = file.header
  return async visit => {
    for await (const documents of file.documents()) {
      for (let entry = 0; entry < documents.length; entry += 2) {
        visit(PBIN_HEADER_BYTES + documents[entry]! * tokenBytes, documents[entry + 1]! * tokenBytes)
      }
    }
  }
}

function noDocuments(chunk: { readonly number: number; readonly of: number } | undefined): PenstockError {
  const what = chunk === undefined ? 'the files have no documents' : `chunk ${chunk.number} of ${chunk.of} is empty`
  return new PenstockError('DATA_TOO_SMALL', `${what}${chunk === undefined ? '' : ': use fewer chunks'}`)
}
