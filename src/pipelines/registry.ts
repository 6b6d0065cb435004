/**
 * All stages, by their names in definitions. To add their own stages, embedders pass
 * `{ ...stageRegistry, 'my-stage': {...} }`.
 */
import { concatIndexStage } from '../stages/concat-index.js'
import { concatPbinStage } from '../stages/concat-pbin.js'
import { extractTextStage } from '../stages/extract-text.js'
import { feedTrainerStage } from '../stages/feed-trainer.js'
import { filterDocumentsStage } from '../stages/filter-documents.js'
import { readCorpusStage } from '../stages/read-corpus.js'
import { readDocumentsStage } from '../stages/read-documents.js'
import { readFileStage } from '../stages/read-file.js'
import { readLinesStage } from '../stages/read-lines.js'
import { readParquetStage } from '../stages/read-parquet.js'
import { readPbinStage } from '../stages/read-pbin.js'
import { readTextStage } from '../stages/read-text.js'
import { cutSamplesStage } from '../stages/samples/cut-samples.js'
import { listDocumentsStage } from '../stages/samples/list-documents.js'
import { mixSamplesStage } from '../stages/samples/mix-samples.js'
import { packSamplesStage } from '../stages/samples/pack-samples.js'
import { shuffleSamplesStage } from '../stages/samples/shuffle-samples.js'
import { joinPartsStage } from '../stages/shuffle/join-parts.js'
import { shufflePartStage } from '../stages/shuffle/shuffle-part.js'
import { shuffleDocumentsStage } from '../stages/shuffle-documents.js'
import { shuffleLinesStage } from '../stages/shuffle-lines.js'
import { splitJsonStage } from '../stages/split-json.js'
import type { StageEntry, StageRegistry } from '../stages/stream/stage-entry.js'
import { tokenizeBatchesStage } from '../stages/tokenize-batches.js'
import { trainTokenizerStage } from '../stages/train-tokenizer.js'
import { validateJsonStage } from '../stages/validate-json.js'
import { countWordsStage } from '../stages/words/count-words.js'
import { readWordsStage } from '../stages/words/read-words.js'
import { trainWordsStage } from '../stages/words/train-words.js'
import { writeIndexStage } from '../stages/write-index.js'
import { writeJsonlStage } from '../stages/write-jsonl.js'
import { writeLinesStage } from '../stages/write-lines.js'
import { writePbinStage } from '../stages/write-pbin.js'

export type { StageEntry, StageRegistry }

const stages = [
  readFileStage,
  readLinesStage,
  splitJsonStage,
  validateJsonStage,
  writeIndexStage,
  extractTextStage,
  readDocumentsStage,
  readCorpusStage,
  readParquetStage,
  readTextStage,
  writeJsonlStage,
  trainTokenizerStage,
  countWordsStage,
  readWordsStage,
  trainWordsStage,
  tokenizeBatchesStage,
  writePbinStage,
  readPbinStage,
  concatPbinStage,
  concatIndexStage,
  shuffleDocumentsStage,
  shufflePartStage,
  joinPartsStage,
  filterDocumentsStage,
  shuffleLinesStage,
  writeLinesStage,
  listDocumentsStage,
  packSamplesStage,
  shuffleSamplesStage,
  mixSamplesStage,
  cutSamplesStage,
  feedTrainerStage,
]

export const stageRegistry: StageRegistry = Object.fromEntries(stages.map(stage => [stage.name, stage]))
