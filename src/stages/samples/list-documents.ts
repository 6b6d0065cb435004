/** Source: position and length of the documents of packed files, from their indexes. No token is read. */
import * as z from 'zod'
import { openPackedFiles, type PackedFile } from '../../files/packed-file.js'
import type { SpanBatch } from '../../formats/batches.js'
import { type SourceStage, source } from '../stream/stage.js'
import { defineStage, pathsOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'

const listDocumentsOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('.pbin files whose documents to list'),
})
export type ListDocumentsOptions = z.input<typeof listDocumentsOptions>

export const listDocumentsStage = defineStage({
  name: 'list-documents',
  summary: 'position and length of the documents of packed files',
  emits: 'spans',
  options: listDocumentsOptions,
  create: listDocuments,
  reads: pathsOf,
})

/** @throws FILE_MISSING, PBIN_INVALID, PICKLE_INVALID, TOKENIZER_MISMATCH */
export function listDocuments(options: ListDocumentsOptions): SourceStage<SpanBatch> {
  const { paths } = parseOptions(listDocumentsOptions, options, 'list-documents')
  return source('list-documents', async function* (context) {
    const { files, close } = await openPackedFiles(paths)
    try {
      context.stats.counts.files = files.length
      let number = 0
      for (const [file, packed] of files.entries()) {
        for await (const pairs of announced(packed)) {
          const starts = new Float64Array(pairs.length / 2)
          const lengths = new Uint32Array(pairs.length / 2)
          for (let document = 0; document < lengths.length; document++) {
            starts[document] = pairs[2 * document]!
            lengths[document] = pairs[2 * document + 1]!
          }
          const byteLength = starts.byteLength + lengths.byteLength
          yield { kind: 'spans', number: number++, byteLength, starts, lengths, file, ...packed.header }
        }
      }
    } finally {
      close()
    }
  })
}

/** The documents of a file, after an empty block: a file without documents counts as one of the files too. */
async function* announced(file: PackedFile): AsyncGenerator<Float64Array> {
  yield new Float64Array(0)
  yield* file.documents()
}
