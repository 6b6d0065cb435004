/**
 * Source: the documents of packed files, or of one chunk of each, in the order that Modalities produces for the same
 * seed. Memory is 16 bytes per document; tokens are read on demand.
 */
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import { openPackedFiles } from '../files/packed-file.js'
import type { TokenBatch } from '../formats/batches.js'
import { documentsOf, tokensInOrder } from './stream/packed-records.js'
import { RecordTable } from './stream/record-table.js'
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
      const order = await shuffleOrder(table.count, checked, context)
      yield* tokensInOrder(table, order, { tokenBytes, tokenizer }, context)
    } finally {
      close()
    }
  })
}

function noDocuments(chunk: { readonly number: number; readonly of: number } | undefined): PenstockError {
  const what = chunk === undefined ? 'the files have no documents' : `chunk ${chunk.number} of ${chunk.of} is empty`
  return new PenstockError('DATA_TOO_SMALL', `${what}${chunk === undefined ? '' : ': use fewer chunks'}`)
}
