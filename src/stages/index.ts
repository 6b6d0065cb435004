/** `penstock-ml/stages`: every stage as a Node stream, the helpers to write more, and the item types. */

export type {
  DocumentBatch,
  LineBatch,
  SampleBatch,
  SampleCursor,
  SpanBatch,
  TokenBatch,
  WordBatch,
} from '../formats/batches.js'
export { type ConcatIndexOptions, concatIndex } from './concat-index.js'
export { type ConcatPbinOptions, concatPbin } from './concat-pbin.js'
export { type ExtractTextOptions, extractText } from './extract-text.js'
export { type FeedTrainerOptions, feedTrainer } from './feed-trainer.js'
export { type FilterDocumentsOptions, filterDocuments } from './filter-documents.js'
export { type ReadCorpusOptions, readCorpus } from './read-corpus.js'
export { type ReadDocumentsOptions, readDocuments } from './read-documents.js'
export { type ReadFileOptions, readFile } from './read-file.js'
export { type ReadLinesOptions, readLines } from './read-lines.js'
export { type ReadParquetOptions, readParquet } from './read-parquet.js'
export { type ReadPbinOptions, readPbin } from './read-pbin.js'
export { type ReadTextOptions, readText } from './read-text.js'
export { type CutSamplesOptions, cutSamples } from './samples/cut-samples.js'
export { type ListDocumentsOptions, listDocuments } from './samples/list-documents.js'
export { type MixSamplesOptions, mixSamples } from './samples/mix-samples.js'
export { type PackSamplesOptions, packSamples } from './samples/pack-samples.js'
export { type ShuffleSamplesOptions, shuffleSamples } from './samples/shuffle-samples.js'
export { type JoinPartsOptions, joinParts } from './shuffle/join-parts.js'
export { type ShufflePartOptions, shufflePart } from './shuffle/shuffle-part.js'
export { type ShuffleDocumentsOptions, shuffleDocuments } from './shuffle-documents.js'
export { type ShuffleLinesOptions, shuffleLines } from './shuffle-lines.js'
export { type SplitJsonOptions, splitJson } from './split-json.js'
export { pipeline } from './stream/pipeline.js'
export {
  type AnyStage,
  type SinkStage,
  type SourceStage,
  type StageStats,
  sink,
  source,
  type TransformStage,
  transform,
} from './stream/stage.js'
export { type TokenizeBatchesOptions, tokenizeBatches } from './tokenize-batches.js'
export { type TrainTokenizerOptions, trainTokenizer } from './train-tokenizer.js'
export { type ValidateJsonOptions, validateJson } from './validate-json.js'
export { type CountWordsOptions, countWords } from './words/count-words.js'
export { type ReadWordsOptions, readWords } from './words/read-words.js'
export { type TrainWordsOptions, trainWords } from './words/train-words.js'
export { type WriteIndexOptions, writeIndex } from './write-index.js'
export { type WriteJsonlOptions, writeJsonl } from './write-jsonl.js'
export { type WriteLinesOptions, writeLines } from './write-lines.js'
export { type WritePbinOptions, writePbin } from './write-pbin.js'
