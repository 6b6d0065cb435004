/** The workers' side of `train-tokenizer`: count the words of a batch; merge pairs over the counts of all. */
import type { MessagePort } from 'node:worker_threads'
import { GPT2_PATTERN, patternRule, splitterFor } from '../tokenizer/pretokenize.js'
import {
  countWords,
  type TrainedBpe,
  type TrainOptions,
  trainMerges,
  WordCounts,
  type WordCountsData,
} from '../tokenizer/train/index.js'

export interface CountTask {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
}
export interface MergeTask {
  readonly words: WordCountsData
  readonly options: TrainOptions
  /** Is told the number of tokens now and then. */
  readonly progress: MessagePort
}

const split = splitterFor([patternRule(GPT2_PATTERN)])

export function countBatch({ bytes, offsets }: CountTask): WordCountsData {
  const counts = new WordCounts()
  countWords(split, bytes, offsets, counts)
  const { bytes: words, ends, counts: occurrences } = counts.data()
  // A view would be sent with the whole buffer behind it.
  return { bytes: words.slice(), ends: ends.slice(), counts: occurrences.slice() }
}

export function merge({ words, options, progress }: MergeTask): TrainedBpe {
  return trainMerges(words, options, ({ tokenCount }) => progress.postMessage(tokenCount))
}
