/** Worker of `train-tokenizer`: counts the words of a batch; computes the merges from the counts of all batches. */
import type { MessagePort } from 'node:worker_threads'
import { GPT2_PATTERN, patternRule, splitterFor } from '../../tokenizer/patterns/pretokenize.js'
import {
  countWords,
  type TrainedBpe,
  type TrainOptions,
  trainMerges,
  WordCounts,
  type WordCountsData,
} from '../../tokenizer/train/index.js'

import { type Heartbeat, WHOLE_TASK } from '../heartbeat.js'
import type { RetryMode } from '../poison-records.js'
import { workerFunction } from '../worker-function.js'

export interface CountTask {
  readonly bytes: Uint8Array
  readonly offsets: Uint32Array
  /** Records are the documents. */
  readonly retry: RetryMode
}
export interface MergeTask {
  readonly words: WordCountsData
  readonly options: TrainOptions
  /** Receives the current vocabulary size from time to time. */
  readonly progress: MessagePort
}

/**
 * Cost of counting the initial pairs over all words, before the first progress, relative to tokenizing the same bytes.
 */
const MERGE_COST = 4

const split = splitterFor([patternRule(GPT2_PATTERN)])

function countDocuments({ bytes, offsets, retry }: CountTask, heartbeat: Heartbeat): WordCountsData {
  const counts = new WordCounts()
  heartbeat.begin(WHOLE_TASK, bytes.length)
  if (retry.isolateRecords) countOneByOne(bytes, offsets, retry, heartbeat, counts)
  else countWords(split, bytes, offsets, counts)
  return counts.data()
}
export const countBatch = workerFunction(countDocuments)

function countOneByOne(
  bytes: Uint8Array,
  offsets: Uint32Array,
  { poison }: RetryMode,
  heartbeat: Heartbeat,
  counts: WordCounts,
): void {
  const skipped = new Set(poison.map(({ record }) => record))
  for (let document = 0; document + 1 < offsets.length; document++) {
    if (skipped.has(document)) continue
    const ends = offsets.subarray(document, document + 2)
    heartbeat.begin(document, ends[1]! - ends[0]!)
    countWords(split, bytes, ends, counts)
  }
}

export const merge = workerFunction(({ words, options, progress }: MergeTask, heartbeat: Heartbeat): TrainedBpe => {
  const begin = (): void => heartbeat.begin(WHOLE_TASK, MERGE_COST * words.bytes.length)
  begin()
  return trainMerges(words, options, ({ tokenCount }) => {
    begin()
    progress.postMessage(tokenCount)
  })
})
