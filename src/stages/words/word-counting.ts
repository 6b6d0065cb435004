/** Counts words of documents in worker threads, and trains a tokenizer from the counts; the base of the stages of words. */
import { MessageChannel } from 'node:worker_threads'
import * as z from 'zod'
import { PenstockError } from '../../errors.js'
import type { AppendFile } from '../../files/append-file.js'
import { type IfExists, type OutputFile, writeWhole } from '../../files/output-file.js'
import type { DocumentBatch } from '../../formats/batches.js'
import { recordAt } from '../../formats/extract.js'
import { toTokenizerJson } from '../../tokenizer/train/tokenizer-file.js'
import type { TrainedBpe } from '../../tokenizer/train/train-merges.js'
import {
  decodeWordCounts,
  encodedWordCountsBytes,
  encodeWordCounts,
  WordCounts,
  type WordCountsData,
} from '../../tokenizer/train/word-counts.js'
import { inOrder } from '../../workers/in-order.js'
import { type Poison, type RetryMode, runWithoutPoison } from '../../workers/poison-records.js'
import type { CountTask, MergeTask } from '../../workers/tokenizer/train-tokenizer-worker.js'
import { defaultWorkers, openWorkers, type Workers } from '../../workers/worker-pool.js'
import { FaultHandler, type FaultOptions } from '../stream/fault-handler.js'
import type { StageContext } from '../stream/stage.js'

const WORKER = new URL('../../workers/tokenizer/train-tokenizer-worker.js', import.meta.url)

export const workersOption = z
  .int()
  .positive()
  .max(1024)
  .optional()
  .describe('number of worker threads; defaults to the number of cores')

/** Options that determine a tokenizer, given the words. */
export const trainingOptions = {
  vocab_size: z
    .int()
    .min(257)
    .max(1 << 24)
    .describe('size of the vocabulary: special tokens, 256 bytes and merges'),
  min_frequency: z.int().nonnegative().default(0).describe('minimum number of occurrences for a pair to be merged'),
  special_tokens: z
    .array(z.string().min(1))
    .default(['<|endoftext|>'])
    .describe('special tokens; they get the first ids'),
  max_token_length: z.int().positive().optional().describe('merged tokens must be shorter than this many bytes'),
}
type TrainingOptions = z.output<z.ZodObject<typeof trainingOptions>>

export interface CountingOptions extends FaultOptions {
  readonly path: string
  readonly workers?: number | undefined
  readonly if_exists: IfExists
}

/** Starts the worker threads that count and train. */
export const openCounters = (size: number, worker: URL = WORKER): Workers =>
  openWorkers({ file: worker, workers: size })

/**
 * Counts the words of all documents and writes one file from the counts.
 * @param contentOf content of the file
 * @throws DATA_TOO_SMALL for an input without text
 */
export async function writeFromWords(
  stage: string,
  options: CountingOptions,
  input: AsyncIterable<DocumentBatch>,
  context: StageContext,
  contentOf: (words: WordCountsData, workers: Workers) => Promise<Uint8Array> | Uint8Array,
  worker?: URL,
): Promise<void> {
  const write = async (file: OutputFile): Promise<void> => {
    const size = options.workers ?? defaultWorkers()
    const workers = openCounters(size, worker)
    const faults = new FaultHandler(options, stage, context)
    try {
      const counting = inOrder(input, size + 1, counter(workers), context.signal)
      const words = await countWords(counting, file, faults, context)
      requireWords(words, options.path)
      context.count('words', words.counts.length)
      await file.write(await contentOf(words, workers))
      await faults.finish()
    } finally {
      await faults.abandon()
      await workers.close()
    }
  }
  return writeWhole(options.path, options.if_exists, write, context.journal?.reservations)
}

/** @throws DATA_TOO_SMALL */
export function requireWords({ counts }: WordCountsData, file: string): void {
  if (counts.length === 0) throw new PenstockError('DATA_TOO_SMALL', 'no text to train on', { file })
}

interface CountedBatch {
  readonly batch: DocumentBatch
  readonly reply: WordCountsData
  readonly poison: readonly Poison[]
}

function counter(workers: Workers): (batch: DocumentBatch) => Promise<CountedBatch> {
  return async batch => {
    const { bytes, offsets, origin } = batch
    const where = { file: origin.source, line: origin.firstLine }
    const run = (retry: RetryMode): Promise<WordCountsData> =>
      workers.run('countBatch', { bytes, offsets, retry } satisfies CountTask)
    return { batch, ...(await runWithoutPoison(run, where)) }
  }
}

/**
 * At each mark, the counts since the previous mark are appended to the scratch file, so a resumed run can add them up.
 */
async function countWords(
  counting: AsyncIterable<CountedBatch>,
  file: OutputFile,
  faults: FaultHandler,
  context: StageContext,
): Promise<WordCountsData> {
  const scratch = await file.scratch()
  const all = await loadCounts(scratch)
  let recent = new WordCounts()
  for await (const { batch, reply, poison } of counting) {
    for (const { record, code, message } of poison) {
      await faults.handle({ code, message, ...recordAt(batch.origin, record) })
    }
    recent.merge(reply)
    if (batch.mark === undefined) continue
    const data = recent.data()
    await scratch.write(encodeWordCounts(data))
    // A sink passes nothing on, so the fault counts are noted here.
    context.journal?.noteOut(batch, context.stats)
    await file.mark(batch.mark)
    all.merge(data)
    recent = new WordCounts()
  }
  if (all.wordCount === 0) return recent.data()
  all.merge(recent.data())
  return all.data()
}

/** The word counts of a killed run, in the order in which they were written. */
async function loadCounts(scratch: AppendFile): Promise<WordCounts> {
  const all = new WordCounts()
  const start = new Uint8Array(8)
  for (let position = 0; position < scratch.size; ) {
    await scratch.read(start, position)
    const encoded = new Uint8Array(encodedWordCountsBytes(start))
    await scratch.read(encoded, position)
    all.merge(decodeWordCounts(encoded))
    position += encoded.byteLength
  }
  return all
}

/** The tokenizer file for these words. */
export async function trainedTokenizer(
  words: WordCountsData,
  options: TrainingOptions,
  workers: Workers,
  context: StageContext,
): Promise<Uint8Array> {
  const { reply: trained } = await runWithoutPoison(() => trainMerges(words, options, workers, context))
  return Buffer.from(toTokenizerJson(trained))
}

async function trainMerges(
  words: WordCountsData,
  options: TrainingOptions,
  workers: Workers,
  context: StageContext,
): Promise<TrainedBpe> {
  const { port1: receiver, port2: progress } = new MessageChannel()
  receiver.on('message', (tokens: number) => {
    context.stats.counts.vocabulary = tokens
  })
  const task: MergeTask = {
    words,
    progress,
    options: {
      vocabSize: options.vocab_size,
      minFrequency: options.min_frequency,
      specialTokens: options.special_tokens,
      ...(options.max_token_length === undefined ? {} : { maxTokenLength: options.max_token_length }),
    },
  }
  try {
    const trained = await workers.run<TrainedBpe>('merge', task, { transferList: [progress] })
    // The last progress message may still be in transit.
    context.stats.counts.vocabulary = trained.vocab.length
    return trained
  } finally {
    receiver.close()
  }
}
