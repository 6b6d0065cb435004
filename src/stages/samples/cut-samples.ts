/**
 * Token stream -> training samples in document order: the same blocks that `shuffle-samples` with `shuffle: none` cuts
 * from the packed file, without writing that file first. An incomplete last batch is dropped. A resumed training run
 * skips the samples that it has already trained on.
 */
import * as z from 'zod'
import type { SampleBatch, TokenBatch } from '../../formats/batches.js'
import { type TransformStage, transform } from '../stream/stage.js'
import { defineStage } from '../stream/stage-entry.js'
import { parseOptions } from '../stream/stage-options.js'

const cutSamplesOptions = z.strictObject({
  sequence_length: z.int().min(2).describe('context length of the model, in tokens'),
  batch_size: z.int().positive().default(8).describe('samples per batch'),
})
export type CutSamplesOptions = z.input<typeof cutSamplesOptions>

export const cutSamplesStage = defineStage({
  name: 'cut-samples',
  summary: 'cuts a token stream into training samples, in order',
  accepts: 'tokens',
  emits: 'samples',
  options: cutSamplesOptions,
  create: cutSamples,
})

export function cutSamples(options: CutSamplesOptions): TransformStage<TokenBatch, SampleBatch> {
  const { sequence_length: sequenceLength, batch_size: rows } = parseOptions(cutSamplesOptions, options, 'cut-samples')
  const block = sequenceLength + 1
  // The last target of a block is the first input of the next, also across batches.
  const window = new Int32Array(rows * sequenceLength + 1)
  return transform(cutSamplesStage, async function* (input, context) {
    context.stats.recounts = true
    let [filled, number] = [0, 0]
    for await (const { tokens, tokenizer } of input) {
      for (let taken = 0; taken < tokens.length; ) {
        const part = tokens.subarray(taken, taken + window.length - filled)
        window.set(part, filled)
        filled += part.length
        taken += part.length
        if (filled === window.length) {
          yield { ...sampleBatch(window, number++, rows, block), tokenizer }
          context.count('tokens', rows * sequenceLength)
          window[0] = window[filled - 1]!
          filled = 1
        }
      }
    }
  })
}

/** Cuts the window into overlapping blocks. */
function sampleBatch(window: Int32Array, number: number, rows: number, block: number): SampleBatch {
  const sequenceLength = block - 1
  const tokens = new Int32Array(rows * block)
  for (let row = 0; row < rows; row++) {
    tokens.set(window.subarray(row * sequenceLength, row * sequenceLength + block), row * block)
  }
  // The totals are unknown until the input ends.
  const unknown = { sampleCount: 0, dataBytes: 0, tokenBytes: 0 }
  const cursor = { version: 1, globalSamples: (number + 1) * rows, seed: 0, sequenceLength, ...unknown } as const
  return { kind: 'samples', number, byteLength: tokens.byteLength, tokens, rows, block, cursor }
}
