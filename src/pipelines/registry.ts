/**
 * Every stage by its name in definitions: what it is, what it takes and gives, its options, its factory. Embedders run
 * definitions with stages of their own by passing `{ ...stageRegistry, 'my-stage': {...} }`.
 */
import type * as z from 'zod'
import type { ItemKind } from '../formats/batches.js'
import { concatPbin, concatPbinOptions } from '../stages/concat-pbin.js'
import { cutSamples, cutSamplesOptions } from '../stages/cut-samples.js'
import { extractText, extractTextOptions } from '../stages/extract-text.js'
import { feedTrainer, feedTrainerOptions } from '../stages/feed-trainer.js'
import { filterDocuments, filterDocumentsOptions } from '../stages/filter-documents.js'
import { indexPathOf, readDocuments, readDocumentsOptions } from '../stages/read-documents.js'
import { readFile, readFileOptions } from '../stages/read-file.js'
import { readLines, readLinesOptions } from '../stages/read-lines.js'
import { readPbin, readPbinOptions } from '../stages/read-pbin.js'
import { shuffleDocuments, shuffleDocumentsOptions } from '../stages/shuffle-documents.js'
import { shuffleLines, shuffleLinesOptions } from '../stages/shuffle-lines.js'
import { shuffleSamples, shuffleSamplesOptions } from '../stages/shuffle-samples.js'
import { splitJson, splitJsonOptions } from '../stages/split-json.js'
import type { AnyStage } from '../stages/stream/stage.js'
import { tokenizeBatches, tokenizeBatchesOptions } from '../stages/tokenize-batches.js'
import { trainTokenizer, trainTokenizerOptions } from '../stages/train-tokenizer.js'
import { validateJson, validateJsonOptions } from '../stages/validate-json.js'
import { writeIndex, writeIndexOptions } from '../stages/write-index.js'
import { writeJsonl, writeJsonlOptions } from '../stages/write-jsonl.js'
import { writeLines, writeLinesOptions } from '../stages/write-lines.js'
import { writePbin, writePbinOptions } from '../stages/write-pbin.js'

export interface StageEntry<Schema extends z.ZodType = z.ZodType> {
  readonly summary: string
  /** What it takes; absent for a source. */
  readonly accepts?: ItemKind
  /** What it gives; absent for a sink. */
  readonly emits?: ItemKind
  readonly options: Schema
  create(options: z.input<Schema>): AnyStage
  /**
   * Whether it can go on after a kill: it hands marks on with their batches, and needs no state from before one but what
   * it notes on it. A run keeps a journal when all of its stages can.
   */
  readonly resumable?: true
  /** Files that its options name, so that an output can be kept apart from the inputs before anything is opened. */
  reads?(options: z.output<Schema>): readonly string[]
  writes?(options: z.output<Schema>): readonly string[]
}
export type StageRegistry = Readonly<Record<string, StageEntry>>

/** Keeps the type of an entry's own schema inside a registry of any schemas. */
function entry<Schema extends z.ZodType>(stage: StageEntry<Schema>): StageEntry {
  return stage as unknown as StageEntry
}

const fileOf = (options: { path: string }): readonly string[] => (options.path === '-' ? [] : [options.path])
const pathsOf = (options: { paths: readonly string[] }): readonly string[] => options.paths
const quarantineOf = (options: { quarantine?: string | undefined }): readonly string[] =>
  options.quarantine === undefined ? [] : [options.quarantine]

export const stageRegistry: StageRegistry = {
  'read-file': entry({
    summary: 'bytes of a file, decompressed',
    emits: 'bytes',
    options: readFileOptions,
    resumable: true,
    create: readFile,
    reads: fileOf,
  }),
  'read-lines': entry({
    summary: 'cuts bytes into batches of whole lines, byte-exact',
    accepts: 'bytes',
    emits: 'lines',
    options: readLinesOptions,
    resumable: true,
    create: readLines,
    writes: quarantineOf,
  }),
  'split-json': entry({
    summary: 'cuts a JSON array, or values one behind the other, into lines',
    accepts: 'bytes',
    emits: 'lines',
    options: splitJsonOptions,
    create: splitJson,
  }),
  'validate-json': entry({
    summary: 'lets only lines through that are one JSON value in valid UTF-8',
    accepts: 'lines',
    emits: 'lines',
    options: validateJsonOptions,
    resumable: true,
    create: validateJson,
    writes: quarantineOf,
  }),
  'write-index': entry({
    summary: 'writes the offset and length of each line to an .idx file',
    accepts: 'lines',
    options: writeIndexOptions,
    resumable: true,
    create: writeIndex,
    writes: fileOf,
  }),
  'extract-text': entry({
    summary: 'takes the text of a field out of each JSON line',
    accepts: 'lines',
    emits: 'documents',
    options: extractTextOptions,
    resumable: true,
    create: extractText,
    writes: quarantineOf,
  }),
  'read-documents': entry({
    summary: 'texts of a JSONL file by its index',
    emits: 'documents',
    options: readDocumentsOptions,
    resumable: true,
    create: readDocuments,
    reads: ({ path, index = indexPathOf(path) }) => [path, index],
    writes: quarantineOf,
  }),
  'write-jsonl': entry({
    summary: 'writes texts to a JSONL file',
    accepts: 'documents',
    options: writeJsonlOptions,
    resumable: true,
    create: writeJsonl,
    writes: fileOf,
  }),
  'train-tokenizer': entry({
    summary: 'learns a byte-level BPE vocabulary and writes tokenizer.json',
    accepts: 'documents',
    options: trainTokenizerOptions,
    resumable: true,
    create: trainTokenizer,
    writes: options => [...fileOf(options), ...quarantineOf(options)],
  }),
  'tokenize-batches': entry({
    summary: 'turns texts into token ids, in parallel, order kept',
    accepts: 'documents',
    emits: 'tokens',
    options: tokenizeBatchesOptions,
    resumable: true,
    create: tokenizeBatches,
    writes: quarantineOf,
  }),
  'write-pbin': entry({
    summary: 'writes token ids to one packed .pbin file',
    accepts: 'tokens',
    options: writePbinOptions,
    resumable: true,
    create: writePbin,
    writes: fileOf,
  }),
  'read-pbin': entry({
    summary: 'token ids of the documents of a packed file',
    emits: 'tokens',
    options: readPbinOptions,
    resumable: true,
    create: readPbin,
    reads: fileOf,
  }),
  'concat-pbin': entry({
    summary: 'token ids of several packed files, one file after the other',
    emits: 'tokens',
    options: concatPbinOptions,
    resumable: true,
    create: concatPbin,
    reads: pathsOf,
  }),
  'shuffle-documents': entry({
    summary: 'token ids of packed files, document by document in a shuffled order',
    emits: 'tokens',
    options: shuffleDocumentsOptions,
    resumable: true,
    create: shuffleDocuments,
    reads: pathsOf,
  }),
  'filter-documents': entry({
    summary: 'drops documents by their length or by tokens in them',
    accepts: 'tokens',
    emits: 'tokens',
    options: filterDocumentsOptions,
    resumable: true,
    create: filterDocuments,
  }),
  'shuffle-lines': entry({
    summary: 'lines of JSONL files in a shuffled order',
    emits: 'lines',
    options: shuffleLinesOptions,
    resumable: true,
    create: shuffleLines,
    reads: pathsOf,
  }),
  'write-lines': entry({
    summary: 'writes lines to a file as they are',
    accepts: 'lines',
    options: writeLinesOptions,
    resumable: true,
    create: writeLines,
    writes: fileOf,
  }),
  'shuffle-samples': entry({
    summary: 'training samples of a packed file, shuffled, sharded, resumable',
    emits: 'samples',
    options: shuffleSamplesOptions,
    create: shuffleSamples,
    reads: ({ path, more_paths }) => [path, ...more_paths],
  }),
  'cut-samples': entry({
    summary: 'training samples cut out of tokens as they come, in their order',
    accepts: 'tokens',
    emits: 'samples',
    options: cutSamplesOptions,
    create: cutSamples,
  }),
  'feed-trainer': entry({
    summary: 'trains a model on samples; ends at its last step',
    accepts: 'samples',
    get options() {
      return feedTrainerOptions()
    },
    create: feedTrainer,
    reads: ({ tokenizer, held_out }) =>
      [tokenizer, held_out?.path, ...(held_out?.more_paths ?? [])].filter(path => path !== undefined),
  }),
}
