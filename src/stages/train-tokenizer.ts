/**
 * Documents -> a byte-level BPE tokenizer.json, the one that the Rust library's trainer makes of the same texts. Words
 * are counted in worker threads; what is kept is one count a distinct word, not the texts. Whole or absent.
 */
import { MessageChannel } from 'node:worker_threads'
import type { Piscina } from 'piscina'
import * as z from 'zod'
import { PenstockError } from '../errors.js'
import type { DocumentBatch } from '../formats/batches.js'
import {
  decodeWordCounts,
  encodedWordCountsBytes,
  encodeWordCounts,
  type TrainedBpe,
  toTokenizerJson,
  WordCounts,
  type WordCountsData,
} from '../tokenizer/train/index.js'
import type { AppendFile } from './append-file.js'
import { inOrder } from './in-order.js'
import { ifExistsOption, type OutputFile, writeWhole } from './output-file.js'
import { type SinkStage, type StageContext, sink } from './stage.js'
import { closePool, defaultWorkers, workerPool } from './worker-pool.js'

export const trainTokenizerOptions = z.strictObject({
  path: z.string().min(1).describe('the tokenizer.json to write'),
  vocab_size: z
    .int()
    .min(257)
    .max(1 << 24)
    .describe('tokens in all: special ones, 256 bytes, merges'),
  min_frequency: z.int().nonnegative().default(0).describe('pairs that occur less often are not merged'),
  special_tokens: z.array(z.string().min(1)).default(['<|endoftext|>']).describe('tokens that get the first ids'),
  max_token_length: z.int().positive().optional().describe('merges must stay below this many bytes'),
  workers: z.int().positive().max(1024).optional().describe('worker threads; the number of cores when absent'),
  if_exists: ifExistsOption,
})
export type TrainTokenizerOptions = z.input<typeof trainTokenizerOptions>
type Checked = z.output<typeof trainTokenizerOptions>

/** @throws FILE_EXISTS, FILE_UNWRITABLE, OPTION_INVALID, DATA_TOO_SMALL without any text */
export function trainTokenizer(options: TrainTokenizerOptions): SinkStage<DocumentBatch> {
  const checked = trainTokenizerOptions.parse(options)
  return sink('train-tokenizer', (input, context) => {
    const write = async (file: OutputFile): Promise<void> => {
      const workers = checked.workers ?? defaultWorkers()
      const pool = workerPool('./tokenizer-training-worker.js', workers)
      try {
        const words = await countedWords(input, file, pool, workers, context.signal)
        if (words.counts.length === 0) {
          throw new PenstockError('DATA_TOO_SMALL', 'no text came: there is nothing to learn from', {
            file: checked.path,
          })
        }
        context.count('words', words.counts.length)
        const trained = await merged(words, checked, pool, context)
        await file.write(Buffer.from(toTokenizerJson(trained)))
      } finally {
        await closePool(pool)
      }
    }
    return writeWhole(checked.path, checked.if_exists, write, context.journal?.claims)
  })
}

/** The counts since the last mark go to the scratch file: together they are all counts. */
async function countedWords(
  input: AsyncIterable<DocumentBatch>,
  file: OutputFile,
  pool: Piscina,
  workers: number,
  signal: AbortSignal,
): Promise<WordCountsData> {
  const scratch = await file.scratch()
  const all = await storedCounts(scratch)
  let recent = new WordCounts()
  const count = async ({ bytes, offsets, mark }: DocumentBatch) => {
    const counts: WordCountsData = await pool.run({ bytes, offsets }, { name: 'countBatch' })
    return { counts, mark }
  }
  for await (const { counts, mark } of inOrder(input, workers + 1, count, signal)) {
    recent.merge(counts)
    if (mark === undefined) continue
    const data = recent.data()
    await scratch.write(encodeWordCounts(data))
    await file.mark(mark)
    all.merge(data)
    recent = new WordCounts()
  }
  if (all.wordCount === 0) return recent.data()
  all.merge(recent.data())
  return all.data()
}

/** What a killed run had counted, in the order in which it counted it. */
async function storedCounts(scratch: AppendFile): Promise<WordCounts> {
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

async function merged(
  words: WordCountsData,
  options: Checked,
  pool: Piscina,
  context: StageContext,
): Promise<TrainedBpe> {
  const { port1: receiver, port2: progress } = new MessageChannel()
  receiver.on('message', (tokens: number) => {
    context.stats.counts.vocabulary = tokens
  })
  const task = {
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
    return await pool.run(task, { name: 'merge', transferList: [progress] })
  } finally {
    receiver.close()
  }
}
