/**
 * Documents -> a file with the count of each distinct word (format: tokenizer/train/word-counts.ts). Files of several parts
 * of a corpus add up to the counts of the whole. Memory is one count per distinct word.
 */
import * as z from 'zod'
import { ifExistsOption } from '../../files/output-file.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { encodeWordCounts } from '../../tokenizer/train/word-counts.js'
import { checkFaultOptions, faultOptions, faultOptionsMessage } from '../stream/fault-handler.js'
import { type SinkStage, sink } from '../stream/stage.js'
import { defineStage, fileOf, quarantineOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { workersOption, writeFromWords } from './word-counting.js'

const countWordsOptions = z
  .strictObject({
    path: z.string().min(1).describe('file of word counts to write'),
    workers: workersOption,
    if_exists: ifExistsOption,
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type CountWordsOptions = z.input<typeof countWordsOptions>

export const countWordsStage = defineStage({
  name: 'count-words',
  summary: 'counts the words of documents, from which train-words trains a tokenizer',
  accepts: 'documents',
  options: countWordsOptions,
  resumable: true,
  create: countWords,
  writes: options => [...fileOf(options), ...quarantineOf(options)],
})

/** @throws FILE_EXISTS, FILE_UNWRITABLE, WORKER_DIED, WORKER_HUNG, DATA_TOO_SMALL for an input without text */
export function countWords(options: CountWordsOptions): SinkStage<DocumentBatch> {
  const checked = parseOptions(countWordsOptions, options, 'count-words')
  return sink(countWordsStage, (input, context) =>
    writeFromWords('count-words', checked, input, context, encodeWordCounts),
  )
}
