/** Training of byte-level BPE vocabularies: count words, merge pairs, write tokenizer.json. */
export { toTokenizerJson } from './tokenizer-file.js'
export { type TrainedBpe, type TrainOptions, type TrainProgress, trainMerges } from './train-merges.js'
export {
  countWords,
  decodeWordCounts,
  encodedWordCountsBytes,
  encodeWordCounts,
  WordCounts,
  type WordCountsData,
} from './word-counts.js'
