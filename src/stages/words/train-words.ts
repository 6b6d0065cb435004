/**
 * Counts of words -> the tokenizer.json that `train-tokenizer` writes for the texts that were counted: the counts of all
 * items are added, and the order of the items does not matter. Memory is one count per distinct word.
 */
import * as z from 'zod'
import { ifExistsOption, writeWhole } from '../../files/output-file.js'
import type { WordBatch } from '../../formats/batches.js'
import { WordCounts } from '../../tokenizer/train/word-counts.js'
import { type SinkStage, sink } from '../stream/stage.js'
import { defineStage, fileOf } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'
import { openCounters, requireWords, trainedTokenizer, trainingOptions } from './word-counting.js'

const trainWordsOptions = z.strictObject({
  path: z.string().min(1).describe('tokenizer.json to write'),
  ...trainingOptions,
  if_exists: ifExistsOption,
})
export type TrainWordsOptions = z.input<typeof trainWordsOptions>

export const trainWordsStage = defineStage({
  name: 'train-words',
  summary: 'trains a byte-level BPE tokenizer from counts of words and writes tokenizer.json',
  accepts: 'words',
  options: trainWordsOptions,
  create: trainWords,
  writes: fileOf,
})

/** @throws FILE_EXISTS, FILE_UNWRITABLE, OPTION_INVALID, WORKER_DIED, WORKER_HUNG, DATA_TOO_SMALL without words */
export function trainWords(options: TrainWordsOptions): SinkStage<WordBatch> {
  const checked = parseOptions(trainWordsOptions, options, 'train-words')
  return sink(trainWordsStage, (input, context) =>
    writeWhole(checked.path, checked.if_exists, async file => {
      const all = new WordCounts()
      for await (const batch of input) all.merge(batch)
      const words = all.data()
      requireWords(words, checked.path)
      context.count('words', words.counts.length)
      const workers = openCounters(1)
      try {
        await file.write(await trainedTokenizer(words, checked, workers, context))
      } finally {
        await workers.close()
      }
    }),
  )
}
