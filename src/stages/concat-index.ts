/**
 * Source: the positions of lines that several indexes of one file list, concatenated. The indexes cover adjacent parts of
 * the file, in order; `write-index` makes one index of them.
 */
import * as z from 'zod'
import { indexEntries } from '../files/sources/index-entries.js'
import type { LinePlaces } from '../formats/batches.js'
import { type SourceStage, source } from './stream/stage.js'
import { defineStage } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'

const concatIndexOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('the .idx files, in the order of the parts of the JSONL file'),
  source: z.string().min(1).describe('the JSONL file that the indexes refer to'),
})
export type ConcatIndexOptions = z.input<typeof concatIndexOptions>

/** Offsets within a batch have 32 bits. */
const MAX_SPAN_BYTES = 2 ** 32 - 1

export const concatIndexStage = defineStage({
  name: 'concat-index',
  summary: 'positions of lines of several indexes of one file, concatenated',
  emits: 'lines',
  options: concatIndexOptions,
  create: concatIndex,
  reads: ({ paths, source: file }) => [...paths, file],
})

/** @throws FILE_MISSING, PICKLE_INVALID; IDX_INVALID for entries out of order */
export function concatIndex(options: ConcatIndexOptions): SourceStage<LinePlaces> {
  const { paths, source: file } = parseOptions(concatIndexOptions, options, 'concat-index')
  return source('concat-index', async function* (context) {
    let number = 0
    for (const [index, path] of paths.entries()) {
      for await (const entries of indexEntries(path)) {
        for (const places of batches(entries, file)) yield { ...places, number: number++ }
      }
      context.stats.counts.files = index + 1
    }
  })
}

function* batches(entries: readonly number[], file: string): Generator<LinePlaces> {
  for (let first = 0; first < entries.length; ) {
    const byteOffset = entries[first]!
    let end = first
    while (end < entries.length && entries[end]! + entries[end + 1]! - byteOffset <= MAX_SPAN_BYTES) end += 2
    const starts = Uint32Array.from({ length: (end - first) / 2 }, (_, line) => entries[first + 2 * line]! - byteOffset)
    const ends = starts.map((start, line) => start + entries[first + 2 * line + 1]!)
    yield { kind: 'lines', number: 0, byteLength: 8 * starts.length, byteOffset, starts, ends, source: file }
    first = end
  }
}
