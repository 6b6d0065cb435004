/** Source: the documents of several packed files, concatenated in the order given. `penstock merge` is built on it. */
import * as z from 'zod'
import { openPackedFiles } from '../files/packed-file.js'
import type { TokenBatch } from '../formats/batches.js'
import { documentsOf } from './read-pbin.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage, pathsOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const concatPbinOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('the .pbin files, in the order to concatenate them'),
  sources: z
    .array(z.string().min(1))
    .min(1)
    .optional()
    .describe('files to record as the sources of the result; by default, the .pbin files'),
  reading: z
    .record(z.string(), z.string())
    .optional()
    .describe('options of read-corpus to record with the sources, for verify --deep'),
})
export type ConcatPbinOptions = z.input<typeof concatPbinOptions>

export const concatPbinStage = defineStage({
  name: 'concat-pbin',
  summary: 'token ids of several packed files, concatenated',
  emits: 'tokens',
  options: concatPbinOptions,
  resumable: true,
  create: concatPbin,
  reads: pathsOf,
  records: ({ sources, paths }) => sources ?? paths,
  reading: ({ reading = {} }) => reading,
})

/** @throws FILE_MISSING, PBIN_INVALID, PICKLE_INVALID; TOKENIZER_MISMATCH before any token is read */
export function concatPbin(options: ConcatPbinOptions): SourceStage<TokenBatch> {
  const { paths } = parseOptions(concatPbinOptions, options, 'concat-pbin')
  return source('concat-pbin', async function* (context) {
    const { files, tokenizer, close } = await openPackedFiles(paths)
    try {
      context.stats.counts.files = files.length
      context.stats.counts.totalBytes = files.reduce((sum, file) => sum + file.header.dataBytes, 0)
      yield* documentsOf(files, tokenizer, context)
    } finally {
      close()
    }
  })
}
