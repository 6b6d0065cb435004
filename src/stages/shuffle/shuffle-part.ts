/**
 * Source: a part of the documents of packed files, in the order in which `shuffle-documents` emits all of them: the first
 * of two passes of a shuffle on many machines. Memory is 4 bytes per document of all files, and 16 per document of the part.
 */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { openPackedFiles } from '../../files/packed-file.js'
import type { TokenBatch } from '../../formats/batches.js'
import { SLICE_STEPS, type Sliced } from '../../sampling/slices.js'
import { documentsOf, tokensInOrder } from '../stream/packed-records.js'
import { RecordTable } from '../stream/record-table.js'
import { shuffleOrder } from '../stream/shuffle-order.js'
import { type SourceStage, source } from '../stream/stage.js'
import { defineStage, pathsOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { runInSlices } from '../stream/time-slices.js'

const shufflePartOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('.pbin files that contain the part'),
  from: z.int().nonnegative().default(0).describe('first document of the part in the first file, from 0'),
  to: z.int().positive().optional().describe('end of the part in the last file, a document; by default, all of it'),
  first: z.int().nonnegative().describe('number of the first document of the part among those of all files'),
  total: z.int().positive().describe('number of documents of all files'),
  seed: z.int().nonnegative().describe('seed of the shuffle'),
})
export type ShufflePartOptions = z.input<typeof shufflePartOptions>

export const shufflePartStage = defineStage({
  name: 'shuffle-part',
  summary: 'token ids of a part of packed files, in the order of a shuffle of all documents',
  emits: 'tokens',
  options: shufflePartOptions,
  resumable: true,
  create: shufflePart,
  reads: pathsOf,
})

/** @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH; DATA_TOO_SMALL for a part without documents */
export function shufflePart(options: ShufflePartOptions): SourceStage<TokenBatch> {
  const { paths, from, to, first, total, seed } = parseOptions(shufflePartOptions, options, 'shuffle-part')
  return source('shuffle-part', async function* (context) {
    const { files, tokenizer, close } = await openPackedFiles(paths)
    try {
      context.stats.counts.files = files.length
      const table = new RecordTable()
      for (const [index, file] of files.entries()) {
        const isLast = index === files.length - 1
        await table.addFile(file, documentsOf(file, index === 0 ? from : 0, isLast ? to : undefined), undefined)
      }
      if (table.count === 0) throw new PenstockError('DATA_TOO_SMALL', 'the part has no documents')
      const whole = await shuffleOrder(total, { seed }, context)
      const order = await runInSlices(partOf(whole.order, first, table.count), context.signal)
      const { tokenBytes } = files[0]!.header
      yield* tokensInOrder(table, { ...whole, order }, { tokenBytes, tokenizer }, context)
    } finally {
      close()
    }
  })
}

/** The numbers [first, first + count) in the order of a permutation, counted from `first`. */
function* partOf(order: Uint32Array, first: number, count: number): Sliced<Uint32Array> {
  const part = new Uint32Array(count)
  let found = 0
  for (let place = 0; place < order.length; ) {
    for (const stop = Math.min(order.length, place + SLICE_STEPS); place < stop; place++) {
      const record = order[place]! - first
      if (record >= 0 && record < count) part[found++] = record
    }
    yield
  }
  return part
}
