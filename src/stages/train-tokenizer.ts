/**
 * Documents -> a byte-level BPE tokenizer.json, identical to the one that the Rust library's trainer produces from the
 * same texts. Words are counted in worker threads; memory is one count per distinct word. The output is written
 * atomically.
 */
import * as z from 'zod'
import { ifExistsOption } from '../files/output-file.js'
import type { DocumentBatch } from '../formats/batches.js'
import { checkFaultOptions, faultOptions, faultOptionsMessage } from './stream/fault-handler.js'
import { type SinkStage, sink } from './stream/stage.js'
import { defineStage, fileOf, quarantineOf } from './stream/stage-entry.js'
import { parseOptions } from './stream/stage-options.js'
import { trainedTokenizer, trainingOptions, workersOption, writeFromWords } from './words/word-counting.js'

const trainTokenizerOptions = z
  .strictObject({
    path: z.string().min(1).describe('tokenizer.json to write'),
    ...trainingOptions,
    workers: workersOption,
    if_exists: ifExistsOption,
    ...faultOptions,
  })
  .refine(checkFaultOptions, faultOptionsMessage)
export type TrainTokenizerOptions = z.input<typeof trainTokenizerOptions>

export const trainTokenizerStage = defineStage({
  name: 'train-tokenizer',
  summary: 'trains a byte-level BPE tokenizer and writes tokenizer.json',
  accepts: 'documents',
  options: trainTokenizerOptions,
  resumable: true,
  create: trainTokenizer,
  writes: options => [...fileOf(options), ...quarantineOf(options)],
})

/**
 * @throws FILE_EXISTS, FILE_UNWRITABLE, OPTION_INVALID, WORKER_DIED, WORKER_HUNG, DATA_TOO_SMALL for an input without
 * text
 */
export function trainTokenizer(options: TrainTokenizerOptions, worker?: URL): SinkStage<DocumentBatch> {
  const checked = parseOptions(trainTokenizerOptions, options, 'train-tokenizer')
  return sink(trainTokenizerStage, (input, context) =>
    writeFromWords(
      'train-tokenizer',
      checked,
      input,
      context,
      (words, workers) => trainedTokenizer(words, checked, workers, context),
      worker,
    ),
  )
}
