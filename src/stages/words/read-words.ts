/** Source: the counts of words in several files of `count-words`, one item per file. Memory is that of the largest file. */
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import { readWhole } from '../../files/read-at.js'
import type { WordBatch } from '../../formats/batches.js'
import {
  decodeWordCounts,
  encodedWordCountsBytes,
  WORD_COUNTS_HEADER_BYTES,
} from '../../tokenizer/train/word-counts.js'
import { type SourceStage, source } from '../stream/stage.js'
import { defineStage, pathsOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'

const readWordsOptions = z.strictObject({
  paths: z.array(z.string().min(1)).min(1).describe('files of word counts'),
})
export type ReadWordsOptions = z.input<typeof readWordsOptions>

export const readWordsStage = defineStage({
  name: 'read-words',
  summary: 'counts of words, from files of count-words',
  emits: 'words',
  options: readWordsOptions,
  create: readWords,
  reads: pathsOf,
})

/** @throws FILE_MISSING, FILE_UNREADABLE, FILE_DAMAGED */
export function readWords(options: ReadWordsOptions): SourceStage<WordBatch> {
  const { paths } = parseOptions(readWordsOptions, options, 'read-words')
  return source('read-words', async function* (context) {
    for (const [number, path] of paths.entries()) {
      const encoded = await readWhole(path)
      const { byteLength } = encoded
      if (byteLength < WORD_COUNTS_HEADER_BYTES || byteLength !== encodedWordCountsBytes(encoded)) {
        throw new PenstockError('FILE_DAMAGED', 'not a file of word counts, or cut off: count the words again', {
          file: path,
        })
      }
      context.stats.counts.files = number + 1
      yield { kind: 'words', number, byteLength, ...decodeWordCounts(encoded) }
    }
  })
}
