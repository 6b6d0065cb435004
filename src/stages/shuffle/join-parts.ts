/**
 * Source: documents at some positions of a shuffle, from the parts that `shuffle-part` has put in order: the second of two
 * passes of a shuffle on many machines. Each part is read in one place, from front to back. Memory is 4 bytes per document of
 * all parts, and 20 per document that is emitted.
 */
import * as z from 'zod'
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

const joinPartsOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('.pbin files of all parts, in the order of the parts'),
  documents: z.array(z.int().positive()).min(1).describe('number of documents of each part'),
  from: z.int().nonnegative().describe('first position of the shuffle to emit, from 0'),
  to: z.int().positive().describe('end of the positions to emit'),
  seed: z.int().nonnegative().describe('seed of the shuffle'),
})
export type JoinPartsOptions = z.input<typeof joinPartsOptions>

export const joinPartsStage = defineStage({
  name: 'join-parts',
  summary: 'token ids at some positions of a shuffle, from the parts of shuffle-part',
  emits: 'tokens',
  options: joinPartsOptions,
  resumable: true,
  create: joinParts,
  reads: pathsOf,
})

/** @throws FILE_MISSING, PBIN_INVALID, TOKENIZER_MISMATCH */
export function joinParts(options: JoinPartsOptions): SourceStage<TokenBatch> {
  const { paths, documents, from, to, seed } = parseOptions(joinPartsOptions, options, 'join-parts')
  return source('join-parts', async function* (context) {
    const { files, tokenizer, close } = await openPackedFiles(paths)
    try {
      context.stats.counts.files = files.length
      const total = documents.reduce((sum, count) => sum + count, 0)
      const whole = await shuffleOrder(total, { seed }, context)
      const { starts, counts, partAt } = await runInSlices(sectionsOf(whole.order, documents, from, to), context.signal)
      const table = new RecordTable()
      for (const [part, file] of files.entries()) {
        if (counts[part] === 0) continue
        await table.addFile(file, documentsOf(file, starts[part], starts[part]! + counts[part]!), undefined)
      }
      const order = await runInSlices(recordsOf(partAt, counts), context.signal)
      const { tokenBytes } = files[0]!.header
      yield* tokensInOrder(table, { ...whole, order }, { tokenBytes, tokenizer }, context)
    } finally {
      close()
    }
  })
}

interface Sections {
  /** Of each part, the documents at positions before `from`, and those between `from` and `to`. */
  readonly starts: Float64Array
  readonly counts: Float64Array
  /** Part of each position between `from` and `to`. */
  readonly partAt: Uint32Array
}

function* sectionsOf(order: Uint32Array, documents: readonly number[], from: number, to: number): Sliced<Sections> {
  const starts = new Float64Array(documents.length)
  const counts = new Float64Array(documents.length)
  const partAt = new Uint32Array(to - from)
  const ends = endsOf(documents)
  for (let place = 0; place < to; ) {
    for (const stop = Math.min(to, place + SLICE_STEPS); place < stop; place++) {
      const part = partWith(ends, order[place]!)
      if (place < from) starts[part]!++
      else {
        counts[part]!++
        partAt[place - from] = part
      }
    }
    yield
  }
  return { starts, counts, partAt }
}

/** The records of a table to which the sections were added, in the order of the positions. */
function* recordsOf(partAt: Uint32Array, counts: Float64Array): Sliced<Uint32Array> {
  const next = endsOf(counts).map((end, part) => end - counts[part]!)
  const order = new Uint32Array(partAt.length)
  for (let place = 0; place < order.length; ) {
    for (const stop = Math.min(order.length, place + SLICE_STEPS); place < stop; place++) {
      order[place] = next[partAt[place]!]!++
    }
    yield
  }
  return order
}

function endsOf(counts: ArrayLike<number>): Float64Array {
  let end = 0
  return Float64Array.from(counts, count => {
    end += count
    return end
  })
}

/** Binary search for the part that contains a document. */
function partWith(ends: Float64Array, document: number): number {
  let [low, high] = [0, ends.length - 1]
  while (low < high) {
    const middle = (low + high) >> 1
    if (ends[middle]! > document) high = middle
    else low = middle + 1
  }
  return low
}
